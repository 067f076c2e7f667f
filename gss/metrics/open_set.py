"""Open-set segmentation: mIoU of a classifier that may also reject a pixel as an anomaly.

The open mIoU of DenseHybrid (Grcić et al., ECCV 2022): pixels with a score at or above a threshold form one
class of their own; the mean goes over the known classes only. A known pixel that is rejected counts as missed,
an anomaly that is accepted as class c counts as a false positive of c. The threshold must come from other
images than those measured: `OODMetrics.ranking().threshold(0.95)` on another split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import InputError, quoted
from gss.core.records import Record
from gss.labels.space import IGNORE_INDEX
from gss.metrics.base import CountMetric
from gss.metrics.means import iou, mean
from gss.metrics.targets import as_numpy


@dataclass(frozen=True)
class OpenSetResult(Record):
    """Open-set metrics, shares in 0..1; None for what occurs neither in the truth nor in the prediction.

    Args:
        open_miou: mean IoU of the known classes with rejection.
        closed_miou: mean IoU without rejection, over the pixels of known classes.
        gap: closed minus open, the cost of anomalies and false rejections.
        open_iou: IoU with rejection by known class.
        closed_iou: IoU without rejection by known class.
        anomaly_iou: IoU of the rejected pixels with the anomalies; not part of a mean.
        rejected: share of the counted pixels that was rejected.
    """

    open_miou: float | None
    closed_miou: float | None
    gap: float | None
    open_iou: tuple[float | None, ...]
    closed_iou: tuple[float | None, ...]
    anomaly_iou: float | None
    rejected: float | None


class OpenSetMetrics(CountMetric):
    """Open-set metrics of a classifier that rejects pixels from a threshold on.

    Args:
        num_classes: K, 1 to 254.
        threshold: score from which on a pixel is rejected: `scores >= threshold`.
        strict: reject where `scores > threshold` instead, as published code does.
        absent: how a known class counts that occurs neither in the truth nor in the prediction, see `open_miou`.
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        open_counts: pixels, int64 `[2, K + 1, K]`, see `open_set_counts`.

    Raises:
        ValueError: an argument is out of range.
    """

    higher_is_better = True
    open_counts: Tensor

    def __init__(
        self, num_classes: int, threshold: float, *, strict: bool = False, absent: str = "skip", **options: Any
    ) -> None:
        _check_classes(num_classes)
        _check_absent(absent)
        settings = {"num_classes": num_classes, "threshold": threshold, "strict": strict, "absent": absent}
        super().__init__(settings, options)
        self.num_classes, self.threshold, self.strict, self.absent = num_classes, threshold, strict, absent
        self.add_counts("open_counts", 2, num_classes + 1, num_classes)

    def update(self, prediction: Tensor | np.ndarray, scores: Tensor | np.ndarray, target: Tensor | np.ndarray) -> None:
        """Count one image or one batch; arguments and errors as of `open_set_counts`."""
        options: dict[str, Any] = {"threshold": self.threshold, "num_classes": self.num_classes, "strict": self.strict}
        self.open_counts += open_set_counts(prediction, scores, target, **options).to(self.device)

    def compute(self) -> OpenSetResult:
        """Divide the counts."""
        return open_miou(self.open_counts, absent=self.absent)


def open_set_counts(
    prediction: Tensor | np.ndarray,
    scores: Tensor | np.ndarray,
    target: Tensor | np.ndarray,
    *,
    threshold: float,
    num_classes: int,
    strict: bool = False,
) -> Tensor:
    """Return the confusion of one image or batch; the counts of several, or of several processes, add up.

    Args:
        prediction: labels 0..K-1 of the closed-set classifier, any shape.
        scores: outlier scores of the same shape, higher = more out-of-distribution.
        target: true labels of the same shape: 0..K-1, K for anomalies, 255 for void.
        threshold: score from which on a pixel is rejected: `scores >= threshold`.
        num_classes: K, 1 to 254.
        strict: reject where `scores > threshold` instead, as published code does.

    Returns:
        int64 `[2, K + 1, K]`: accepted or rejected, truth, prediction.

    Raises:
        ValueError: shapes differ, labels out of range, or a NaN among scores or threshold.
    """
    _check_classes(num_classes)
    labels, values, truth = (as_numpy(array) for array in (prediction, scores, target))
    if not labels.shape == values.shape == truth.shape:
        raise InputError(
            f"prediction, scores and target have shapes {list(labels.shape)}, {list(values.shape)} and "
            f"{list(truth.shape)}; bring them to the size of the labels"
        )
    valid = truth != IGNORE_INDEX
    labels, values, truth = labels[valid].astype(np.int64), values[valid], truth[valid].astype(np.int64)
    for name, array, last in (("prediction", labels, num_classes - 1), ("target", truth, num_classes)):
        if array.size and not 0 <= array.min() <= array.max() <= last:
            raise InputError(f"{name} holds labels {array.min()}..{array.max()}, allowed are 0..{last}")
    if np.isnan(values).any() or np.isnan(threshold):
        raise InputError(f"scores hold {int(np.isnan(values).sum())} NaN and threshold is {threshold}; neither ranks")
    rejected = values > threshold if strict else values >= threshold
    slots = (rejected * (num_classes + 1) + truth) * num_classes + labels
    shape = (2, num_classes + 1, num_classes)
    return torch.from_numpy(np.bincount(slots, minlength=int(np.prod(shape))).reshape(shape))


def open_miou(counts: Tensor | np.ndarray, *, absent: str = "skip") -> OpenSetResult:
    """Return open and closed mIoU from `open_set_counts`.

    Args:
        counts: int64 `[2, K + 1, K]`.
        absent: "skip" leaves a known class that occurs neither in the truth nor in the prediction out of the mean,
            "zero" counts it as 0 (the variant of the ISSU benchmark).

    Raises:
        ValueError: another shape, or another value of `absent`.
    """
    _check_absent(absent)
    table = as_numpy(counts)
    if table.ndim != 3 or table.shape[0] != 2 or table.shape[1] != table.shape[2] + 1:
        raise InputError(f"counts has shape {list(table.shape)}, expected [2, K + 1, K] as open_set_counts returns")
    known = table.shape[2]
    accepted, rejected = table
    closed = table.sum(axis=0)[:known]
    open_iou = iou(accepted.diagonal(), table.sum(axis=(0, 2))[:known], accepted.sum(axis=0))
    closed_iou = iou(closed.diagonal(), closed.sum(axis=1), closed.sum(axis=0))
    anomalies = [np.array([pixels]) for pixels in (rejected[known].sum(), table[:, known].sum(), rejected.sum())]
    means = [_mean(values, absent) for values in (open_iou, closed_iou)]
    return OpenSetResult(
        open_miou=means[0],
        closed_miou=means[1],
        gap=None if means[0] is None or means[1] is None else means[1] - means[0],
        open_iou=tuple(open_iou),
        closed_iou=tuple(closed_iou),
        anomaly_iou=iou(*anomalies)[0],
        rejected=float(rejected.sum() / table.sum()) if table.sum() else None,
    )


def _mean(values: list[float | None], absent: str) -> float | None:
    if absent == "zero" and any(value is not None for value in values):
        return mean(value or 0.0 for value in values)
    return mean(values)


def _check_classes(num_classes: int) -> None:
    if not 1 <= num_classes < IGNORE_INDEX:
        raise InputError(f"num_classes is {num_classes}; it must be 1 to {IGNORE_INDEX - 1}: anomalies need a label")


def _check_absent(absent: str) -> None:
    if absent not in ("skip", "zero"):
        raise InputError(f"absent is {quoted(absent)}; it must be skip or zero")
