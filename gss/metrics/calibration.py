"""Calibration of class probabilities: the expected calibration error and the reliability diagram behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.metrics.base import CountMetric
from gss.metrics.label_maps import LabelMaps, check_range, read_maps
from gss.metrics.means import ratios

# Confidences are summed as multiples of 2^-24 (a float32 in [0, 1] holds 24 bits): integer sums do not depend on order.
_BITS = 24
CONFIDENCE_UNIT = 1 << _BITS


class CalibrationError(CountMetric):
    """Expected calibration error (ECE) of the top probability, pixels pooled over the data set.

    The ECE is the sum over `bins` equal bins (a, b] of the share of pixels in the bin, times the difference between
    accuracy and mean confidence there. Pixels whose truth is void (255) do not count.

    Args:
        num_classes: K, 1 to 255.
        bins: number of confidence bins, 1 to 1000.
        options: arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: an argument is out of range.
    """

    higher_is_better = False
    confidence_counts: Tensor

    def __init__(self, num_classes: int, *, bins: int = 15, **options: Any) -> None:
        check_range("num_classes", num_classes, 1, 255)
        check_range("bins", bins, 1, 1000)
        super().__init__({"num_classes": num_classes, "bins": bins}, options)
        self.num_classes, self.bins = num_classes, bins
        self.add_counts("confidence_counts", 3, bins)

    def update(self, prediction: Tensor | np.ndarray, target: Tensor | np.ndarray) -> None:
        """Count one image or one batch.

        Args:
            prediction: class probabilities `[K, H, W]` or `[B, K, H, W]`.
            target: true labels `[H, W]` or `[B, H, W]`, integers 0..K-1 or 255 for void.

        Raises:
            ValueError: label maps instead of probabilities, or as `SegmentationMetrics.update`.
        """
        maps = read_maps(prediction, target, self.num_classes)
        if maps.confidence is None:
            raise InputError("prediction holds labels; the calibration error needs class probabilities")
        self.confidence_counts += calibration_counts(maps, self.bins).to(self.device)

    def compute(self) -> dict[str, Any]:
        """Return `ece` and `reliability` as `SegmentationMetrics.compute` does."""
        return calibration_figures(self.confidence_counts)


def calibration_counts(maps: LabelMaps, bins: int) -> Tensor:
    """Return calibration sums of a batch, int64 `[3, bins]`: pixels, correct pixels, confidence in units of 2^-24.

    Raises:
        ValueError: top probabilities outside 0..1.
    """
    assert maps.confidence is not None
    confidence = maps.confidence.float()
    low, high = (float(v) for v in confidence.aminmax()) if confidence.numel() else (0.0, 0.0)
    # Negated, so that NaN is refused too.
    if not (low >= 0 and high <= 1.001):
        raise InputError(f"prediction holds top probabilities {low:.4g}..{high:.4g}, allowed are 0..1: apply softmax")
    units = (confidence.clamp(max=1) * CONFIDENCE_UNIT).round().long()
    # Bins are (a, b], so that a certain pixel falls into the last one; void goes into an extra one.
    slots = ((units * bins - 1) >> _BITS).clamp(min=0)
    slots = torch.where(maps.valid, slots, bins).flatten()
    correct = (maps.labels == maps.target).flatten()
    by_bin = torch.bincount(2 * slots + correct, minlength=2 * bins + 2).view(-1, 2)
    confidences = units.new_zeros(bins + 1).index_add_(0, slots, units.flatten())
    return torch.stack([by_bin.sum(1), by_bin[:, 1], confidences])[:, :bins]


def calibration_figures(counts: Tensor) -> dict[str, Any]:
    """Return `ece` and `reliability` of the sums `[3, bins]` of `calibration_counts`."""
    pixels, correct, confidence = counts.cpu().double()
    confidence = confidence / CONFIDENCE_UNIT
    return {
        "ece": float((correct - confidence).abs().sum() / pixels.sum()) if pixels.sum() > 0 else None,
        "reliability": [
            {"confidence": c, "accuracy": a, "pixels": int(n)}
            for c, a, n in zip(ratios(confidence, pixels), ratios(correct, pixels), pixels, strict=True)
        ],
    }
