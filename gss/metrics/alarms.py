"""False alarms: how often a score calls pixels of known classes unknown, at the threshold that clean images set."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX
from gss.metrics.base import CountMetric
from gss.metrics.ranking import BINS, bin_of, count_scores, score_of_bin


class AlarmThreshold(CountMetric):
    """Distribution of a score over labelled pixels of clean images, and the threshold of a share of them.

    The state is a histogram as in `OODMetrics`: 8 MB for any range of scores and number of pixels. Thresholds are
    edges of bins, so rates at them are exact.

    Args:
        share: share of false alarms that `compute` finds the threshold of, in (0, 1).
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        bins: pixels by bin of the score, int64 `[2^20]`.

    Raises:
        ValueError: share not in (0, 1).
    """

    bins: Tensor

    def __init__(self, share: float = 0.05, **options: Any) -> None:
        _check_share(share)
        super().__init__({"share": share}, options)
        self.share = share
        self.add_counts("bins", BINS)

    def update(self, scores: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> None:
        """Count one image.

        Args:
            scores: float32 `[H, W]`, higher is more out-of-distribution.
            labels: integers `[H, W]`; void (255) does not count.

        Raises:
            ValueError: shapes differ, or a counted score is NaN.
        """
        count_scores(self.bins, _labelled(scores, labels).cpu().numpy())

    def compute(self) -> float | None:
        """Return `threshold` of the share; None without pixels."""
        return self.threshold(self.share) if self.bins.any() else None

    def threshold(self, share: float) -> float:
        """Return the lowest threshold at which at most this share of the pixels is at or above it.

        Heavy ties may leave the share unreached; infinity where even the highest score is too frequent.

        Raises:
            ValueError: share not in (0, 1), or no pixel was counted.
        """
        _check_share(share)
        bins = self.bins.cpu().numpy()
        total = int(bins.sum())
        if total == 0:
            raise InputError("no labelled pixel sets the threshold of alarms; check the split with 'gss data check'")
        used = np.flatnonzero(bins)[::-1]
        fit = int((np.cumsum(bins[used]) <= share * total).sum())
        return float(score_of_bin(used[fit - 1 : fit])[0]) if fit else float("inf")

    def rate(self, threshold: float) -> float | None:
        """Return the share of the pixels at or above a threshold that `threshold` returned; None without pixels."""
        bins = self.bins.cpu().numpy()
        total = int(bins.sum())
        if not total:
            return None
        return float(bins[bin_of(threshold) :].sum() / total)


class AlarmRate(CountMetric):
    """Share of the labelled pixels that raise an alarm.

    Args:
        threshold: score at or above which a pixel raises an alarm.
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        pixels: int64 `[2]`: labelled pixels with an alarm, and all labelled pixels.
    """

    higher_is_better = False
    pixels: Tensor

    def __init__(self, threshold: float, **options: Any) -> None:
        super().__init__({"threshold": threshold}, options)
        self.threshold = threshold
        self.add_counts("pixels", 2)

    def update(self, scores: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> None:
        """Count one image; arguments and errors as of `AlarmThreshold.update`."""
        counted = _labelled(scores, labels)
        alarms = torch.stack([(counted >= self.threshold).sum(), torch.tensor(counted.numel(), device=counted.device)])
        self.pixels += alarms.to(self.device)

    def compute(self) -> float | None:
        """Return the share; None without pixels."""
        alarms, pixels = self.pixels.tolist()
        return alarms / pixels if pixels else None


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise InputError(f"share of false alarms is {share}; it must lie between 0 and 1, such as 0.05")


def _labelled(scores: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> Tensor:
    values, truth = torch.as_tensor(scores), torch.as_tensor(labels)
    if values.shape != truth.shape:
        raise InputError(f"scores have shape {list(values.shape)}, labels {list(truth.shape)}; they must be equal")
    counted = values[(truth != IGNORE_INDEX).to(values.device)].float()
    if counted.isnan().any():
        raise InputError(f"scores hold {int(counted.isnan().sum())} NaN of {counted.numel()}; nothing can compare them")
    return counted
