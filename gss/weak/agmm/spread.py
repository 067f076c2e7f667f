"""Pseudo-labels spread along the colours of the images of a batch by an absorbing walk, from coarse to fine grids.

`gss.weak.refine.walks.absorbing_walk` solves the same walk exactly, one image at a time. Here every cell has a
distribution to start from, and a few Jacobi steps on each of a few grids suffice. They run for all images and classes
at once, fast enough for every training step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.config.weak_labels import SpreadConfig
from gss.weak.agmm.evidence import Evidence, seeded

# Half of the eight neighbours; links are symmetric.
_OFFSETS = ((0, 1), (1, -1), (1, 0), (1, 1))
# Certain labels have odds of 1000 to 1, and no link between two cells of an image is weaker than this.
_CERTAIN, _WEAKEST = 1e-3, 1e-4


def finer_grids(coarsest: tuple[int, int], count: int, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return `count` grids, each of twice the cells of the one before per side, at most one per pixel of `size`.

    Args:
        coarsest: (h, w) of the first grid.
        count: number of grids, 0 or more.
        size: (H, W) of the image.
    """
    halved = (
        [min(side << level, max(side, end)) for side, end in zip(coarsest, size, strict=True)] for level in range(count)
    )
    return [(h, w) for h, w in halved]


@torch.no_grad()
def spread(
    belief: Tensor,
    levels: Sequence[Evidence],
    images: Tensor,
    cfg: SpreadConfig,
) -> Tensor:
    """Spread labels and beliefs on grids from coarse to fine.

    Args:
        belief: `[B, K, h, w]`, class distributions on any grid.
        levels: labels and tags on each grid, coarsest first.
        images: `[B, 3, H, W]`, RGB of any scale, 0 on padding.
        cfg: settings; one entry of `steps` for each grid.

    Returns:
        Class distributions `[B, K, h', w']` on the finest grid; where labels decide a cell, theirs.
    """
    result = belief
    for evidence, count in zip(levels, cfg.steps, strict=True):
        grid = evidence.valid.shape[-2:]
        label_mix, start = (seeded(_on_grid(x, (grid[0], grid[1])), evidence) for x in (belief, result))
        sure = evidence.certainty + (1 - evidence.certainty) * cfg.belief * label_mix.amax(1)
        links = color_links(images, evidence.valid, contrast=cfg.contrast)
        result = seeded(absorb(label_mix, sure, links, hold=cfg.hold, steps=count, start=start), evidence)
    return result


@torch.no_grad()
def color_links(images: Tensor, valid: Tensor, *, contrast: float) -> Tensor:
    """Return links exp(-|difference of mean colours|^2 / (2 contrast m)) of neighbouring cells.

    m is the mean squared difference of neighbours in the image, so that dark and foggy pictures have borders too.

    Args:
        images: `[B, 3, H, W]` of any scale, 0 on padding, which then does not enter the mean colour of a cell.
        valid: `[B, h, w]`, share of each cell that lies in the image; no link leads into padding.
        contrast: scale of the differences, above 0; smaller values make more of small differences.

    Returns:
        `[B, 4, h, w]` in 0..1, links of each cell to those to the right, below left, below and below right.
    """
    inside = valid > 0
    cells = F.interpolate(images.float(), size=valid.shape[-2:], mode="area") / torch.where(inside, valid, 1)[:, None]
    differences, joined = [], []
    for dy, dx in _OFFSETS:
        differences.append((_beside(cells, dy, dx) - cells).square().sum(1))
        joined.append(inside & _beside(inside.float(), dy, dx).bool())
    squared, linked = torch.stack(differences, 1), torch.stack(joined, 1)
    count = linked.sum((1, 2, 3)).clamp(min=1)
    mean = ((squared * linked).sum((1, 2, 3)) / count).clamp(min=1e-12)
    links = (squared / (-2 * contrast * mean[:, None, None, None])).exp()
    return links.clamp(min=_WEAKEST) * linked


@torch.no_grad()
def absorb(
    targets: Tensor, certainty: Tensor, links: Tensor, *, hold: float, steps: int, start: Tensor | None = None
) -> Tensor:
    """Return what a walker finds where it stops, with odds hold * certainty / (1 - certainty) to the sum of the links.

    The system (diag(odds) + L) x = odds * targets, with L the Laplacian of the links, is solved by Jacobi steps.

    Args:
        targets: `[B, K, h, w]`, distributions.
        certainty: `[B, h, w]` in 0..1, certainty of each cell's own distribution; 1 gives odds of 1000 `hold`.
        links: `[B, 4, h, w]`, result of `color_links`.
        hold: factor of the odds, above 0.
        steps: number of Jacobi steps, 0 or more.
        start: `[B, K, h, w]`, first guess; `targets` when None.

    Returns:
        Distributions `[B, K, h, w]`.
    """
    odds = (hold * certainty / (1 - certainty + _CERTAIN))[:, None]
    total = odds + _neighbours(torch.ones_like(odds), links)
    lone = total <= 0  # padding
    held, total = torch.where(lone, targets, odds * targets), torch.where(lone, 1, total)
    result = targets if start is None else start
    for _ in range(steps):
        result = (held + _neighbours(result, links)) / total
    return result


def _on_grid(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return values on another grid: means over cells of a coarser one, bilinear interpolation to a finer one."""
    if values.shape[-2:] == grid:
        return values
    coarser = grid[0] <= values.shape[-2] and grid[1] <= values.shape[-1]
    return F.interpolate(values, size=grid, mode="area" if coarser else "bilinear")


def _beside(values: Tensor, dy: int, dx: int) -> Tensor:
    """Return at (y, x) the value of cell (y + dy, x + dx), 0 outside; dy is 0 or more."""
    h, w = values.shape[-2:]
    padded = F.pad(values, (max(-dx, 0), max(dx, 0), 0, dy))
    left = max(dx, 0)
    return padded[..., dy : dy + h, left : left + w]


def _neighbours(values: Tensor, links: Tensor) -> Tensor:
    """Return the sum over the eight neighbours of link times value, `[B, C, h, w]` of `[B, C, h, w]`."""
    h, w = values.shape[-2:]
    total = torch.zeros_like(values)
    for number, (dy, dx) in enumerate(_OFFSETS):
        left, right = max(-dx, 0), w - max(dx, 0)
        here, there = (..., slice(0, h - dy), slice(left, right)), (..., slice(dy, h), slice(left + dx, right + dx))
        link = links[:, number : number + 1][here]
        total[here].addcmul_(link, values[there])
        total[there].addcmul_(link, values[here])
    return total
