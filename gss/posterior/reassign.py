"""Assignment of the colours of a trained palette to the classes of another label space.

The V codes of a posterior trained on label space A paint small drawings in K_A colours; the names of the colours do not
matter to them. For K_B classes of another label space B only the names change: a one-to-one map from the classes of B
to the colours of A.

1. A class takes the colour of the class of the same name (up to case and punctuation), so tokens keep their meaning.
2. The others are assigned to the free colours such that the codes can draw their outlines as well as possible. For a
   cell with pixels m_b (1 for class b, else 0) the best drawing in colour a has the log-likelihood
   max_z sum_pixels m_b log p(a | z) + (1 - m_b) log (1 - p(a | z)). Its mean over cells drawn from B's masks, times the
   number of cells that show b, is the value of the pair (b, a); the assignment of largest total value is exact (a
   linear sum assignment). A contextual decoder has no table p(a | z); frequent classes then take the free colours that
   lie farthest from those taken.
3. The remaining classes (K_B > K_A) get new colours, each the farthest from all others. No code was trained to paint
   them, so tokens only distinguish them after a refinement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from gss.labels.names import spelling_key
from gss.labels.space import IGNORE_INDEX, LabelSpace
from gss.posterior.palette import extend

# Number of cells used for each class; they are drawn with a preference for borders.
_CELLS = 300


@dataclass(frozen=True)
class Assignment:
    """Colours of the classes of B.

    Attributes:
        colors: RGB of each class, 0..255.
        origins: class of A with this colour, None for a new colour.
        named: True where that class has the same name.
    """

    colors: tuple[tuple[int, int, int], ...]
    origins: tuple[int | None, ...]
    named: tuple[bool, ...]


def match_names(space: LabelSpace, other: LabelSpace) -> dict[int, int]:
    """Map classes of `space` to those of `other` with the same name, up to case and punctuation if need be."""
    spelled: dict[str, list[int]] = {}
    for index, name in enumerate(other.names):
        spelled.setdefault(spelling_key(name), []).append(index)
    exact = {k: other.index(name) for k, name in enumerate(space.names) if name in other.names}
    matches = dict(exact)
    for k, name in enumerate(space.names):
        candidates = [index for index in spelled.get(spelling_key(name), []) if index not in exact.values()]
        if k not in exact and len(candidates) == 1 and candidates[0] not in matches.values():
            matches[k] = candidates[0]
    return matches


def assign_colors(
    space: LabelSpace,
    other: LabelSpace,
    palette: np.ndarray,
    *,
    cells: Tensor,
    counts: Tensor,
    table: Tensor | None,
) -> Assignment:
    """Choose colours for the classes of `space` from the palette of `other`, and new ones for the remaining classes.

    Args:
        space: label space B.
        other: label space A.
        palette: uint8 `[K_A, 3]`.
        cells: int64 `[N, f, f]` of masks of B, void 255.
        counts: `[K_B]`, pixels per class of B.
        table: `[V, K_A, f, f]`, p(class of A | code, position); None for a contextual decoder.
    """
    origins: list[int | None] = [None] * space.num_classes
    for k, index in match_names(space, other).items():
        origins[k] = index
    named = tuple(origin is not None for origin in origins)
    free = [index for index in range(other.num_classes) if index not in origins]
    # The most frequent first; classes that never occur may remain.
    unassigned = [k for k in counts.argsort(descending=True).tolist() if origins[k] is None]
    if free and unassigned:
        if table is not None:
            value = outline_values(cells, table, unassigned, free)
            rows, columns = linear_sum_assignment(-value.double().cpu().numpy())
        else:
            taken = palette[[origin for origin in origins if origin is not None]].reshape(-1, 3)
            rows, columns = np.arange(min(len(unassigned), len(free))), _farthest(palette[free], taken)
        for row, column in zip(rows, columns, strict=False):
            origins[unassigned[row]] = free[column]
    # The codes still paint every colour of the old palette, whether B has its class or not.
    fresh = iter(extend(palette, origins.count(None)).tolist())
    colors = [palette[origin].tolist() if origin is not None else next(fresh) for origin in origins]
    return Assignment(tuple((r, g, b) for r, g, b in colors), tuple(origins), named)


def outline_values(cells: Tensor, table: Tensor, classes: list[int], colors: list[int]) -> Tensor:
    """Compute the log-likelihood with which codes draw the outlines of classes, summed over cells; float `[n, m]`.

    Args:
        cells: int64 `[N, f, f]`, void 255.
        table: `[V, K_A, f, f]`, p(a | z, position).
        classes: n labels in `cells`.
        colors: m classes of the table.
    """
    inside = table[:, colors].clamp(1e-6, 1 - 1e-6).flatten(2)  # [V, m, f*f]
    values = inside.new_zeros(len(classes), len(colors))
    for row, label in enumerate(classes):
        showing = cells[(cells == label).flatten(1).any(1)]
        if not len(showing):
            continue
        sample = showing[:: -(-len(showing) // _CELLS)].flatten(1)
        own = (sample == label).to(inside.dtype)
        rest = ((sample != label) & (sample != IGNORE_INDEX)).to(inside.dtype)
        for column in range(len(colors)):
            p = inside[:, column]
            fit = own @ p.log().t() + rest @ torch.log1p(-p).t()  # [cells, V]
            values[row, column] = fit.amax(1).mean() * len(showing)
    return values


def _farthest(candidates: np.ndarray, taken: np.ndarray) -> list[int]:
    """Order candidates `[n, 3]` such that each is the farthest from those taken and those before it."""
    points = candidates.astype(np.float64)
    nearest = np.full(len(points), np.inf)
    for color in taken.astype(np.float64):
        nearest = np.minimum(nearest, np.square(points - color).sum(axis=1))
    order: list[int] = []
    for _ in points:
        order.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.square(points - points[order[-1]]).sum(axis=1))
        nearest[order] = -1.0
    return order
