"""Ratios and means of values of which some are missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None; None without any."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def averaged_over(values: Sequence[float | None]) -> str:
    """Return over how many classes a mean goes, such as "1 of 2 classes"; empty if over all.

    Args:
        values: value of each class; None for a class that is not measured.
    """
    measured = sum(value is not None for value in values)
    return "" if measured == len(values) else f"{measured} of {len(values)} classes"


def ratios(part: Tensor | np.ndarray, whole: Tensor | np.ndarray) -> list[float | None]:
    """Return `part / whole` for each entry of two vectors of one length; None where the whole is zero."""
    # Plain numbers: dividing elements of an array or tensor one by one takes twenty times as long.
    return [p / w if w > 0 else None for p, w in zip(part.tolist(), whole.tolist(), strict=True)]


def iou(hits: Tensor | np.ndarray, true: Tensor | np.ndarray, predicted: Tensor | np.ndarray) -> list[float | None]:
    """Return the intersection over union of each class; None for a class that is neither true nor predicted.

    Args:
        hits: pixels that are both, by class.
        true: pixels of the class in the truth, by class.
        predicted: pixels of the class in the prediction, by class.
    """
    return ratios(hits, true + predicted - hits)


def or_nan(value: float | None) -> float:
    """Return a number for a log, where what could not be measured is NaN; JSON gets null for it."""
    return math.nan if value is None else float(value)
