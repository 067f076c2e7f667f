"""Open-set segmentation: mIoU of a classifier that may also reject a pixel as an anomaly.

The open mIoU of DenseHybrid (Grcić et al., ECCV 2022): pixels with a score at or above a threshold form one
class of their own; the mean goes over the known classes only. A known pixel that is rejected counts as missed,
an anomaly that is accepted as class c counts as a false positive of c. The threshold must come from other
images than those measured: `OODMetrics.ranking().threshold(0.95)` on another split.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX
from gss.metrics.targets import as_numpy


@dataclass(frozen=True)
class OpenSetResult:
    """Figures of `open_miou`; `None` for what occurs neither in the truth nor in the prediction.

    Args:
        open_miou: mean IoU of the known classes with rejection.
        closed_miou: the same without, over the pixels of known classes.
        gap: closed minus open, what anomalies and false rejections cost.
        open_iou, closed_iou: by known class.
        anomaly_iou: IoU of the rejected pixels with the anomalies; in no mean.
        rejected: share of the counted pixels that was rejected.
    """

    open_miou: float | None
    closed_miou: float | None
    gap: float | None
    open_iou: tuple[float | None, ...]
    closed_iou: tuple[float | None, ...]
    anomaly_iou: float | None
    rejected: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def open_set_counts(
    prediction: Tensor | np.ndarray,
    scores: Tensor | np.ndarray,
    target: Tensor | np.ndarray,
    *,
    threshold: float,
    num_classes: int,
    strict: bool = False,
) -> Tensor:
    """Confusion of one image or batch; the counts of several, or of several processes, add up.

    Args:
        prediction: labels 0..K-1 of the closed-set classifier, any shape.
        scores: outlier scores of the same shape, higher = more out-of-distribution.
        target: true labels of the same shape: 0..K-1, K for anomalies, 255 for void.
        threshold: a pixel is rejected where `scores >= threshold`.
        num_classes: K, 1 to 254.
        strict: reject where `scores > threshold` instead, as published code does.

    Returns:
        int64 `[2, K + 1, K]`: accepted or rejected, truth, prediction.

    Raises:
        ValueError: shapes differ, labels out of range, or a NaN among scores or threshold.
    """
    if not 1 <= num_classes < IGNORE_INDEX:
        raise InputError(f"num_classes is {num_classes}; it must be 1 to {IGNORE_INDEX - 1}: anomalies need a label")
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
    """Open and closed mIoU from `open_set_counts`.

    Args:
        counts: `[2, K + 1, K]`.
        absent: a known class that occurs neither in the truth nor in the prediction is left out of the mean
            (`skip`) or counts as 0 (`zero`, the variant of the ISSU benchmark).

    Raises:
        ValueError: another shape, or an unknown word for `absent`.
    """
    table = as_numpy(counts)
    if table.ndim != 3 or table.shape[0] != 2 or table.shape[1] != table.shape[2] + 1:
        raise InputError(f"counts has shape {list(table.shape)}, expected [2, K + 1, K] as open_set_counts returns")
    if absent not in ("skip", "zero"):
        raise InputError(f"absent is {absent!r}; it must be skip or zero")
    known = table.shape[2]
    accepted, rejected = table
    closed = table.sum(axis=0)[:known]
    open_iou = _iou(accepted.diagonal(), table.sum(axis=(0, 2))[:known], accepted.sum(axis=0))
    closed_iou = _iou(closed.diagonal(), closed.sum(axis=1), closed.sum(axis=0))
    hits = rejected[known].sum()
    (anomaly,) = _iou(np.array([hits]), np.array([table[:, known].sum()]), np.array([rejected.sum()]))
    means = [_mean(iou, absent) for iou in (open_iou, closed_iou)]
    return OpenSetResult(
        open_miou=means[0],
        closed_miou=means[1],
        gap=None if means[0] is None or means[1] is None else means[1] - means[0],
        open_iou=open_iou,
        closed_iou=closed_iou,
        anomaly_iou=anomaly,
        rejected=float(rejected.sum() / table.sum()) if table.sum() else None,
    )


def _iou(hits: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> tuple[float | None, ...]:
    union = true + predicted - hits
    return tuple(float(h / u) if u else None for h, u in zip(hits, union, strict=True))


def _mean(iou: tuple[float | None, ...], absent: str) -> float | None:
    present = [value for value in iou if value is not None]
    if not present:
        return None
    return sum(present) / (len(present) if absent == "skip" else len(iou))
