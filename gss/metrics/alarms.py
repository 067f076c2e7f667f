"""False alarms: how often a score calls pixels of known classes unknown, at the threshold that clean images set."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gss.core.distributed import sum_across
from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX
from gss.metrics.ood import KEY_BITS
from gss.metrics.ranking import keys_of, scores_of


class AlarmThreshold:
    """Streaming distribution of a score over labelled pixels of clean images.

    The state is a histogram of 2^20 bins over an order-preserving integer of the float32 score, as in `OODMetrics`: 8
    MB for any range of scores and number of pixels, and the same for any order of images and any share of them over
    processes. Thresholds are edges of bins, so rates at them are exact.
    """

    def __init__(self) -> None:
        self._bins = np.zeros(1 << KEY_BITS, np.int64)

    def update(self, scores: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> None:
        """Count one image.

        Args:
            scores: float32 `[H, W]`, higher is more out-of-distribution.
            labels: integers `[H, W]`; void (255) does not count.

        Raises:
            ValueError: shapes differ, or a counted score is NaN.
        """
        keys = keys_of(_labelled(scores, labels).cpu().numpy()) >> np.uint32(32 - KEY_BITS)
        self._bins += np.bincount(keys, minlength=1 << KEY_BITS)

    def sum_across(self) -> None:
        """Replace the counts by those of all processes; call once on each before the rest."""
        self._bins = sum_across(torch.from_numpy(self._bins)).numpy()

    def threshold(self, share: float) -> float:
        """Lowest threshold at which at most this share of the pixels is at or above it.

        Heavy ties may leave the share unreached; infinity where even the highest score is too frequent.

        Raises:
            ValueError: share not in (0, 1), or no pixel was counted.
        """
        if not 0 < share < 1:
            raise InputError(f"share of false alarms is {share}; it must lie between 0 and 1, such as 0.05")
        total = int(self._bins.sum())
        if total == 0:
            raise InputError("no labelled pixel sets the threshold of alarms; check the split with 'gss data check'")
        used = np.flatnonzero(self._bins)[::-1]
        fit = int((np.cumsum(self._bins[used]) <= share * total).sum())
        return float(_edge(used[fit - 1])) if fit else float("inf")

    def rate(self, threshold: float) -> float | None:
        """Share of the pixels at or above a threshold that `threshold` returned; None without pixels."""
        total = int(self._bins.sum())
        if not total:
            return None
        key = int(keys_of(np.array([threshold], np.float32))[0])
        return float(self._bins[-(-key >> (32 - KEY_BITS)) :].sum() / total)


def count_alarms(scores: Tensor, labels: Tensor | np.ndarray, threshold: float) -> tuple[int, int]:
    """Labelled pixels `[H, W]` with a score at or above the threshold, and all labelled pixels.

    Raises:
        ValueError: shapes differ, or a counted score is NaN.
    """
    counted = _labelled(scores, labels)
    return int((counted >= threshold).sum()), counted.numel()


def _edge(bin: np.integer) -> np.float32:
    """Lowest score of a bin."""
    return scores_of(np.array([bin], np.uint32) << np.uint32(32 - KEY_BITS))[0]


def _labelled(scores: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> Tensor:
    values, truth = torch.as_tensor(scores), torch.as_tensor(labels)
    if values.shape != truth.shape:
        raise InputError(f"scores have shape {list(values.shape)}, labels {list(truth.shape)}; they must be equal")
    counted = values[(truth != IGNORE_INDEX).to(values.device)].float()
    if counted.isnan().any():
        raise InputError(f"scores hold {int(counted.isnan().sum())} NaN of {counted.numel()}; nothing can compare them")
    return counted
