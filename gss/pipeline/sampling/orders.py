"""Orders in which the unknown cells of a grid are filled: a priority for each cell, the greatest first."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

ORDERS = ("halton", "confidence", "random", "spread_entropy")
"""Orders of `TokenScheduler`.

- `halton`: a low-discrepancy sequence, so that the cells of one step lie far apart (Besnier et al., ICLR 2025);
- `confidence`: the cells whose drawn token was the most probable, with noise that fades (Chang et al., CVPR 2022);
- `random`: any order, as in the bound on the likelihood;
- `spread_entropy`: the surest cell of every neighbourhood first, then the second surest, and so on.
"""

_RADIUS = 2  # of a neighbourhood in cells: 5 x 5


def halton(index: Tensor, base: int) -> Tensor:
    """Return the radical inverse of whole numbers from 1 in a base, float64 in (0, 1), of the shape of `index`."""
    value, scale, rest = torch.zeros(index.shape, dtype=torch.float64), 1.0, index.clone()
    while bool((rest > 0).any()):
        scale /= base
        value += (rest % base) * scale
        rest = rest // base
    return value


@functools.lru_cache(maxsize=64)
def halton_cells(height: int, width: int) -> Tensor:
    """Return every cell of a grid in the order in which points of the Halton sequence first fall into it.

    The points have the radical inverses in base 2 and 3 as row and column.

    Returns:
        int64 `[height * width]`, positions in the flattened grid. The result is shared: do not change it.
    """
    count = height * width
    found = torch.empty(0, dtype=torch.int64)
    drawn, total = 0, 4 * count
    while len(found) < count and drawn < 64 * count:
        # 1. More points, and the cell of each.
        index = torch.arange(drawn + 1, total + 1)
        rows = (halton(index, 2) * height).long()
        columns = (halton(index, 3) * width).long()
        cells = torch.cat([found, rows * width + columns])

        # 2. First appearance of each cell.
        first = torch.full((count,), len(cells)).scatter_reduce(0, cells, torch.arange(len(cells)), "amin")
        found = first.argsort(stable=True)[: int((first < len(cells)).sum())]
        drawn, total = total, 2 * total

    # 3. A few cells of some grids are met very late: they come last.
    missing = torch.ones(count, dtype=torch.bool)
    missing[found] = False
    return torch.cat([found, missing.nonzero()[:, 0]])


def halton_keys(height: int, width: int, start: Tensor) -> Tensor:
    """Return the priority of every cell along the Halton sequence, started at another place for each item.

    Args:
        height: h of the grid in cells.
        width: w of the grid in cells.
        start: float `[B]` in [0, 1), where in the sequence an item starts.

    Returns:
        float32 `[B, h*w]`, different for all cells of an item.
    """
    count = height * width
    order = halton_cells(height, width).to(start.device)
    rank = torch.empty(count, dtype=torch.int64, device=start.device)
    rank[order] = torch.arange(count, device=start.device)
    shift = (start.double() * count).long().clamp(max=count - 1)
    return -((rank[None] + shift[:, None]) % count).float()


def spread_keys(entropy: Tensor, unknown: Tensor, ties: Tensor) -> Tensor:
    """Return priorities that take the surest unknown cell of every neighbourhood first.

    A cell's rank is the number of unknown cells around it that are surer. Cells of low rank come first, among those of
    one rank the surer ones. Two cells of one step are then rarely neighbours, and the entropy that is drawn
    independently is bounded for each neighbourhood.

    Args:
        entropy: `[B, h, w]`, of the tokens, in nats.
        unknown: bool `[B, h, w]`.
        ties: float `[B, h, w]` in [0, 1), order of cells of equal entropy.

    Returns:
        float32 `[B, h*w]`.
    """
    height, width = entropy.shape[1:]
    # 1. Unsureness of unknown cells, infinite elsewhere and beyond the border, [B, h + 4, w + 4].
    unsure = (entropy + 1e-4 * ties).masked_fill(~unknown, torch.inf)
    padded = F.pad(unsure, (_RADIUS,) * 4, value=torch.inf)

    # 2. Number of surer neighbours, [B, h, w].
    rank = torch.zeros_like(unsure)
    for top in range(2 * _RADIUS + 1):
        for left in range(2 * _RADIUS + 1):
            rank += padded[:, top : top + height, left : left + width] < unsure

    # 3. By rank, then by entropy.
    return (-rank - entropy / (entropy.amax((1, 2), keepdim=True) + 1)).flatten(1)
