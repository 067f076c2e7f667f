"""Lines inside a region: polynomial arcs, the middle line and random walks; coordinates (x, y) in its box."""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, dijkstra

_STEP = 3.0
_MOST_NODES = 4000
_TURNS = np.deg2rad([0, 30, -30, 60, -60, 100, -100, 140, -140, 180])


def arc(points: np.ndarray) -> np.ndarray:
    """Return the polynomial of degree n - 1 through points `[n, 2]`, as a polyline with steps of 3 pixels."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    if (steps < 1e-6).any():
        points = points[np.concatenate([[True], steps >= 1e-6])]
        steps = steps[steps >= 1e-6]
    if len(points) < 2:
        return points
    t = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    powers = np.arange(len(points))
    coefficients = np.linalg.solve(t[:, None] ** powers, points)
    dense = np.linspace(0, 1, max(int(steps.sum() / _STEP), 2) + 1)
    return dense[:, None] ** powers @ coefficients


def sub_path(path: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return a random stretch of a polyline with `share` of its length."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    if share >= 1 or along[-1] == 0:
        return path
    start = rng.uniform(0, (1 - share) * along[-1])
    stop = start + share * along[-1]
    kept = path[(along > start) & (along < stop)]
    ends = [[np.interp(place, along, path[:, axis]) for axis in (0, 1)] for place in (start, stop)]
    return np.concatenate([ends[:1], kept, ends[1:]])


def smoothed(path: np.ndarray, window: int = 5) -> np.ndarray:
    """Return the moving average of a polyline; both ends stay."""
    if len(path) < window:
        return path
    reach = window // 2
    padded = np.pad(path, ((reach, reach), (0, 0)), mode="edge")
    mean = np.stack([np.convolve(padded[:, axis], np.full(window, 1 / window), "valid") for axis in (0, 1)], 1)
    mean[[0, -1]] = path[[0, -1]]
    return mean


def medial_path(depth: np.ndarray, width: float) -> np.ndarray | None:
    """Return a long line along the middle of a region, where a stroke of this width has room; None without one.

    The ends are the two places furthest apart inside the region; between them the line prefers places far from the
    border. Large regions use a coarser grid of places that are deep enough for straight lines between them.

    Args:
        depth: distance to the border `[h, w]` in pixels, 0 outside the region.
        width: width of the stroke in pixels.
    """
    area = int((depth > 0).sum())
    wanted = max(1, round((area / _MOST_NODES) ** 0.5))
    for step in range(wanted, 0, -1):
        path = _path_on_grid(depth[::step, ::step], 0.75 * step + width / 2 + 0.3)
        if path is not None or step == 1:
            return None if path is None else path[:, ::-1] * step + 0.5
    return None


def _path_on_grid(depth: np.ndarray, least: float) -> np.ndarray | None:
    """Return (row, column) of the line on a grid of depths, through cells deeper than `least`."""
    inside = depth > least
    cells = np.argwhere(inside)
    if len(cells) < 2:
        return None
    number = np.full(depth.shape, -1)
    number[inside] = np.arange(len(cells))
    pairs, lengths = [], []
    height, width = depth.shape
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = number[: height - dy, max(-dx, 0) : width - max(dx, 0)]
        there = number[dy:, max(dx, 0) : width + min(dx, 0)]
        joined = (here >= 0) & (there >= 0)
        pairs.append(np.stack([here[joined], there[joined]]))
        lengths.append(np.full(int(joined.sum()), math.hypot(dy, dx)))
    start, stop = np.concatenate(pairs, axis=1)
    length, value = np.concatenate(lengths), depth[inside]
    graph = coo_array((length, (start, stop)), shape=(len(cells),) * 2).tocsr()
    parts = connected_components(graph, directed=False)[1]
    deepest = int(np.where(parts == np.bincount(parts).argmax(), value, -1).argmax())
    first = _furthest(graph, deepest)
    last = _furthest(graph, first)
    if first == last:
        return None
    # A step at twice the depth costs a quarter.
    cost = length / np.minimum(value[start], value[stop]) ** 2
    weighted = coo_array((cost, (start, stop)), shape=graph.shape).tocsr()
    before = dijkstra(weighted, directed=False, indices=first, return_predecessors=True)[1]
    line = [last]
    while line[-1] != first:
        line.append(int(before[line[-1]]))
    return cells[line]


def _furthest(graph: coo_array, node: int) -> int:
    distance = dijkstra(graph, directed=False, indices=node)
    return int(np.where(np.isfinite(distance), distance, -1).argmax())


def walk_path(depth: np.ndarray, least: float, length: float, rng: np.random.Generator) -> np.ndarray | None:
    """Return a random walk with momentum from the deepest place, through places deeper than `least`.

    Args:
        depth: distance to the border `[h, w]` in pixels.
        least: smallest depth, at least 2 pixels, so that steps of 2 pixels stay inside.
        length: length of the walk in pixels; it ends earlier in a dead end.
        rng: random generator.
    """
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    if depth[row, column] <= least:
        return None
    path = [(column + 0.5, row + 0.5)]
    heading = rng.uniform(-math.pi, math.pi)
    for _ in range(int(length / 2)):
        heading += rng.normal(0, 0.35)
        for turn in _TURNS:
            x, y = path[-1][0] + 2 * math.cos(heading + turn), path[-1][1] + 2 * math.sin(heading + turn)
            if 0 <= x < depth.shape[1] and 0 <= y < depth.shape[0] and depth[int(y), int(x)] > least:
                heading += turn
                path.append((x, y))
                break
        else:
            break
    return np.array(path) if len(path) > 1 else None
