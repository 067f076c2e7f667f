"""The classes that several models and several data sets have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gss.label_mapping import LabelMapping
from gss.labels import LabelSpace

__all__ = ["CommonClasses", "common_classes"]


@dataclass(frozen=True)
class CommonClasses:
    """A space that every side can be brought to.

    Attributes:
        space: The common classes, in the order of the first target and called what its classes are called.
        sources: From each source space to it, many-to-one.
        targets: From each target space to it, many-to-one.
    """

    space: LabelSpace
    sources: tuple[LabelMapping, ...]
    targets: tuple[LabelMapping, ...]


def common_classes(mappings: Sequence[Sequence[LabelMapping]]) -> CommonClasses | None:
    """Merge linked classes until all sides tell the same ones apart; the generalisation of `LabelMapping.common`.

    Classes that any mapping links, directly or by way of others, become one. A merged class is common when every
    source and every target has a part of it; the rest is left out.

    Args:
        mappings: `mappings[i][j]` from source space i to target space j, a full rectangle.

    Returns:
        The common classes, or `None` when there are none.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    sources, targets = [row[0].source for row in mappings], [mapping.target for mapping in mappings[0]]
    spaces = [*sources, *targets]
    ends = np.cumsum([space.num_classes for space in spaces]).tolist()
    starts = [end - space.num_classes for end, space in zip(ends, spaces, strict=True)]
    edges = []
    for i, row in enumerate(mappings):
        for j, mapping in enumerate(row):
            edges.append(np.argwhere(mapping.links) + [starts[i], starts[len(sources) + j]])
    tails, heads = np.concatenate(edges).T
    graph = coo_matrix((np.ones(len(tails)), (tails, heads)), shape=(ends[-1],) * 2)
    _, group = connected_components(graph, directed=False)
    parts = [group[start:end].tolist() for start, end in zip(starts, ends, strict=True)]
    shared = set.intersection(*map(set, parts))
    first = parts[len(sources)]
    members = {key: [k for k, own in enumerate(first) if own == key] for key in dict.fromkeys(first) if key in shared}
    if not members:
        return None
    space = LabelSpace(
        tuple(" + ".join(targets[0].names[k] for k in merged) for merged in members.values()),
        tuple(targets[0].colors[merged[0]] for merged in members.values()),
    )
    number = {key: index for index, key in enumerate(members)}
    mapped = tuple(
        LabelMapping(side, space, tuple(((number[key], 1.0),) if key in number else () for key in own))
        for side, own in zip(spaces, parts, strict=True)
    )
    return CommonClasses(space, mapped[: len(sources)], mapped[len(sources) :])
