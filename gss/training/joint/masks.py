"""Which cells are known in training: at random, and in the forms in which people give them."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

KINDS = ("random", "rectangles", "regions", "border", "strokes", "marks", "holes")


def draw_known(classes: Tensor, structured: float) -> Tensor:
    """Draw which cells are known of each item; of the global random source, which the training loop seeds.

    Args:
        classes: int64 `[B, h, w]`, most frequent class of each cell.
        structured: share of the items whose known cells have a form; those of the others are drawn one by one.

    Returns:
        bool `[B, h, w]`; of every item at least one cell is unknown.
    """
    rng = np.random.default_rng(int(torch.randint(2**31, ())))
    known = np.stack([draw_one(rng, grid, structured) for grid in classes.cpu().numpy()])
    known[known.all((1, 2))] = False
    return torch.from_numpy(known).to(classes.device)


def draw_one(rng: np.random.Generator, classes: np.ndarray, structured: float) -> np.ndarray:
    """Draw which cells of a grid of classes `[h, w]` are known, bool `[h, w]`."""
    kind = KINDS[int(rng.integers(1, len(KINDS)))] if rng.random() < structured else "random"
    # Share of unknown cells: mostly many, as in the first steps of sampling.
    unknown = math.cos(math.pi / 2 * rng.random())
    return known_cells(rng, classes, kind, unknown)


def known_cells(rng: np.random.Generator, classes: np.ndarray, kind: str, unknown: float) -> np.ndarray:
    """Draw which cells are known, bool `[h, w]`.

    Args:
        rng: random source.
        classes: most frequent class of each cell `[h, w]`.
        kind: one of `KINDS`: single cells; rectangles are unknown; whole regions of one class are unknown; a band along
            the border is known, or all but a band; strokes are known; strokes inside of regions are known, as people
            give them; strokes are unknown.
        unknown: share of unknown cells, met exactly by "random" and about by the others.
    """
    h, w = classes.shape
    if kind == "random":
        order = rng.permutation(h * w).reshape(h, w)
        return order >= round(unknown * h * w)
    if kind == "rectangles":
        hidden = np.zeros((h, w), bool)
        for _ in range(int(rng.integers(1, 5))):
            height, width = (max(1, round(n * math.sqrt(unknown) * rng.uniform(0.3, 1))) for n in (h, w))
            top, left = int(rng.integers(0, h - height + 1)), int(rng.integers(0, w - width + 1))
            hidden[top : top + height, left : left + width] = True
        return ~hidden
    if kind == "regions":
        return ~_regions(rng, classes, unknown)
    if kind == "border":
        depth = np.minimum.reduce(np.broadcast_arrays(*_edges(h, w)))
        band = depth < max(1, round(min(h, w) / 2 * (1 - math.sqrt(unknown))))
        return band if rng.random() < 0.5 else ~band
    if kind == "marks":
        return _strokes(rng, h, w, 1 - unknown, classes)
    strokes = _strokes(rng, h, w, 1 - unknown if kind == "strokes" else unknown)
    return strokes if kind == "strokes" else ~strokes


def _edges(h: int, w: int) -> tuple[np.ndarray, ...]:
    """Return the distances of every cell to the four edges of the grid."""
    rows, columns = np.arange(h)[:, None], np.arange(w)[None]
    return rows, h - 1 - rows, columns, w - 1 - columns


def _regions(rng: np.random.Generator, classes: np.ndarray, share: float) -> np.ndarray:
    """Choose whole connected regions until they cover `share` of the cells, at least one; bool `[h, w]`."""
    chosen = np.zeros(classes.shape, bool)
    numbers = np.zeros(classes.shape, np.int64)
    count = 0
    for label in np.unique(classes):
        regions, found = ndimage.label(classes == label)
        numbers += np.where(regions > 0, regions + count, 0)
        count += found
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    taken, wanted = 0, share * classes.size
    picked = np.zeros(count + 1, bool)
    for number in rng.permutation(np.arange(1, count + 1)):
        if taken and taken >= wanted:
            break
        picked[number] = True
        taken += sizes[number]
    return picked[numbers] | chosen


def _strokes(rng: np.random.Generator, h: int, w: int, share: float, classes: np.ndarray | None = None) -> np.ndarray:
    """Draw random strokes until they cover `share` of the cells, at most half, at least one; bool `[h, w]`.

    With `classes` `[h, w]`, a stroke stays in the class it starts in, and half of the strokes start in any class alike.
    """
    drawn = np.zeros((h, w), bool)
    wanted = min(share, 0.5) * h * w
    for _ in range(200):
        place, angle = rng.random(2) * (h, w), rng.random() * 2 * math.pi
        if classes is not None and rng.random() < 0.5:
            start = np.argwhere(classes == rng.choice(np.unique(classes)))
            place = start[int(rng.integers(len(start)))] + 0.5
        first = None if classes is None else classes[int(place[0]), int(place[1])]
        width = int(rng.integers(1, 3))
        stroke = np.zeros((h, w), bool)
        for _ in range(int(rng.integers(3, max(h, w)))):
            row, column = int(place[0]), int(place[1])
            stroke[max(row, 0) : row + width, max(column, 0) : column + width] = True
            angle += rng.normal() * 0.4
            place = np.clip(place + (math.sin(angle), math.cos(angle)), 0, (h - 1, w - 1))
        drawn |= stroke if classes is None else stroke & (classes == first)
        if drawn.sum() >= wanted:
            break
    return drawn
