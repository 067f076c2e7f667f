"""Counting pixels by label."""

from __future__ import annotations

import numpy as np

from gss.labels.space import IGNORE_INDEX


def count_labels(labels: np.ndarray) -> np.ndarray:
    """Return the pixels of each label of a uint8 map of any shape, int64 `[256]`; the last number is that of void."""
    return np.bincount(labels.ravel(), minlength=IGNORE_INDEX + 1)
