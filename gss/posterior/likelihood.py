"""CellLikelihood: p(class | code, position in the cell), with which the sum over codes is exact.

If a code describes its own cell only, every quantity of the latent-variable model has a closed form:

- decoding is a mixture, p(c | x) = sum_z p(z | x) p(c | z): one matrix product with a table;
- the posterior is Bayes' rule, q(z | c) proportional to prod_pixels p(c_pixel | z): another matrix product, from which
  void pixels are left out, so that they need no filling;
- the table is learnt by hard expectation maximisation of a mixture of products of categoricals.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config

# A pipeline looks the base class of a component up in the component's own module when it loads it.
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from gss.core.errors import InputError
from gss.core.progress import tracked
from gss.labels.space import IGNORE_INDEX, IGNORE_TOKEN
from gss.models.gaussians import full_precision
from gss.posterior.cells import is_uniform, to_cells


class CellLikelihood(ModelMixin, ConfigMixin):
    """Table of the class probabilities of every code.

    Args:
        codebook_size: number of codes V.
        num_classes: K.
        downsample: pixels per cell side f.
    """

    table: Tensor
    pixel_weight: Tensor

    @register_to_config
    def __init__(self, codebook_size: int = 1024, num_classes: int = 2, downsample: int = 4) -> None:
        super().__init__()
        shape = (codebook_size, num_classes, downsample, downsample)
        # p(c | z, position) [V, K, f, f], float32 whatever the pipeline's dtype
        self.register_buffer("table", torch.full(shape, 1.0 / num_classes, dtype=torch.float32))
        # How much a pixel of class c counts when a token is chosen for a cell [K].
        self.register_buffer("pixel_weight", torch.ones(num_classes, dtype=torch.float32))

    def extra_repr(self) -> str:
        """Return the sizes of the table."""
        return f"{len(self.table)} codes, {self.num_classes} classes, cells of {self.token_stride} pixels"

    @property
    def num_classes(self) -> int:
        """K."""
        return self.config["num_classes"]

    @property
    def token_stride(self) -> int:
        """Pixels per cell side f."""
        return self.config["downsample"]

    def set_table(self, table: Tensor, pixel_weight: Tensor | None = None) -> None:
        """Store class probabilities `[V, K, f, f]` and, optionally, class weights `[K]` for the choice of tokens.

        Raises:
            InputError: a shape differs, or probabilities do not sum to one over K.
        """
        if table.shape != self.table.shape:
            raise InputError(f"table has shape {tuple(table.shape)}, this likelihood takes {tuple(self.table.shape)}")
        if not torch.allclose(table.float().sum(1), torch.ones_like(self.table[:, 0], dtype=torch.float32), atol=1e-4):
            raise InputError("table does not sum to 1 over classes: normalise it over dimension 1")
        self.table.copy_(table)
        if pixel_weight is not None:
            self.pixel_weight.copy_(pixel_weight)

    def marginal(self, token_probs: Tensor) -> Tensor:
        """Mix the codes exactly: p(c | x), float32 `[B, K, h*f, w*f]`, from p(z | x) `[B, V, h, w]`."""
        weight = self.table.flatten(1).float().t()[:, :, None, None]  # [K*f*f, V, 1, 1], the order of pixel_shuffle
        with full_precision(weight.device):
            mixture = torch.nn.functional.conv2d(token_probs.float(), weight)  # [B, K*f*f, h, w]
        return torch.nn.functional.pixel_shuffle(mixture, self.token_stride)

    def posterior(self, labels: Tensor, top_k: int = 1, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return the best codes of every cell and their posterior weights under a uniform prior over codes.

        Args:
            labels: int64 `[B, H, W]`; pixels of the void label 255 are left out.
            top_k: number of codes per cell; at most V.
            temperature: divisor of the log-likelihoods; the larger, the flatter the weights.

        Returns:
            int64 codes `[B, top_k, h, w]`, best first, -100 where a cell is wholly void; and float weights of the same
            shape, whose sum over the codes is 1.
        """
        top_k = min(top_k, len(self.table))
        cells = to_cells(labels, self.token_stride)
        grid = cells.shape[:3]
        cells = cells.flatten(0, 2)
        codes = cells.new_empty(len(cells), top_k)
        weights = torch.empty(len(cells), top_k, device=cells.device, dtype=self.table.dtype)
        # Most cells show one class, and there are only K + 1 kinds of those: look them up.
        uniform = is_uniform(cells)
        kinds = torch.cat([torch.arange(self.num_classes), torch.tensor([IGNORE_INDEX])]).to(cells)
        lookup = cells.new_full((IGNORE_INDEX + 1,), len(kinds) - 1)
        lookup[kinds] = torch.arange(len(kinds), device=cells.device)
        shape = cells.shape[1:]
        kind_codes, kind_weights = self._best(kinds[:, None, None].expand(-1, *shape), top_k, temperature)
        chosen = lookup[cells[:, 0, 0]]
        codes[:], weights[:] = kind_codes[chosen], kind_weights[chosen]
        mixed = (~uniform).nonzero()[:, 0]
        for part in mixed.split(16_384):
            codes[part], weights[part] = self._best(cells[part], top_k, temperature)
        codes, weights = (x.reshape(*grid, top_k).movedim(-1, 1) for x in (codes, weights))
        return codes, weights

    def tokens(self, labels: Tensor) -> Tensor:
        """Return the best code of every cell, int64 `[B, h, w]`, -100 where a cell is wholly void."""
        return self.posterior(labels)[0][:, 0]

    def _best(self, cells: Tensor, top_k: int, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return `posterior` of N cells `[N, f, f]`: codes and weights `[N, top_k]`."""
        score = log_likelihood(cells, self.table, self.pixel_weight)
        best, codes = score.topk(top_k, dim=1)
        void = (cells == IGNORE_INDEX).flatten(1).all(1)
        return codes.masked_fill(void[:, None], IGNORE_TOKEN), (best / temperature).softmax(1)


def log_likelihood(cells: Tensor, table: Tensor, pixel_weight: Tensor) -> Tensor:
    """Compute weighted log p(cell | code) `[N, V]` of cells `[N, f, f]` under a table `[V, K, f, f]`; void adds 0."""
    K = table.shape[1]
    weight = torch.cat([pixel_weight, pixel_weight.new_zeros(IGNORE_INDEX + 1 - K)]).to(table.dtype)
    kept = cells.clamp(max=K - 1)
    # One-hot over classes, scaled by the weight of each pixel; a void pixel is a row of zeros. [N, K, f, f]
    evidence = torch.zeros(len(cells), *table.shape[1:], device=cells.device, dtype=table.dtype)
    evidence.scatter_(1, kept[:, None], weight[cells][:, None])
    with full_precision(cells.device):
        return evidence.flatten(1) @ table.clamp(min=1e-6).log().flatten(1).t()


def fit_table(
    cells: Tensor,
    table: Tensor,
    pixel_weight: Tensor,
    *,
    iterations: int = 12,
    smoothing: float = 0.02,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fit the code table to sampled cells by hard expectation maximisation.

    Args:
        cells: int64 `[N, f, f]`, void 255.
        table: `[V, K, f, f]`, initial p(c | z, position).
        pixel_weight: `[K]`, class weights of the choice of tokens.
        iterations: number of rounds of assigning cells and re-estimating codes.
        smoothing: pseudo-count of every class at every position.
        generator: random source of the cells that unused codes restart from.

    Returns:
        `[V, K, f, f]`, the fitted table.
    """
    V, K, f, _ = table.shape
    table = table.float()
    weight = torch.cat([pixel_weight, pixel_weight.new_zeros(IGNORE_INDEX + 1 - K)]).float()
    for round_ in tracked(range(iterations), "fitting the table of codes", unit="round", leave=False):
        counts = torch.zeros(V, K, f, f, device=cells.device, dtype=torch.float32)
        used = torch.zeros(V, dtype=torch.long, device=cells.device)
        for part in cells.split(8192):
            best = log_likelihood(part, table, pixel_weight).argmax(1)
            evidence = torch.zeros(len(part), K, f, f, device=cells.device, dtype=torch.float32)
            evidence.scatter_(1, part.clamp(max=K - 1)[:, None], weight[part][:, None])
            counts.index_add_(0, best, evidence)
            used += torch.bincount(best, minlength=V)
        table = (counts + smoothing) / (counts + smoothing).sum(1, keepdim=True)
        dead = (used == 0).nonzero()[:, 0]
        if len(dead) and round_ < iterations - 1:
            restart = cells[torch.randint(len(cells), (len(dead),), generator=generator).to(cells.device)]
            table[dead] = soft_cells(restart, K)
    return table


def soft_cells(cells: Tensor, num_classes: int, certainty: float = 0.9) -> Tensor:
    """Turn cells `[N, f, f]` into class probabilities `[N, K, f, f]`: `certainty` on the label, uniform for void."""
    shape, rest = (len(cells), num_classes, *cells.shape[1:]), (1 - certainty) / num_classes
    table = torch.full(shape, rest, device=cells.device, dtype=torch.float32)
    valid = cells != IGNORE_INDEX
    table.scatter_add_(1, cells.clamp(max=num_classes - 1)[:, None], (valid * certainty)[:, None].float())
    return table / table.sum(1, keepdim=True)
