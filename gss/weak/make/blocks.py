"""Labelled blocks of a full mask."""

from __future__ import annotations

import numpy as np

from gss.config.weak_labels import BlockConfig
from gss.data.weak.labels import WeakLabels
from gss.labels.space import IGNORE_INDEX
from gss.weak.make.regions import Truth


def make_blocks(truth: Truth, cfg: BlockConfig, rng: np.random.Generator) -> WeakLabels:
    """Label whole cells of a grid until `share` of the valid pixels is labelled.

    The labels are not exhaustive: the classes of the other cells are unknown.
    """
    height, width = truth.size
    rows, columns = np.arange(height) * cfg.grid // height, np.arange(width) * cfg.grid // width
    cells = rows[:, None] * cfg.grid + columns  # [H, W]
    valid = truth.labels != IGNORE_INDEX
    count = np.bincount(cells[valid], minlength=cfg.grid**2)
    # Cells with the smallest keys are labelled first.
    key = rng.random(cfg.grid**2)
    if cfg.choice == "checkerboard":
        row, column = np.divmod(np.arange(cfg.grid**2), cfg.grid)
        key += (row + column + rng.integers(2)) % 2
    elif cfg.choice == "balanced":
        frequency = truth.counts() / max(int(valid.sum()), 1)
        counts = np.bincount(
            cells[valid] * truth.num_classes + truth.labels[valid], minlength=count.size * len(frequency)
        )
        rarest = np.where(counts.reshape(count.size, -1) > 0, frequency, np.inf).min(1)
        key = -np.log(key) * rarest  # draws without replacement, in proportion to 1 / rarest
    order = np.argsort(np.where(count > 0, key, np.inf), kind="stable")
    labelled = np.cumsum(count[order])
    needed = int(np.searchsorted(labelled, cfg.share * labelled[-1])) + 1
    labelled_cells = np.zeros(count.size, bool)
    labelled_cells[order[:needed]] = cfg.share > 0
    partial = np.where(labelled_cells[cells], truth.labels, np.uint8(IGNORE_INDEX))
    return WeakLabels(truth.id, truth.size, truth.num_classes, partial=partial)
