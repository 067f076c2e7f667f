"""Choice of the pixels of a mask that are given for its completion."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from gss.labels.space import IGNORE_INDEX

_EIGHT = np.ones((3, 3), bool)
_TRIES = 400


def choose_given(labels: np.ndarray, kind: str, share: float, stride: int, random: np.random.Generator) -> np.ndarray:
    """Choose given pixels, bool `[H, W]`; void pixels are never given.

    Args:
        labels: `[H, W]`, 255 where void.
        kind: one of `gss.evaluation.samples.names.KINDS`.
        share: share of the pixels, reached as nearly as the kind allows.
        stride: pixels per cell side.
        random: random source.
    """
    if kind in ("components", "strokes"):
        given = _components(labels, share, random) if kind == "components" else _strokes(labels, share, stride, random)
    else:
        size = (-(-labels.shape[0] // stride), -(-labels.shape[1] // stride))
        cells = _blocks(size, share, random) if kind == "blocks" else _first_cells(size, share, random, kind)
        given = np.repeat(np.repeat(cells, stride, 0), stride, 1)[: labels.shape[0], : labels.shape[1]]
    return given & (labels != IGNORE_INDEX)


def _first_cells(size: tuple[int, int], share: float, random: np.random.Generator, kind: str) -> np.ndarray:
    """Return the first cells `[h, w]` in random order, or by their distance from the border."""
    order = random.random(size)
    if kind == "border":
        rows, columns = np.indices(size)
        edge = np.minimum.reduce([rows, columns, size[0] - 1 - rows, size[1] - 1 - columns])
        order += edge
    count = max(1, round(share * order.size))
    given = np.zeros(order.size, bool)
    given[np.argsort(order, axis=None)[:count]] = True
    return given.reshape(size)


def _blocks(size: tuple[int, int], share: float, random: np.random.Generator) -> np.ndarray:
    """Return rectangles of cells `[h, w]`."""
    given = np.zeros(size, bool)
    for _ in range(_TRIES):
        missing = share * given.size - given.sum()
        if missing < 1:
            break
        side = np.sqrt(missing / random.integers(1, 4)) * random.uniform(0.6, 1.6)
        height = int(np.clip(round(side), 1, size[0]))
        width = int(np.clip(round(missing / height if side * side > missing else side), 1, size[1]))
        top, left = random.integers(size[0] - height + 1), random.integers(size[1] - width + 1)
        given[top : top + height, left : left + width] = True
    return given


def _regions(labels: np.ndarray) -> list[np.ndarray]:
    """Return the connected regions of all classes, bool `[H, W]` each."""
    regions = []
    for label in np.unique(labels[labels != IGNORE_INDEX]):
        parts, count = ndimage.label(labels == label, _EIGHT)
        regions += [parts == number for number in range(1, count + 1)]
    return regions


def _components(labels: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Return whole regions in random order, as long as they do not exceed the share by more than half of it."""
    given, wanted = np.zeros(labels.shape, bool), share * labels.size
    regions = _regions(labels)
    for number in random.permutation(len(regions)):
        if given.sum() + regions[number].sum() <= 1.5 * wanted:
            given |= regions[number]
        if given.sum() >= wanted:
            break
    return given


def _strokes(labels: np.ndarray, share: float, stride: int, random: np.random.Generator) -> np.ndarray:
    """Return strokes between two points of a region, cut where they leave it."""
    given, wanted = np.zeros(labels.shape, bool), share * labels.size
    regions = _regions(labels)
    if not regions:
        return given
    chances = np.sqrt([float(region.sum()) for region in regions])
    chances /= chances.sum()
    for _ in range(_TRIES):
        if given.sum() >= wanted:
            break
        region = regions[random.choice(len(regions), p=chances)]
        ends = np.argwhere(region)[random.integers(region.sum(), size=2)]
        steps = int(np.abs(ends[0] - ends[1]).max()) + 1
        points = np.linspace(ends[0], ends[1], steps).round().astype(int)
        line = np.zeros(labels.shape, bool)
        line[points[:, 0], points[:, 1]] = True
        line = ndimage.maximum_filter(line, size=2 * stride) & region
        room = int(wanted - given.sum())
        if line.sum() > 2 * room:  # a part of the stroke is enough
            keep = np.zeros(labels.shape, bool)
            keep[tuple(np.argwhere(line)[: max(room, 1)].T)] = True
            line = keep
        given |= line
    return given
