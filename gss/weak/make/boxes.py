"""Bounding boxes of a full mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gss.config.weak_labels import BoxConfig
from gss.data.weak.labels import WeakLabels
from gss.labels.space import IGNORE_INDEX
from gss.weak.make.regions import Truth, regions


def make_boxes(truth: Truth, cfg: BoxConfig, rng: np.random.Generator) -> WeakLabels:
    """Return a box around every component that is not background.

    The labels state that everything outside all boxes is background only if every component lies inside its box.
    """
    height, width = truth.size
    boxes = []
    for region in regions(truth, 1, every_class=False):
        if region.label == truth.background:
            continue
        rows, columns = region.mask.shape
        box = np.array([region.left, region.top, region.left + columns, region.top + rows], np.float64)
        if region.area < cfg.min_area or rng.random() < cfg.drop:
            continue
        sides = np.array([columns, rows, columns, rows])
        box += cfg.loose * sides * (-1, -1, 1, 1)
        if cfg.jitter > 0:
            box += rng.normal(0, cfg.jitter, 4) * sides
        box = np.clip(box, 0, (width, height, width, height))
        if (box[2:] - box[:2] < 1).any():
            box = np.array([region.left, region.top, region.left + columns, region.top + rows], np.float64)
        boxes.append((*box, region.label))
    weak = WeakLabels(
        truth.id,
        truth.size,
        truth.num_classes,
        boxes=np.array(boxes).reshape(-1, 5),
        background=truth.background,
        boxes_exhaustive=truth.background is not None,
    )
    left_over = replace(weak, core=0.0).rasterize().labels != IGNORE_INDEX
    wrong = left_over & (truth.labels != truth.background) & (truth.labels != IGNORE_INDEX)
    weak = replace(weak, boxes_exhaustive=weak.boxes_exhaustive and not wrong.any())
    return replace(weak, exhaustive=bool(weak.present()[truth.counts() > 0].all()))
