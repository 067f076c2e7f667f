"""Strokes and clicks into label maps, exactly: a pixel takes the class when its centre is near enough to the line."""

from __future__ import annotations

import numpy as np

# Long segments are cut, so that all of them fit into small windows of one size.
_PIECE = 4.0
_NUMBERS = 1 << 20


def paint_segments(
    labels: np.ndarray, starts: np.ndarray, ends: np.ndarray, radii: np.ndarray, classes: np.ndarray
) -> None:
    """Label the pixels whose centre lies within a radius of a segment.

    Pixel (row i, column j) covers [j, j + 1) x [i, i + 1), its centre is (j + 0.5, i + 0.5). With a radius of 0.5 only
    pixels that the segment passes through are labelled, and they leave no gap.

    Args:
        labels: `[H, W]`, written to. What lies outside is left out.
        starts: float (x, y) of S segments `[S, 2]`.
        ends: their other ends `[S, 2]`; a segment without length is a disc.
        radii: `[S]`, in pixels.
        classes: `[S]`; where segments overlap the last one wins.
    """
    starts, ends, radii, classes = _cut(starts, ends, radii, classes)
    if not len(starts):
        return
    height, width = labels.shape
    side = int(np.ceil(_PIECE + 2 * radii.max())) + 2
    grid = np.arange(side)
    step = max(1, _NUMBERS // side**2)
    for first in range(0, len(starts), step):
        part = slice(first, first + step)
        start, direction, radius = starts[part], ends[part] - starts[part], radii[part, None, None]
        low = np.floor(np.minimum(start, ends[part]) - radii[part, None]).astype(np.int64)
        columns, rows = low[:, :1] + grid, low[:, 1:] + grid  # [n, side]
        x, y = (columns + 0.5 - start[:, :1])[:, None, :], (rows + 0.5 - start[:, 1:])[:, :, None]
        dx, dy = direction[:, 0, None, None], direction[:, 1, None, None]
        along = np.clip((x * dx + y * dy) / np.maximum(dx * dx + dy * dy, 1e-12), 0, 1)
        # The slack keeps what lies exactly on the rim on it, wherever the origin of the coordinates is.
        near = (x - along * dx) ** 2 + (y - along * dy) ** 2 <= radius**2 + 1e-9
        near &= ((columns >= 0) & (columns < width))[:, None, :] & ((rows >= 0) & (rows < height))[:, :, None]
        number, i, j = np.nonzero(near)
        labels[rows[number, i], columns[number, j]] = classes[part][number]


def _cut(
    starts: np.ndarray, ends: np.ndarray, radii: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The same segments in pieces of at most `_PIECE` pixels, in order."""
    pieces = np.maximum(np.ceil(np.hypot(*(ends - starts).T) / _PIECE), 1).astype(np.int64)
    owner = np.repeat(np.arange(len(starts)), pieces)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    direction = (ends - starts)[owner] / pieces[owner, None]
    begin = starts[owner] + direction * number[:, None]
    return begin, begin + direction, radii[owner], classes[owner]
