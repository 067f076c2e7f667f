"""How good weak labels or pseudo-masks are against the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX
from gss.metrics.base import CountMetric
from gss.metrics.means import iou, ratios

BINS = 20


class LabelQuality(CountMetric):
    """Counts of labels, which may abstain, against full masks.

    Pixels whose truth is void never count where truth is given.

    Args:
        num_classes: K.
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        confusion: pixels, int64 `[K + 1, K + 1]`. Rows: truth, K where there is none. Columns: label, K where it
            abstains.
        bins: int64 `[3, 20]` by confidence, of labelled pixels with truth: pixels, correct pixels, and confidences in
            units of 1 / 65535.
        images: int64 `[2]`: images, and those without a labelled pixel.
    """

    confusion: Tensor
    bins: Tensor
    images: Tensor

    def __init__(self, num_classes: int, **options: Any) -> None:
        super().__init__({"num_classes": num_classes}, options)
        self.num_classes = num_classes
        self.add_counts("confusion", num_classes + 1, num_classes + 1)
        self.add_counts("bins", 3, BINS)
        self.add_counts("images", 2)

    def update(self, labels: np.ndarray, confidence: np.ndarray | None, truth: np.ndarray | None) -> None:
        """Count one image.

        Args:
            labels: uint8 `[H, W]`, 255 where they abstain.
            confidence: `[H, W]` in 0..1, if there is one.
            truth: uint8 `[H, W]`, 255 where void, if there is one.

        Raises:
            ValueError: the sizes differ.
        """
        K = self.num_classes
        if truth is not None and truth.shape != labels.shape:
            raise InputError(
                f"labels are {labels.shape}, their truth is {truth.shape}: give the data set they were made for"
            )
        known = labels != IGNORE_INDEX
        self.images += torch.tensor([1, int(not known.any())], device=self.device)
        rows = np.full(labels.shape, K) if truth is None else np.minimum(truth, K).astype(np.int64)
        pairs = np.bincount((rows * (K + 1) + np.minimum(labels, K)).ravel(), minlength=(K + 1) ** 2)
        self.confusion += torch.from_numpy(pairs.reshape(K + 1, K + 1)).to(self.device)
        if truth is not None and confidence is not None:
            counted = known & (truth != IGNORE_INDEX)
            units = np.round(confidence[counted] * 65535).astype(np.int64)
            place = np.clip((units * BINS - 1) // 65535, 0, BINS - 1)
            right = (labels == truth)[counted]
            sums = [
                np.bincount(place, minlength=BINS),
                np.bincount(place[right], minlength=BINS),
                np.bincount(place, units, minlength=BINS).round().astype(np.int64),
            ]
            self.bins += torch.from_numpy(np.stack(sums)).to(self.device)

    def compute(self) -> dict[str, Any]:
        """Divide the counts.

        Returns:
            `images`, `unlabelled_images`, `coverage` (share of labelled pixels), `pixels` per class. Where truth was
            given, of pixels with truth: `precision` (labelled pixels that are right), `recall` (pixels that are
            labelled and right), `iou` and `miou` with abstention counted as a miss, all of them also per class (None
            for a class that occurs nowhere). Where confidence was given: `ece`, `reliability`, and `curve`: coverage
            and precision when only labels of at least each confidence are kept.
        """
        K, confusion = self.num_classes, self.confusion.cpu().numpy()
        images, unlabelled = self.images.tolist()
        total = int(confusion.sum())
        result: dict[str, Any] = {
            "images": images,
            "unlabelled_images": unlabelled,
            "coverage": float(confusion[:, :K].sum() / total) if total else None,
            "pixels": confusion[:, :K].sum(0).tolist(),
        }
        valid = confusion[:K]
        if not valid.sum():
            return result
        hits, labelled, true = valid[:, :K].diagonal(), valid[:, :K].sum(0), valid.sum(1)
        by_class, precision, recall = iou(hits, true, labelled), ratios(hits, labelled), ratios(hits, true)
        result |= {
            "precision": float(hits.sum() / labelled.sum()) if labelled.sum() else None,
            "recall": float(hits.sum() / true.sum()),
            "miou": _mean(by_class),
            "iou": by_class,
            "precision_per_class": precision,
            "recall_per_class": recall,
            "mean_precision": _mean(precision),
            "mean_recall": _mean(recall),
        }
        return result | _confidence_figures(self.bins.cpu().numpy(), int(true.sum()))


def _confidence_figures(bins: np.ndarray, true: int) -> dict[str, Any]:
    """Return `ece`, `reliability` and `curve`; nothing without confidence.

    Args:
        bins: int64 `[3, 20]`.
        true: number of pixels with truth.
    """
    pixels, right, units = bins.astype(np.float64)
    if not pixels.sum():
        return {}
    sure = units / 65535
    kept, good = pixels[::-1].cumsum()[::-1], right[::-1].cumsum()[::-1]
    return {
        "ece": float(np.abs(right - sure).sum() / pixels.sum()),
        "reliability": [
            {"confidence": c, "accuracy": a, "pixels": int(n)}
            for c, a, n in zip(ratios(sure, pixels), ratios(right, pixels), pixels, strict=True)
        ],
        "curve": [
            {"confidence": k / BINS, "coverage": float(kept[k] / true), "precision": float(good[k] / kept[k])}
            for k in range(BINS)
            if kept[k]
        ],
    }


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None  # NumPy's order of summation
