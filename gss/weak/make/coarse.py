"""Coarse polygons inside the components of a full mask."""

from __future__ import annotations

import numpy as np

from gss.config.weak_labels import CoarseConfig
from gss.data.weak.labels import WeakLabels
from gss.data.weak.raster import fill_polygons
from gss.labels.space import IGNORE_INDEX
from gss.weak.make.regions import Region, Truth, regions


def make_coarse(truth: Truth, cfg: CoarseConfig, rng: np.random.Generator) -> WeakLabels:
    """Return polygons that keep a distance from the borders of their components.

    Small components have no polygon, so the labels are not exhaustive. Pixels of other classes and of holes inside a
    polygon stay unlabelled.
    """
    partial = np.full(truth.size, IGNORE_INDEX, np.uint8)
    for region in regions(truth, cfg.min_area, every_class=False):
        inside = _polygon(region, cfg)
        if inside.sum() >= cfg.min_area:
            rows, columns = inside.shape
            partial[region.top : region.top + rows, region.left : region.left + columns][inside] = region.label
    return WeakLabels(truth.id, truth.size, truth.num_classes, partial=partial)


def _polygon(region: Region, cfg: CoarseConfig) -> np.ndarray:
    """Return the pixels of a component that its polygon covers, bool `[h, w]` in its bounding box."""
    inset = float(np.clip(cfg.inset * region.area**0.5, 2, 12))
    core = region.depth > inset
    corners = []
    # A component may fall apart where it is narrow, and each part is drawn.
    for ring in outline(core):
        perimeter = np.abs(np.diff(ring, axis=0, append=ring[:1])).sum()
        corners.append(simplified(ring, cfg.tolerance * perimeter).ravel().tolist())
    return fill_polygons(corners, core.shape) & (region.depth > 0.5 * inset)


def outline(mask: np.ndarray) -> list[np.ndarray]:
    """Return the outer borders of the parts of a mask, along the edges of its pixels.

    Args:
        mask: bool `[h, w]`.

    Returns:
        One ring of corners (x, y) `[n, 2]` per part, clockwise on the screen, without holes.
    """
    padded = np.pad(mask, 1)
    follow: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # Directed unit edges with the mask on their right: (dy, dx) leads to the neighbour outside.
    for (dy, dx), start, stop in (
        ((-1, 0), (0, 0), (1, 0)),
        ((0, 1), (1, 0), (1, 1)),
        ((1, 0), (1, 1), (0, 1)),
        ((0, -1), (0, 1), (0, 0)),
    ):
        rows, columns = np.nonzero(mask & ~padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx])
        begin = zip((columns + start[0]).tolist(), (rows + start[1]).tolist(), strict=True)
        end = zip((columns + stop[0]).tolist(), (rows + stop[1]).tolist(), strict=True)
        for a, b in zip(begin, end, strict=True):
            follow.setdefault(a, []).append(b)
    rings = []
    while follow:
        first = next(iter(follow))
        ring, here = [first], _next(follow, first, None)
        while here != first:
            before = ring[-1]
            ring.append(here)
            here = _next(follow, here, before)
        corners = np.array(ring)
        x, y = corners.T
        if (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0:  # holes run the other way round
            rings.append(corners)
    return rings


def _next(
    follow: dict[tuple[int, int], list[tuple[int, int]]], here: tuple[int, int], before: tuple[int, int] | None
) -> tuple[int, int]:
    """Return the end of the next edge and remove it; where two pixels touch at a corner, turn right."""
    ends = follow[here]
    pick = 0
    if len(ends) > 1 and before is not None:
        dx, dy = here[0] - before[0], here[1] - before[1]
        right = (here[0] - dy, here[1] + dx)
        pick = ends.index(right) if right in ends else 0
    chosen = ends.pop(pick)
    if not ends:
        del follow[here]
    return chosen


def simplified(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the corners of a ring `[n, 2]` that stay within `tolerance` pixels of it (Douglas and Peucker, 1973)."""
    far = int(((ring - ring[0]) ** 2).sum(1).argmax())
    closed = np.concatenate([ring, ring[:1]])
    keep = np.zeros(len(closed), bool)
    keep[[0, far, -1]] = True
    stack = [(0, far), (far, len(closed) - 1)]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        chord = closed[last] - closed[first]
        offset = closed[first + 1 : last] - closed[first]
        length = float(np.hypot(*chord))
        apart = np.abs(offset[:, 0] * chord[1] - offset[:, 1] * chord[0]) / length if length else np.hypot(*offset.T)
        worst = int(apart.argmax())
        if apart[worst] > tolerance:
            middle = first + 1 + worst
            keep[middle] = True
            stack += [(first, middle), (middle, last)]
    return closed[:-1][keep[:-1]]
