"""Pseudo-labels spread along the colours of the images of a batch: an absorbing walk, coarse to fine, in dense steps.

The same walk as `gss.weak.refine.walks.absorbing_walk`. There it is solved exactly, one image at a time; here, where
every cell has a belief of its own to start from, a few Jacobi steps on each of a few grids do, for all images and
classes at once, fast enough for every training step.
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
# Odds of a certain belief are 1000 to 1, and no link between two cells of an image is weaker than this.
_CERTAIN, _WEAKEST = 1e-3, 1e-4


def finer_grids(coarsest: tuple[int, int], count: int, size: tuple[int, int]) -> list[tuple[int, int]]:
    """`count` grids, each with cells of half the size of the last one's, but never with more cells than `size` pixels.

    Args:
        coarsest: (h, w) of the first.
        count: 0 or more.
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
    """Let labels and beliefs spread, on grids from coarse to fine.

    Args:
        belief: class distributions over the images `[B, K, h, w]`, on any grid.
        levels: what is known of the images on each grid, coarsest first.
        images: RGB of any scale `[B, 3, H, W]`, 0 on padding.
        cfg: settings; one entry of `steps` for each grid.

    Returns:
        Class distributions on the finest grid; where labels decide a cell, theirs.
    """
    found = belief
    for evidence, count in zip(levels, cfg.steps, strict=True):
        grid = evidence.valid.shape[-2:]
        own, start = (seeded(_on_grid(x, (grid[0], grid[1])), evidence) for x in (belief, found))
        sure = evidence.certainty + (1 - evidence.certainty) * cfg.belief * own.amax(1)
        links = color_links(images, evidence.valid, contrast=cfg.contrast)
        found = seeded(absorb(own, sure, links, hold=cfg.hold, steps=count, start=start), evidence)
    return found


@torch.no_grad()
def color_links(images: Tensor, valid: Tensor, *, contrast: float) -> Tensor:
    """How freely a walker passes between neighbouring cells: exp(-|difference of mean colours|^2 / (2 contrast m)).

    m is the mean squared difference between neighbours in the image, so that dark and foggy pictures have borders too.

    Args:
        images: of any scale `[B, 3, H, W]`, 0 on padding, which then has no part in the mean colour of a cell.
        valid: share of each cell that lies in the image, not in padding `[B, h, w]`; no link leads into padding.
        contrast: above 0; smaller values make more of small differences.

    Returns:
        Links of each cell to those to the right, below left, below and below right, `[B, 4, h, w]` in 0..1.
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
    """What a walker finds who is held by a cell with odds hold * certainty / (1 - certainty) to the sum of its links.

    Jacobi steps of (diag(odds) + L) x = odds * targets, with L the Laplacian of the links.

    Args:
        targets: distributions `[B, K, h, w]`.
        certainty: of each cell's own distribution `[B, h, w]` in 0..1; 1 gives odds of a thousand times `hold`.
        links: `color_links`.
        hold: above 0.
        steps: 0 or more.
        start: first guess `[B, K, h, w]`; `targets` when None.

    Returns:
        Distributions `[B, K, h, w]`.
    """
    odds = (hold * certainty / (1 - certainty + _CERTAIN))[:, None]
    total = odds + _neighbours(torch.ones_like(odds), links)
    lone = total <= 0  # padding
    own, total = torch.where(lone, targets, odds * targets), torch.where(lone, 1, total)
    found = targets if start is None else start
    for _ in range(steps):
        found = (own + _neighbours(found, links)) / total
    return found


def _on_grid(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """Means over the cells of a coarser grid, or values between those of the cells of a finer one."""
    if values.shape[-2:] == grid:
        return values
    coarser = grid[0] <= values.shape[-2] and grid[1] <= values.shape[-1]
    return F.interpolate(values, size=grid, mode="area" if coarser else "bilinear")


def _beside(values: Tensor, dy: int, dx: int) -> Tensor:
    """The value of cell (y + dy, x + dx) at (y, x), 0 outside; dy is 0 or more."""
    h, w = values.shape[-2:]
    padded = F.pad(values, (max(-dx, 0), max(dx, 0), 0, dy))
    left = max(dx, 0)
    return padded[..., dy : dy + h, left : left + w]


def _neighbours(values: Tensor, links: Tensor) -> Tensor:
    """Sum over the eight neighbours of link times value, `[B, C, h, w]` of `[B, C, h, w]`."""
    h, w = values.shape[-2:]
    total = torch.zeros_like(values)
    for number, (dy, dx) in enumerate(_OFFSETS):
        left, right = max(-dx, 0), w - max(dx, 0)
        here, there = (..., slice(0, h - dy), slice(left, right)), (..., slice(dy, h), slice(left + dx, right + dx))
        link = links[:, number : number + 1][here]
        total[here].addcmul_(link, values[there])
        total[there].addcmul_(link, values[here])
    return total
