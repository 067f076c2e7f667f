"""Edge-gated Potts refinement with the collision cross-entropy, by closed-form steps that never raise the energy.

For soft labels s_p of the pixels, given distributions y_p with weights w_p and gates g_pq of neighbouring pixels:

    E(s) = - sum_p w_p log sum_k y_pk s_pk  -  strength * sum_{p, q neighbours} g_pq log sum_k s_pk s_qk

Both terms are collision cross-entropies, the chance that two draws agree. An unsure y_p (uniform) asks nothing of s_p,
and two neighbours are only asked to agree where no edge parts them. Jensen's inequality with r_pk ~ y_pk s_pk and
t_pqk ~ s_pk s_qk bounds E from above, and the bound's minimum is the mean of what speaks for each class:

    s_pk  ~  w_p r_pk + strength * sum_q g_pq t_pqk
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_LEAST = 1e-12


def edge_gates(edges: Tensor, *, power: float = 4.0, dilate: int = 1) -> tuple[Tensor, Tensor]:
    """How much two neighbours should agree: (1 - the stronger of their edges)^power.

    Args:
        edges: `[H, W]` in 0..1.
        power: sharpens the gates.
        dilate: side of the square in which the strongest edge counts, an odd number; thin gaps in edges close.

    Returns:
        Gates to the right neighbour `[H, W-1]` and to the one below `[H-1, W]`.
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
    """Minimise the energy of the module's docstring.

    Args:
        probs: distributions y `[K, H, W]`.
        weights: of the pixels `[H, W]`, 0 where nothing is known.
        gates: of right `[H, W-1]` and lower `[H-1, W]` neighbours, see `edge_gates`.
        start: soft labels to start from `[K, H, W]`; `probs` by default. Every class that a pixel may take needs some
            mass there.
        strength: of the agreement of neighbours.
        iterations: steps; each costs a few passes over the soft labels.

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
        # A pixel of which nothing is known, behind edges on all sides, stays as it is.
        soft = torch.where(total > _LEAST, votes / total.clamp_min(_LEAST), soft)
    return soft


def potts_energy(
    soft: Tensor, probs: Tensor, weights: Tensor, gates: tuple[Tensor, Tensor], *, strength: float = 1.0
) -> Tensor:
    """The energy of the module's docstring, a scalar; also a loss for soft labels of a network with gradient."""
    own = (weights * (probs * soft).sum(0).clamp_min(_LEAST).log()).sum()
    right = (gates[0] * (soft[:, :, 1:] * soft[:, :, :-1]).sum(0).clamp_min(_LEAST).log()).sum()
    below = (gates[1] * (soft[:, 1:] * soft[:, :-1]).sum(0).clamp_min(_LEAST).log()).sum()
    return -own - strength * (right + below)
