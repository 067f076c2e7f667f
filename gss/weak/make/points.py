"""Clicks on a full mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from gss.config.weak_labels import PointConfig
from gss.data.weak.labels import Stroke, WeakLabels
from gss.weak.make.regions import Truth, disc, regions


def make_points(truth: Truth, cfg: PointConfig, rng: np.random.Generator) -> WeakLabels:
    """Return clicks in every component, or on every class, of an image.

    A click whose disc would leave the class is one pixel wide.
    """
    strokes = []
    room = np.zeros(truth.size, bool)
    for label in np.flatnonzero(truth.counts()).tolist():
        # Outside the image there is no pixel that a disc could label wrongly.
        room |= ndimage.binary_erosion(truth.labels == label, disc(cfg.width), border_value=1)
    for label, rows, columns, depth in _units(truth, cfg):
        for row, column in _choose(rows, columns, depth, room, cfg, rng):
            row, column = _moved(truth.labels, row, column, label, cfg.jitter, rng)
            width = cfg.width if room[row, column] else 1.0
            strokes.append(Stroke(label, np.array([[column + 0.5, row + 0.5]]), width))
    return WeakLabels(truth.id, truth.size, truth.num_classes, strokes=strokes, exhaustive=True)


def _units(truth: Truth, cfg: PointConfig) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the class and the rows, columns and depths of the pixels of each component or class."""
    by_class: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
    for region in regions(truth, cfg.min_area):
        rows, columns = np.nonzero(region.mask)
        pixels = (rows + region.top, columns + region.left, region.depth[rows, columns])
        if cfg.mode == "component":
            yield region.label, *pixels
        else:
            by_class.setdefault(region.label, []).append(pixels)
    for label, parts in by_class.items():
        rows, columns, depth = (np.concatenate(part) for part in zip(*parts, strict=True))
        yield label, rows, columns, depth


def _choose(
    rows: np.ndarray,
    columns: np.ndarray,
    depth: np.ndarray,
    room: np.ndarray,
    cfg: PointConfig,
    rng: np.random.Generator,
) -> list[tuple[int, int]]:
    if cfg.position == "extreme":
        sides = (columns, -columns, rows, -rows)
        chosen = list(dict.fromkeys(int(rng.choice(np.flatnonzero(x == x.min()))) for x in sides))
    else:
        weight = depth**cfg.power if cfg.position == "interior" else np.ones(len(rows))
        spacious = room[rows, columns]
        if spacious.sum() >= cfg.count:
            weight = np.where(spacious, weight, 0.0)
        count = min(cfg.count, int((weight > 0).sum()))
        chosen = rng.choice(len(rows), count, replace=False, p=weight / weight.sum()).tolist()
    return [(int(rows[k]), int(columns[k])) for k in chosen]


def _moved(
    labels: np.ndarray, row: int, column: int, label: int, jitter: float, rng: np.random.Generator
) -> tuple[int, int]:
    if jitter > 0:
        moved = np.round(rng.normal((row, column), jitter)).astype(int)
        if (moved >= 0).all() and (moved < labels.shape).all() and labels[moved[0], moved[1]] == label:
            return int(moved[0]), int(moved[1])
    return row, column
