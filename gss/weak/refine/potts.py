"""Potts refinement with the collision cross-entropy and edge gates, by closed-form steps that never raise the energy.

For soft labels s_p of the pixels, given distributions y_p with weights w_p and gates g_pq of neighbouring pixels:

    E(s) = - sum_p w_p log sum_k y_pk s_pk  -  strength * sum_{p, q neighbours} g_pq log sum_k s_pk s_qk

Both terms are collision cross-entropies: -log of the probability that two draws agree. A uniform y_p has no influence
on s_p, and neighbours are only drawn together where no edge lies between them. Jensen's inequality with
r_pk ~ y_pk s_pk and t_pqk ~ s_pk s_qk bounds E from above, and the minimum of the bound is:

    s_pk  ~  w_p r_pk + strength * sum_q g_pq t_pqk
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_LEAST = 1e-12


def edge_gates(edges: Tensor, *, power: float = 4.0, dilate: int = 1) -> tuple[Tensor, Tensor]:
    """Return the gates of neighbouring pixels: (1 - the stronger of their edges)^power.

    Args:
        edges: `[H, W]` in 0..1.
        power: exponent; larger values make more of weak edges.
        dilate: side of the square whose strongest edge is taken, an odd number; it closes thin gaps.

    Returns:
        `[H, W-1]`, gates to the right neighbour, and `[H-1, W]`, gates to the lower one.
    """
    if dilate > 1:
        edges = F.max_pool2d(edges[None, None], dilate, stride=1, padding=dilate // 2)[0, 0]
    right = torch.maximum(edges[:, 1:], edges[:, :-1])
    below = torch.maximum(edges[1:], edges[:-1])
    return (1 - right) ** power, (1 - below) ** power


@torch.no_grad()
def potts_refine(
    probs: Tensor,
    weights: Tensor,
    gates: tuple[Tensor, Tensor],
    *,
    start: Tensor | None = None,
    strength: float = 1.0,
    iterations: int = 20,
) -> Tensor:
    """Lower the energy of the module's docstring.

    Args:
        probs: `[K, H, W]`, distributions y.
        weights: `[H, W]`, weights of the pixels, 0 where nothing is known.
        gates: result of `edge_gates`.
        start: `[K, H, W]`, soft labels to start from; `probs` by default. A class of probability 0 stays there.
        strength: weight of the agreement of neighbours.
        iterations: number of steps; each costs a few passes over the soft labels.

    Returns:
        Soft labels `[K, H, W]`.
    """
    right, below = gates
    soft = (probs if start is None else start).clamp_min(1e-6)
    soft = soft / soft.sum(0)
    for _ in range(iterations):
        votes = probs * soft
        votes *= weights / votes.sum(0).clamp_min(_LEAST)
        for gate, here, there in (
            (right, (slice(None), slice(-1)), (slice(None), slice(1, None))),
            (below, (slice(-1), slice(None)), (slice(1, None), slice(None))),
        ):
            both = soft[:, *here] * soft[:, *there]
            both *= strength * gate / both.sum(0).clamp_min(_LEAST)
            votes[:, *here] += both
            votes[:, *there] += both
        total = votes.sum(0)
        # A pixel without weight and with closed gates on all sides stays as it is.
        soft = torch.where(total > _LEAST, votes / total.clamp_min(_LEAST), soft)
    return soft


def potts_energy(
    soft: Tensor, probs: Tensor, weights: Tensor, gates: tuple[Tensor, Tensor], *, strength: float = 1.0
) -> Tensor:
    """Return the energy of the module's docstring, a scalar; it can also serve as a loss of a network's soft labels."""
    own = (weights * (probs * soft).sum(0).clamp_min(_LEAST).log()).sum()
    right = (gates[0] * (soft[:, :, 1:] * soft[:, :, :-1]).sum(0).clamp_min(_LEAST).log()).sum()
    below = (gates[1] * (soft[:, 1:] * soft[:, :-1]).sum(0).clamp_min(_LEAST).log()).sum()
    return -own - strength * (right + below)
