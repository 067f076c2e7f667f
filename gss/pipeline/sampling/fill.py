"""Filling token grids with the joint prior: in steps, path by path, window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.models.joint import JointContext, JointPriorModel
from gss.models.joint.model import pick
from gss.pipeline.sampling.draw import Generators
from gss.pipeline.sampling.scheduler import TokenScheduler

PATH_NUMBERS = 2**25
"""Largest number of token logits that are computed at once (128 MB in float32)."""

Guide = Callable[[Tensor, Tensor, slice], Tensor]
"""Change of token logits: from logits `[B, V, h, w]`, tokens `[B, h, w]` and the paths they belong to, to logits."""


@dataclass(frozen=True)
class Paths:
    """What n paths through the unknown cells of one grid drew.

    Attributes:
        tokens: int64 `[n, h, w]`.
        probabilities: float32 `[V, h, w]`, mean over the paths of the distribution each cell was drawn from, given what
            was known by then: an estimate of p(token | given cells, image) with less noise than the drawn tokens.
            None unless asked for.
    """

    tokens: Tensor
    probabilities: Tensor | None


def path_generators(generator: Generators, items: int, n: int) -> list[list[torch.Generator]]:
    """Return a random source on the CPU for each of n paths of each item.

    Args:
        generator: one for the whole batch, one for each item, or None for the global one.
        items: number of items B.
        n: number of paths.

    Raises:
        InputError: another number of generators than items.
    """
    if generator is None or isinstance(generator, torch.Generator):
        rows = [generator] * items
    elif len(generator) == items:
        rows = list(generator)
    else:
        raise InputError(f"generator is a list of {len(generator)}; give one, or one for each of {items} images")
    seeds = [
        torch.randint(2**62, (n,), generator=row, device="cpu" if row is None else row.device).tolist() for row in rows
    ]
    return [[torch.Generator().manual_seed(seed) for seed in item] for item in seeds]


def fill(
    joint: JointPriorModel,
    context: JointContext,
    tokens: Tensor,
    scheduler: TokenScheduler,
    *,
    steps: int,
    generators: Sequence[torch.Generator],
    probabilities: bool = False,
    guide: Guide | None = None,
) -> Paths:
    """Fill n copies of one grid.

    Args:
        joint: joint prior.
        context: of one item.
        tokens: int64 `[n, h, w]`, the mask token where unknown; others never change.
        scheduler: order and schedule.
        steps: number of steps S.
        generators: random source of each copy.
        probabilities: also return the mean distribution of the cells.
        guide: change of the logits before tokens are drawn.
    """
    n, height, width = tokens.shape
    mask_token = joint.mask_token
    at_once = max(1, PATH_NUMBERS // (mask_token * height * width))
    results, total = [], None
    for first in range(0, n, at_once):
        sources = list(generators[first : first + at_once])
        sample = _with_given(tokens[first : first + at_once], context, mask_token)
        copies = context.repeat(len(sample))
        told = _told(joint, context, copies, sample) if scheduler.config["trust"] < 1 else None
        mean = _OneHotMean(sample, mask_token) if probabilities else None
        scheduler.set_timesteps(steps)
        scheduler.begin(sample, generator=sources)

        # 1. Steps, until nothing is unknown; 2. sweeps that draw the least certain cells again.
        for timestep in _timesteps(scheduler):
            if timestep < 0:
                sample = scheduler.remask(sample)
            unknown = sample == mask_token
            if not unknown.any():
                continue
            # Logits of the cells that are drawn; a guide reads those of all.
            cells = scheduler.next_cells(max(timestep, 0), sample) if guide is None else None
            logits = joint(sample, copies, cells=cells).token_logits
            if told is not None:
                before = told.expand(len(sample), -1, -1, -1)
                logits = _between(before if cells is None else pick(before, cells), logits, scheduler.config["trust"])
            logits = logits if guide is None else guide(logits, sample, slice(first, first + len(sample)))
            output = scheduler.step(logits, max(timestep, 0), sample, generator=sources, cells=cells)
            sample = output.prev_sample
            if mean is not None:
                mean.add(logits, output.drawn, cells)
        results.append(sample)
        if mean is not None:
            total = mean.total if total is None else total + mean.total
    return Paths(torch.cat(results), None if total is None else total / n)


def _told(joint: JointPriorModel, context: JointContext, copies: JointContext, sample: Tensor) -> Tensor:
    """Return the token logits given what is known at the start, `[n, V, h, w]`, or `[1, ...]` of equal copies."""
    if bool((sample == sample[:1]).all()):
        return joint(sample[:1], context).token_logits
    return joint(sample, copies).token_logits


def _between(before: Tensor, after: Tensor, trust: float) -> Tensor:
    """Return log-probabilities between two of dimension 1, as far from the first as `trust` says, without their sum."""
    return torch.lerp(before.log_softmax(1), after.log_softmax(1), trust)


def _timesteps(scheduler: TokenScheduler) -> Iterator[int]:
    """Yield the timesteps, then -1 for every corrector sweep."""
    yield from scheduler.timesteps.tolist()
    yield from [-1] * scheduler.config["corrector_sweeps"]


def _with_given(tokens: Tensor, context: JointContext, mask_token: int) -> Tensor:
    """Fill in the tokens of cells whose pixels are all given."""
    if context.given is None:
        return tokens
    return torch.where(tokens == mask_token, context.given.expand_as(tokens), tokens)


class _OneHotMean:
    """Sum over paths of the distributions that cells were last drawn from, `[V, h, w]`; of known cells, one token."""

    def __init__(self, sample: Tensor, mask_token: int) -> None:
        n, height, width = sample.shape
        padded = torch.zeros(n, mask_token + 1, height, width, device=sample.device, dtype=torch.float32)
        self._rows = padded.scatter_(1, sample[:, None], 1.0)[:, :mask_token]

    def add(self, logits: Tensor, drawn: Tensor, cells: Tensor | None) -> None:
        if cells is None:
            self._rows = torch.where(drawn[:, None], logits.softmax(1), self._rows)
            return
        rows, index = self._rows.flatten(2), cells[:, None].expand(-1, self._rows.shape[1], -1)
        fresh = drawn.flatten(1).gather(1, cells)[:, None]
        self._rows = rows.scatter(2, index, torch.where(fresh, logits.softmax(1), rows.gather(2, index))).view_as(
            self._rows
        )

    @property
    def total(self) -> Tensor:
        return self._rows.sum(0)


def cell_windows(size: tuple[int, int], window: tuple[int, int] | None, overlap: float) -> list[tuple[slice, slice]]:
    """Return windows, in cells, that cover a grid row by row, each overlapping the ones before it.

    Args:
        size: (h, w) of the grid.
        window: (h, w) of a window; None for one window.
        overlap: least overlap of neighbours as a fraction of the window, in [0, 1).
    """
    if window is None:
        return [(slice(0, size[0]), slice(0, size[1]))]
    parts = []
    for length, side in zip(size, window, strict=True):
        side = min(side, length)
        step = max(1, int(side * (1 - overlap)))
        starts = [*range(0, length - side, step), length - side]
        parts.append([slice(start, start + side) for start in starts])
    return [(rows, columns) for rows in parts[0] for columns in parts[1]]


def fill_windows(
    joint: JointPriorModel,
    encode: Callable[[slice, slice], JointContext],
    tokens: Tensor,
    scheduler: TokenScheduler,
    windows: Sequence[tuple[slice, slice]],
    *,
    steps: int,
    generators: Sequence[torch.Generator],
    probabilities: bool = False,
    guide: Callable[[slice, slice], Guide] | None = None,
) -> Paths:
    """Fill n copies of a grid window by window; what earlier windows drew is known to later ones.

    Args:
        joint: joint prior.
        encode: function from the rows and columns of a window, in cells, to its context of one item.
        tokens: int64 `[n, h, w]`, the mask token where unknown; it is filled in place.
        scheduler: order and schedule.
        windows: rows and columns, see `cell_windows`.
        steps: number of steps in a window.
        generators: random source of each copy.
        probabilities: see `fill`; every cell has those of the first window it is in.
        guide: function from a window to its `Guide`.
    """
    mean = None
    for rows, columns in windows:
        part = tokens[:, rows, columns]
        unknown = part[0] == joint.mask_token
        paths = fill(
            joint,
            encode(rows, columns),
            part,
            scheduler,
            steps=steps,
            generators=generators,
            probabilities=probabilities,
            guide=None if guide is None else guide(rows, columns),
        )
        tokens[:, rows, columns] = paths.tokens
        if paths.probabilities is not None:
            if mean is None:
                mean = torch.zeros(joint.mask_token, *tokens.shape[1:], device=tokens.device, dtype=torch.float32)
            mean[:, rows, columns] = torch.where(unknown, paths.probabilities, mean[:, rows, columns])
    return Paths(tokens, mean)
