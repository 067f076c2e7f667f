"""`TokenScheduler`: which unknown cells of a token grid are drawn in which step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput
from torch import Tensor

from gss.core.errors import InputError, unknown_name
from gss.pipeline.sampling.draw import Generators, draw_tokens, token_probabilities, uniform
from gss.pipeline.sampling.orders import ORDERS, halton_keys, spread_keys

SCHEDULES: dict[str, Callable[[float, int], float]] = {
    "arccos": lambda time, cells: math.acos(time) / (math.pi / 2),
    "cosine": lambda time, cells: math.cos(time * math.pi / 2),
    "linear": lambda time, cells: 1 - time,
    "geometric": lambda time, cells: 1 - cells ** (time - 1),
}
"""Share of the unknown cells that is left at a time in 0..1, of the number of cells that were unknown at the start.

`cosine` draws fewer cells early. `geometric` starts with single cells and draws in every step the same multiple of
those known: no step draws many cells of which little is known yet, as the first of the others do.
"""

# Least number under a logarithm of a random number or a probability.
_TINY = 1e-20


@dataclass
class TokenSchedulerOutput(BaseOutput):
    """Output of `TokenScheduler.step`.

    Attributes:
        prev_sample: int64 `[B, h, w]`, tokens after the step, the mask token where still unknown.
        pred_original_sample: int64 `[B, h, w]`, the same with the unknown cells drawn too of which there are logits;
            not the start of a next step.
        drawn: bool `[B, h, w]`, cells that were unknown before the step and are not after it.
    """

    prev_sample: Tensor
    pred_original_sample: Tensor
    drawn: Tensor


class TokenScheduler(SchedulerMixin, ConfigMixin):
    """Fills the unknown cells of token grids in several steps, each given what earlier steps drew.

    Items of a batch may have any numbers of unknown cells. Given cells are excluded by a mask, not by a large
    confidence, so they never change. One step draws all cells independently, which is sampling from a factorised
    prior; with as many steps as unknown cells, each step draws one cell given all others drawn before.

    Use: `set_timesteps`, `begin`, then `step` for each of `timesteps`; with `corrector_sweeps`, `remask` and `step` at
    timestep 0 as often again.

    Args:
        mask_token_id: token of unknown cells, the number of codes V.
        order: one of `ORDERS`.
        schedule: one of `SCHEDULES`.
        temperature: divisor of the logits, from 0 (the most probable token).
        late_temperature: the same in the second half of the steps and in sweeps; None for `temperature`. A low one
            leaves open what the first cells decide, and not the noise of all others.
        trust: how much drawn cells count for the others, in 0..1: log-probabilities lie between those given what was
            known at the start (0) and those given the drawn cells as well (1). Whoever computes the logits applies it,
            see `gss.pipeline.sampling.fill.fill`.
        top_p: share of the probability that tokens are drawn from, in (0, 1].
        order_noise: scale of the noise of the order `confidence` at the first step; it fades with the unknown share.
        corrector_sweeps: number of times that the least certain cells are drawn again, given the rest.
        corrector_share: share of the cells not given that a sweep draws again, in (0, 1].

    Raises:
        InputError: an argument is out of range.
    """

    order = 1  # diffusers: evaluations of the network per step

    @register_to_config
    def __init__(
        self,
        *,  # diffusers takes positional arguments for defaults and forgets them
        mask_token_id: int,
        order: str = "halton",
        schedule: str = "arccos",
        temperature: float = 1.0,
        late_temperature: float | None = None,
        trust: float = 1.0,
        top_p: float = 1.0,
        order_noise: float = 2.0,
        corrector_sweeps: int = 0,
        corrector_share: float = 0.1,
    ) -> None:
        if order not in ORDERS:
            raise unknown_name("order", order, ORDERS)
        if schedule not in SCHEDULES:
            raise unknown_name("schedule", schedule, SCHEDULES)
        if mask_token_id < 1:
            raise InputError(f"mask_token_id is {mask_token_id}; it must be the number of codes, at least 1")
        numbers = {"temperature": temperature, "order_noise": order_noise}
        numbers |= {} if late_temperature is None else {"late_temperature": late_temperature}
        for name, value in numbers.items():
            if not 0 <= value < math.inf:
                raise InputError(f"{name} is {value}; it must be a number of at least 0")
        for name, value in (("top_p", top_p), ("corrector_share", corrector_share)):
            if not 0 < value <= 1:
                raise InputError(f"{name} is {value}; it must be a number above 0 and up to 1")
        if not 0 <= trust <= 1:
            raise InputError(f"trust is {trust}; it must be a number from 0 to 1")
        if corrector_sweeps < 0:
            raise InputError(f"corrector_sweeps is {corrector_sweeps}; it must be a whole number of at least 0")
        self.timesteps = torch.empty(0, dtype=torch.int64)
        self.num_inference_steps = 0
        self._known: Tensor | None = None  # bool [B, h, w]
        self._unknown_at_start = self._keys = self._certainty = torch.empty(0)

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Set the number of steps S; `timesteps` are S-1..0.

        Raises:
            InputError: fewer than one step.
        """
        if num_inference_steps < 1:
            raise InputError(f"steps is {num_inference_steps}; it must be a whole number of at least 1")
        self.num_inference_steps = num_inference_steps
        self.timesteps = torch.arange(num_inference_steps - 1, -1, -1, device=device)

    def begin(self, sample: Tensor, *, known: Tensor | None = None, generator: Generators = None) -> None:
        """Start to fill a batch.

        Args:
            sample: int64 `[B, h, w]`, tokens, the mask token where unknown.
            known: bool `[B, h, w]`, cells that never change; None for those without the mask token. Other cells that
                have a token already, such as those of a corrector sweep, count as drawn.
            generator: random source; see `gss.pipeline.sampling.draw.uniform`.

        Raises:
            InputError: shapes or tokens do not fit, or a known cell has no token.
        """
        mask_token = self.config["mask_token_id"]
        if sample.ndim != 3 or sample.dtype != torch.int64 or not sample.numel():
            raise InputError(f"sample has shape {list(sample.shape)} of {sample.dtype}; it must be int64 [B, h, w]")
        if sample.min() < 0 or sample.max() > mask_token:
            found = f"{int(sample.min())}..{int(sample.max())}"
            raise InputError(f"sample holds tokens {found}, allowed are 0..{mask_token}")
        masked = sample == mask_token
        known = ~masked if known is None else known
        if known.shape != sample.shape or known.dtype != torch.bool:
            raise InputError(f"known has shape {list(known.shape)} of {known.dtype}; it must be bool as sample")
        if (known & masked).any():
            raise InputError("known marks cells that hold the mask token")
        items, height, width = sample.shape
        self._known = known
        self._unknown_at_start = masked.flatten(1).sum(1)
        self._certainty = torch.ones(items, height * width, device=sample.device, dtype=torch.float32)
        start = uniform(generator, items, 1, sample.device)[:, 0]
        self._keys = halton_keys(height, width, start)

    def next_cells(self, timestep: int | Tensor, sample: Tensor) -> Tensor | None:
        """Return the cells that a step will draw, int64 `[B, M]`, so that only their logits need to be computed.

        Items that draw fewer cells than others have further cells at the end. None for orders that depend on the logits
        or on random numbers of the step.

        Args:
            timestep: see `step`.
            sample: see `step`.
        """
        if self.config["order"] != "halton":
            return None
        masked = (sample == self.config["mask_token_id"]).flatten(1)
        count = masked.sum(1) - self._left(int(timestep), masked.sum(1))
        keys = self._keys.masked_fill(~masked, -torch.inf)
        return keys.argsort(dim=1, descending=True, stable=True)[:, : max(int(count.max()), 1)]

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        *,
        generator: Generators = None,
        cells: Tensor | None = None,
    ) -> TokenSchedulerOutput:
        """Draw some unknown cells of every item.

        Args:
            model_output: logits `[B, V, h, w]`, or `[B, V, M]` of `cells`.
            timestep: one of `timesteps`; at 0 nothing stays unknown.
            sample: int64 `[B, h, w]`, result of the step before.
            generator: random source; every step takes as many numbers of it, whatever is unknown.
            cells: result of `next_cells`; None for the logits of all cells.

        Raises:
            InputError: shapes do not fit, or `begin` or `set_timesteps` was not called.
        """
        self._check(model_output, sample, cells)
        items, height, width = sample.shape
        mask_token, tokens = self.config["mask_token_id"], sample.flatten(1)
        masked = tokens == mask_token  # [B, N]; known cells have tokens
        draws = uniform(generator, items, height * width, sample.device)
        ties = uniform(generator, items, height * width, sample.device)

        # 1. A token for every unknown cell of which there are logits, [M].
        rows = model_output.flatten(2).movedim(1, -1)  # [B, M, V]
        if cells is None:
            cells = torch.arange(height * width, device=sample.device).expand(items, -1)
        asked = masked.gather(1, cells)
        logits = rows[asked].float()
        item = torch.arange(items, device=sample.device)[:, None].expand_as(cells)[asked]
        place = (item, cells[asked])
        temperature = self._temperature(int(timestep))
        probabilities = token_probabilities(logits, temperature=temperature, top_p=self.config["top_p"])
        drawn = draw_tokens(probabilities, draws[place])
        proposal, chances = tokens.clone(), torch.zeros_like(self._certainty)
        proposal[place] = drawn
        chances[place] = logits.softmax(1).gather(1, drawn[:, None])[:, 0]

        # 2. Those that stay: the first of each item in the order, [B, N].
        left = self._left(int(timestep), masked.sum(1))
        keys = self._priorities(masked, ties, logits, chances[place], (height, width))
        rank = keys.masked_fill(~masked, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        stay = masked & (rank < (masked.sum(1) - left)[:, None])

        # 3. Tokens and certainties after the step.
        self._certainty = torch.where(stay, chances, self._certainty)
        result = torch.where(stay, proposal, tokens)
        return TokenSchedulerOutput(*(part.view(items, height, width) for part in (result, proposal, stay)))

    def remask(self, sample: Tensor) -> Tensor:
        """Make the least certain of the cells that were drawn unknown again, for a corrector sweep.

        Certainty is the probability that the token had when it was drawn. The share is `corrector_share` of the cells
        not given, at least one. Cells are chosen by their values, so a sweep sharpens the samples a little instead of
        leaving their distribution as it is.

        Args:
            sample: int64 `[B, h, w]`.
        """
        assert self._known is not None
        free = ~self._known.flatten(1)
        count = (free.sum(1) * self.config["corrector_share"]).ceil().long()
        rank = self._certainty.masked_fill(~free, torch.inf).argsort(dim=1, stable=True).argsort(dim=1)
        again = free & (rank < count[:, None])
        return sample.masked_fill(again.view(sample.shape), self.config["mask_token_id"])

    def _temperature(self, timestep: int) -> float:
        """Return the divisor of the logits of a step."""
        late = self.config["late_temperature"]
        first_half = 2 * timestep >= self.num_inference_steps or self.num_inference_steps == 1
        return self.config["temperature"] if late is None or first_half else late

    def _left(self, timestep: int, unknown: Tensor) -> Tensor:
        """Return how many cells `[B]` stay unknown after a step; items of few cells draw one at a time."""
        if timestep == 0:
            return torch.zeros_like(unknown)
        time, schedule = 1 - timestep / self.num_inference_steps, SCHEDULES[self.config["schedule"]]
        shares = [schedule(time, max(count, 1)) for count in self._unknown_at_start.tolist()]
        left = (self._unknown_at_start * torch.tensor(shares, device=unknown.device)).floor().long()
        one_by_one = self._unknown_at_start <= self.num_inference_steps
        left = torch.where(one_by_one, unknown - 1, torch.minimum(left, unknown - 1))
        return left.clamp(min=0)

    def _priorities(
        self, masked: Tensor, ties: Tensor, logits: Tensor, certainty: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Return the priorities `[B, N]` of cells; only those of unknown cells are read.

        Args:
            masked: bool `[B, N]`, unknown cells.
            ties: random numbers `[B, N]`.
            logits: `[M, V]` of the unknown cells.
            certainty: `[M]`, probability of the drawn tokens.
            size: (h, w).
        """
        if self.config["order"] == "halton":
            return self._keys
        if self.config["order"] == "random":
            return ties
        keys = torch.zeros_like(ties)
        if self.config["order"] == "confidence":
            share = masked.sum(1, keepdim=True) / self._unknown_at_start.clamp(min=1)[:, None]
            gumbel = -(-ties.clamp(min=_TINY).log()).clamp(min=_TINY).log()
            keys[masked] = certainty.clamp(min=_TINY).log()
            return keys + self.config["order_noise"] * share * gumbel
        keys[masked] = torch.special.entr(logits.softmax(1)).sum(1)
        grids = (part.view(-1, *size) for part in (keys, masked, ties))
        return spread_keys(*grids)

    def _check(self, model_output: Tensor, sample: Tensor, cells: Tensor | None) -> None:
        if self._known is None or not self.num_inference_steps:
            raise InputError("call set_timesteps and begin before step")
        if sample.shape != self._known.shape:
            raise InputError(f"sample has shape {list(sample.shape)}, begin was given {list(self._known.shape)}")
        items, height, width = sample.shape
        size = [height, width] if cells is None else [cells.shape[1]]
        expected = [items, self.config["mask_token_id"], *size]
        if list(model_output.shape) != expected:
            raise InputError(
                f"model_output has shape {list(model_output.shape)}, expected {expected}: a logit for every code, "
                "none for the mask token"
            )
