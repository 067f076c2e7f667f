"""Bits of a mask under a joint prior: exact for independent cells, a bound for joint ones.

A mask of N cells with pixels c_1 .. c_N has, with everything unknown, the exact negative log-likelihood

    - sum_i log sum_z p(z_i = z | x) p(c_i | z)

of independent cells. The joint prior predicts cell after cell, in any order s, from the tokens of those before:

    p_s(c | x) = prod_i sum_z p(z_s(i) = z | z*_s(1) .. z*_s(i-1), x) p(c_s(i) | z),   z* the best code of a cell.

Each p_s is normalised over masks, and so is their mean over the orders, p. By Jensen's inequality,

    -log p(c | x) <= -E_s log p_s(c | x)
                   = E_n (N / n) E_known sum_{i unknown} -log sum_z p(z_i = z | known, x) p(c_i | z)

with n the number of unknown cells, uniform in 1 .. N, and the known cells a random set of N - n. The right-hand side is
estimated without bias, from few n, evenly spread.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.labels.space import IGNORE_INDEX
from gss.models.joint.context import JointContext
from gss.models.joint.model import JointPriorModel


def cell_scores(table: Tensor, labels: Tensor) -> Tensor:
    """Return log p(pixels of a cell | code), float32 `[B, V, h, w]`; void adds 0.

    Args:
        table: p(class | code, position) `[V, K, f, f]`.
        labels: label maps int64 `[B, H, W]`, 255 where void.
    """
    classes, f = table.shape[1], table.shape[2]
    valid = labels != IGNORE_INDEX
    hot = F.one_hot(labels.clamp(max=classes - 1), classes) * valid[..., None]
    hot = F.pixel_unshuffle(hot.movedim(-1, 1).float(), f)  # [B, K*f*f, h, w]
    return F.conv2d(hot, table.float().clamp(min=1e-6).log().flatten(1)[:, :, None, None])


def cell_nats(token_logits: Tensor, scores: Tensor) -> Tensor:
    """Return -log p(pixels of a cell), in nats `[B, h, w]`.

    Args:
        token_logits: `[B, V, h, w]`, of any scale.
        scores: result of `cell_scores`.
    """
    return torch.logsumexp(token_logits, 1) - torch.logsumexp(token_logits + scores, 1)


def order_bound(
    joint: JointPriorModel,
    context: JointContext,
    tokens: Tensor,
    scores: Tensor,
    *,
    draws: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Estimate the bound on the nats of each mask, float64 `[B]`.

    Args:
        joint: joint prior.
        context: its context.
        tokens: int64 `[B, h, w]`, best code of each cell; negative where a cell is wholly void, which is never known.
        scores: result of `cell_scores` of the same masks.
        draws: numbers of unknown cells, evenly spread over 1 .. N; the cells are drawn.
        generator: source of the draws.
    """
    batch, cells = len(tokens), tokens[0].numel()
    total = torch.zeros(batch, dtype=torch.float64, device=tokens.device)
    for draw in range(draws):
        # 1. Number of unknown cells of each item, in the draw-th of equal stretches of 1 .. N; the cells themselves.
        place = (draw + torch.rand(batch, generator=generator)) / draws
        count = (place * cells).long().clamp(max=cells - 1) + 1
        rank = torch.rand(batch, cells, generator=generator).argsort(1).argsort(1)
        unknown = (rank < count[:, None]).view_as(tokens).to(tokens.device)

        # 2. Nats of the unknown cells, as those of all.
        known = torch.where(unknown | (tokens < 0), joint.mask_token, tokens)
        nats = cell_nats(joint(known, context).token_logits, scores).double() * unknown
        total += nats.flatten(1).sum(1) * (cells / count.to(tokens.device)) / draws
    return total


def bits_per_pixel(nats: Tensor, labels: Tensor) -> float:
    """Return bits a labelled pixel of masks of these nats in all."""
    return float(nats.sum()) / math.log(2) / max(int((labels != IGNORE_INDEX).sum()), 1)
