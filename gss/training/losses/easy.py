"""Choosing cells for the token and pixel loss: all that teach something, and a share of the easy ones."""

from __future__ import annotations

import torch
from torch import Tensor

from gss.labels.space import IGNORE_INDEX
from gss.posterior.cells import is_uniform, to_cells

CERTAIN = 0.7
"""Probability of the true class at which the auxiliary head finds a cell easy."""


@torch.no_grad()
def choose_cells(labels: Tensor, aux_logits: Tensor, token_stride: int, easy_share: float) -> tuple[Tensor, Tensor]:
    """Draw cells so that weighted sums over them have the sums over all cells as their mean (importance sampling).

    A cell is easy if all its pixels have one class and the auxiliary head gives it at least `CERTAIN` there. Easy cells
    are drawn independently with probability `easy_share` and weigh 1 / `easy_share`; all others are taken and weigh 1.
    The draw uses the global random source, which the training loop seeds at every step.

    Args:
        labels: int64 `[B, h*f, w*f]`, void 255.
        aux_logits: class logits at the cell centres `[B, K, h, w]`.
        token_stride: pixels per cell side f.
        easy_share: share of the easy cells, above 0 and at most 1.

    Returns:
        int64 `[n]`, positions in the flattened grid of cells, ascending, and their weights, float32 `[n]`.
    """
    cells = to_cells(labels, token_stride)  # [B, h, w, f, f]
    first = cells[..., 0, 0]
    pure = is_uniform(cells) & (first != IGNORE_INDEX)
    known = torch.where(pure, first, 0)[:, None]
    certain = aux_logits.float().softmax(1).gather(1, known)[:, 0] >= CERTAIN
    easy = (pure & certain).flatten()
    kept = torch.rand(easy.shape, device=easy.device) < easy_share
    chosen = (~easy | kept).nonzero()[:, 0]
    return chosen, torch.where(easy[chosen], 1 / easy_share, 1.0)
