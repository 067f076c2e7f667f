"""Dataset-level segmentation metrics: IoU, accuracy, boundary F-measure and calibration error.

Everything is counted over the whole data set and divided once, in `SegmentationMetrics.compute`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.labels.space import IGNORE_INDEX
from gss.metrics.base import CountMetric
from gss.metrics.boundary import boundary_counts, boundary_f
from gss.metrics.calibration import calibration_counts, calibration_figures
from gss.metrics.label_maps import LabelMaps, check_range, read_maps
from gss.metrics.means import iou, mean, ratios


class SegmentationMetrics(CountMetric):
    """Counts of one prediction source against ground truth.

    Pixels whose truth is 255 (void) never count. With the confusion matrix N[truth, prediction]:

    - IoU of class c is N[c, c] / (N[c, :] + N[:, c] - N[c, c]); None for a class that occurs neither in the truth nor
      in the prediction, and such classes stay out of every mean. A class that is predicted but never true has IoU 0.
    - Accuracy is trace / total; mean accuracy is the mean recall over the classes present in the truth;
      frequency-weighted IoU weights IoU by the class's share of true pixels.
    - Boundary F-measure: see `gss.metrics.boundary.BoundaryF`.
    - Expected calibration error: see `gss.metrics.calibration.CalibrationError`; None when only label maps were given.

    Args:
        num_classes: K, 1 to 255.
        boundary_px: tolerance of the boundary F-measure in pixels, 0 to 64.
        ece_bins: number of confidence bins, 1 to 1000.
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        confusion: pixels, int64 `[K, K]`: rows truth, columns prediction.
        boundary_counts: boundary pixels, int64 `[4, K]`, see `gss.metrics.boundary.boundary_counts`.
        confidence_counts: calibration sums, int64 `[3, bins]`, see `gss.metrics.calibration.calibration_counts`.

    Raises:
        ValueError: an argument is out of range.
    """

    confusion: Tensor
    boundary_counts: Tensor
    confidence_counts: Tensor

    def __init__(self, num_classes: int, *, boundary_px: int = 3, ece_bins: int = 15, **options: Any) -> None:
        check_range("num_classes", num_classes, 1, IGNORE_INDEX)
        check_range("boundary_px", boundary_px, 0, 64)
        check_range("ece_bins", ece_bins, 1, 1000)
        settings = {"num_classes": num_classes, "boundary_px": boundary_px, "ece_bins": ece_bins}
        super().__init__(settings, options)
        self.num_classes, self.boundary_px, self.ece_bins = num_classes, boundary_px, ece_bins
        self.add_counts("confusion", num_classes, num_classes)
        self.add_counts("boundary_counts", 4, num_classes)
        self.add_counts("confidence_counts", 3, ece_bins)

    def update(self, prediction: Tensor | np.ndarray, target: Tensor | np.ndarray) -> None:
        """Count one image or one batch.

        Args:
            prediction: label map `[H, W]` or `[B, H, W]` (integers 0..K-1), or class probabilities `[K, H, W]` or
                `[B, K, H, W]` (floating point, 0..1), which also feed the calibration error.
            target: true labels `[H, W]` or `[B, H, W]`, integers 0..K-1 or 255 for void.

        Raises:
            ValueError: shapes do not fit, labels lie outside the label space, or probabilities outside 0..1.
        """
        maps = read_maps(prediction, target, self.num_classes)
        # Probabilities are checked before anything is counted: a refused update leaves the counts as they were.
        if maps.confidence is not None:
            self.confidence_counts += calibration_counts(maps, self.ece_bins).to(self.device)
        self.confusion += confusion_counts(maps, self.num_classes).to(self.device)
        self.boundary_counts += boundary_counts(maps, self.num_classes, self.boundary_px).to(self.device)

    def compute(self, classes: Sequence[int] | None = None) -> dict[str, Any]:
        """Divide the counts.

        Args:
            classes: classes that the unweighted means go over; None takes all.

        Returns:
            `miou`, `accuracy`, `mean_accuracy`, `fwiou`, `boundary_f`, `ece`: floats, None where nothing was there to
            measure. `iou`, `boundary_f_per_class`: lists of K floats or None. `pixels`: counted pixels. `reliability`:
            one dict (`confidence`, `accuracy`, `pixels`) per bin, the first two None when empty.
        """
        confusion = self.confusion.cpu().double()
        hits, true, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
        total = float(confusion.sum())
        by_class = iou(hits, true, predicted)
        boundary = boundary_f(self.boundary_counts)
        calibration = calibration_figures(self.confidence_counts)
        shares = [float(t) / total * v for t, v in zip(true, by_class, strict=True) if v is not None]
        return {
            "miou": mean(_chosen(by_class, classes)),
            "accuracy": float(hits.sum()) / total if total else None,
            "mean_accuracy": mean(_chosen(ratios(hits, true), classes)),
            "fwiou": sum(shares) if shares else None,
            "boundary_f": mean(_chosen(boundary, classes)),
            "ece": calibration["ece"],
            "iou": by_class,
            "boundary_f_per_class": boundary,
            "pixels": int(total),
            "reliability": calibration["reliability"],
        }


def confusion_counts(maps: LabelMaps, num_classes: int) -> Tensor:
    """Return the pixels of a batch, int64 `[K, K]`: rows truth, columns prediction."""
    # Void goes into a row of its own, which is cut off; that is cheaper than picking the valid pixels.
    rows = torch.where(maps.valid, maps.target, num_classes).int()
    pairs = torch.bincount((rows * num_classes + maps.labels).flatten(), minlength=num_classes**2)
    return pairs[: num_classes**2].view(num_classes, num_classes)


def _chosen(values: list[float | None], classes: Sequence[int] | None) -> list[float | None]:
    return values if classes is None else [values[index] for index in classes]
