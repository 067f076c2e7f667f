"""A joint distribution over small token grids that can be enumerated, as a network."""

import itertools

import torch


class EnumeratedPrior:
    """A distribution over all token grids of h x w cells and V codes, with its exact conditionals.

    Args:
        codes: V.
        size: (h, w).
        sharpness: scale of the logits of the grids; 0 is uniform.
        seed: seed of the grids' probabilities.
    """

    def __init__(self, codes=3, size=(2, 2), sharpness=1.5, seed=0):
        self.codes, self.size = codes, size
        cells = size[0] * size[1]
        self.grids = torch.tensor(list(itertools.product(range(codes), repeat=cells)))  # [V^N, N]
        logits = torch.randn(len(self.grids), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.probabilities = (sharpness * logits).softmax(0)
        self._one_hot = torch.nn.functional.one_hot(self.grids, codes).double()  # [V^N, N, V]

    def logits(self, tokens):
        """Return log p(z_i | known tokens), float32 `[B, V, h, w]`, of tokens `[B, h, w]`."""
        flat = tokens.flatten(1)
        fits = ((flat[:, None] == self.grids[None]) | (flat == self.codes)[:, None]).all(2)  # [B, V^N]
        weights = fits * self.probabilities
        cells = torch.einsum("bg,gnv->bvn", weights / weights.sum(1, keepdim=True), self._one_hot)
        return cells.clamp(min=1e-12).log().float().view(len(tokens), self.codes, *self.size)

    def index(self, tokens):
        """Return the number of the grid of full tokens `[B, h, w]`, `[B]`."""
        flat = tokens.flatten(1)
        powers = self.codes ** torch.arange(flat.shape[1] - 1, -1, -1)
        return (flat * powers).sum(1)


def fill(scheduler, logits, tokens, *, steps, known=None, generator=None):
    """Fill tokens `[B, h, w]` with a function from tokens to logits."""
    scheduler.set_timesteps(steps)
    scheduler.begin(tokens, known=known, generator=generator)
    for timestep in scheduler.timesteps:
        tokens = scheduler.step(logits(tokens), timestep, tokens, generator=generator).prev_sample
    for _ in range(scheduler.config.corrector_sweeps):
        tokens = scheduler.remask(tokens)
        tokens = scheduler.step(logits(tokens), 0, tokens, generator=generator).prev_sample
    return tokens
