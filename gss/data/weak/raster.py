"""Strokes, clicks, polygons and run lengths as pixels.

Coordinates are continuous: pixel (row i, column j) covers [j, j + 1) x [i, i + 1), its center is (j + 0.5, i + 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from gss.core.errors import InputError

# Long segments are cut, so that all of them fit into small windows of one size.
_PIECE = 4.0
_NUMBERS = 1 << 20


def fill_polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> np.ndarray:
    """Return the pixels inside at least one polygon.

    The rule is the one of the COCO tools: a 5x3 rectangle on pixel edges fills 15 pixels.

    Args:
        polygons: `[x, y, x, y, ...]` of each polygon; those with fewer than three corners fill nothing.
        size: (H, W) of the image.

    Returns:
        bool `[H, W]`.

    Raises:
        InputError: a coordinate lies further outside the image than the image is long.
    """
    height, width = size
    filled = [polygon for polygon in polygons if len(polygon) >= 6]
    if not all(polygon_fits(polygon, size) for polygon in filled):
        raise InputError(f"a polygon lies far outside the image of {width}x{height} pixels")
    if not filled:
        return np.zeros(size, bool)
    runs = coco_mask.merge(coco_mask.frPyObjects(filled, height, width))
    counts = unpack_counts(runs["counts"].decode())
    assert counts is not None
    return decode_runs(counts, size)


def polygon_fits(polygon: Sequence[float], size: tuple[int, int]) -> bool:
    """Return whether a polygon reaches no further outside an image than the image is long.

    pycocotools walks along the edges pixel by pixel; far away its integers overflow and it crashes.
    """
    height, width = size
    x, y = polygon[::2], polygon[1::2]
    return not x or (min(x) >= -width and max(x) <= 2 * width and min(y) >= -height and max(y) <= 2 * height)


def decode_runs(counts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the mask that lengths of runs describe.

    Args:
        counts: lengths int `[n]` column by column, the first run outside the object; they add up to H * W.
        size: (H, W).

    Returns:
        bool `[H, W]`.
    """
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)  # [W * H]
    return values.reshape(size[1], size[0]).T


def unpack_counts(text: str) -> np.ndarray | None:
    """Return the run lengths in COCO's compressed text, int64 `[n]`; None if it is damaged.

    Each character holds six bits: five of the number, lowest first, and whether more follow. From the fourth number
    on each is the difference to the one before the last. (pycocotools reads beyond the end of damaged text.)
    """
    codes = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 0x20:
        return None
    ends = np.flatnonzero(codes & 0x20 == 0)
    starts = np.append(0, ends[:-1] + 1)
    if (ends - starts).max() > 8:
        return None
    shift = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts + 1))
    values = np.add.reduceat((codes & 0x1F) << shift, starts)
    values -= np.where(codes[ends] & 0x10, 1 << (shift[ends] + 5), 0)
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    return values


def paint_segments(
    labels: np.ndarray, starts: np.ndarray, ends: np.ndarray, radii: np.ndarray, classes: np.ndarray
) -> None:
    """Label the pixels whose center lies within a radius of a segment.

    With a radius of 0.5 only pixels that the segment passes through are labelled, and they leave no gap.

    Args:
        labels: label map `[H, W]`, written to; parts of segments outside it are left out.
        starts: first ends (x, y) of S segments, float `[S, 2]`.
        ends: second ends `[S, 2]`; a segment without length is a disc.
        radii: radii `[S]`, in pixels.
        classes: class numbers `[S]`; where segments overlap the last one counts.
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
    """Return the same segments in pieces of at most `_PIECE` pixels, in order."""
    pieces = np.maximum(np.ceil(np.hypot(*(ends - starts).T) / _PIECE), 1).astype(np.int64)
    owner = np.repeat(np.arange(len(starts)), pieces)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    direction = (ends - starts)[owner] / pieces[owner, None]
    begin = starts[owner] + direction * number[:, None]
    return begin, begin + direction, radii[owner], classes[owner]


def check_pixels(where: object, xy: Any) -> None:
    """Require coordinates in pixels.

    Args:
        where: file and place of the label, for the message.
        xy: coordinates of one label or of all of an image, any shape.

    Raises:
        InputError: all lie in 0..1 and some are fractions, so that they are relative to the image.
    """
    values = np.asarray(xy, np.float64)
    if values.size and values.min() >= 0 and values.max() <= 1 and (values % 1).any():
        shown = ", ".join(f"{value:g}" for value in values.ravel()[:4])
        raise InputError(
            f"{where}: the coordinates lie between 0 and 1 ({shown}), but pixels are expected: multiply x by the "
            "width and y by the height of the image"
        )
