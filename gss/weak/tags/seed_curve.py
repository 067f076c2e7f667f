"""Precision and recall of the seeds of activation maps, at all thresholds in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX
from gss.metrics.base import CountMetric

BINS = 100


@dataclass(frozen=True)
class SeedQuality:
    """Quality of the seeds at one threshold, as shares in 0..1.

    Attributes:
        threshold: value of the largest map from which on a pixel has a class; the others are background.
        precision: mean over the classes that occur, without the background.
        recall: mean over the same classes.
        iou: mean over the same classes.
        miou: mean IoU over the same classes and the background, if there is one.
        per_class: `precision`, `recall` and `iou` of every class by its label; None where undefined.
    """

    threshold: float
    precision: float
    recall: float
    iou: float
    miou: float
    per_class: dict[str, list[float | None]]


class SeedCurve(CountMetric):
    """Counts for all thresholds in one pass over the images.

    Args:
        num_labels: L.
        background: label of pixels without a class; None if the classes have no background.
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        pixels: int64 `[L, L, 101]`, pixels by truth, label of the largest map, and value of that map in percent.
    """

    pixels: Tensor

    def __init__(self, num_labels: int, background: int | None, **options: Any) -> None:
        super().__init__({"num_labels": num_labels, "background": background}, options)
        self.num_labels, self.background = num_labels, background
        self.add_counts("pixels", num_labels, num_labels, BINS + 1)

    def update(self, labels: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> None:
        """Count one image.

        Args:
            labels: `[H, W]`, class of the largest map, never the background.
            scores: `[H, W]` in 0..1, value of that map.
            truth: uint8 `[H, W]`, 255 where void.
        """
        known, L = truth != IGNORE_INDEX, self.num_labels
        level = np.clip(np.floor(scores[known] * BINS + 1e-6), 0, BINS).astype(np.int64)
        place = (truth[known].astype(np.int64) * L + labels[known]) * (BINS + 1) + level
        counts = np.bincount(place, minlength=self.pixels.numel())
        self.pixels += torch.from_numpy(counts).view_as(self.pixels).to(self.device)

    def compute(self) -> list[SeedQuality]:
        """Return the quality at every threshold, from 1 % to 100 %.

        Raises:
            InputError: no pixel of the truth has a class.
        """
        pixels = self.pixels.cpu().numpy()
        total, true = pixels.sum(), pixels.sum((1, 2))
        kept = pixels[..., ::-1].cumsum(-1)[..., ::-1]
        classes = [k for k in range(self.num_labels) if k != self.background and true[k] > 0]
        if not classes:
            raise InputError("no pixel of the full masks has one of the classes: check --truth and --truth-split")
        result = []
        for level in range(1, BINS + 1):
            table = kept[..., level]
            hits, found = table.diagonal().astype(float), table.sum(0).astype(float)
            with np.errstate(invalid="ignore", divide="ignore"):
                precision, recall, iou = hits / found, hits / true, hits / (true + found - hits)
            precision[found == 0] = np.nan
            overlaps = [iou[k] for k in classes]
            if self.background is not None and true[self.background] > 0:
                rest = true[self.background] - table[self.background].sum()
                overlaps.append(rest / (true[self.background] + (total - table.sum()) - rest))
            listed = {
                name: [None if k not in classes or np.isnan(values[k]) else float(values[k]) for k in range(len(true))]
                for name, values in (("precision", precision), ("recall", recall), ("iou", iou))
            }
            # The precision of a class without seeds counts as 0 in the mean.
            mean = {
                name: float(np.nan_to_num(values[classes]).mean())
                for name, values in (("precision", precision), ("recall", recall), ("iou", iou))
            }
            miou = float(np.mean(overlaps))
            result.append(SeedQuality(threshold=level / BINS, miou=miou, per_class=listed, **mean))
        return result


def best(curve: list[SeedQuality]) -> SeedQuality:
    """Return the quality at the threshold of the largest mIoU."""
    return max(curve, key=lambda quality: quality.miou)


def precision_at(curve: list[SeedQuality], recall: float) -> float:
    """Return the mean precision at a mean recall: the highest of thresholds with that recall, linear in between."""
    highest: dict[float, float] = {}
    for quality in curve:
        highest[quality.recall] = max(quality.precision, highest.get(quality.recall, 0.0))
    levels = sorted(highest)
    return float(np.interp(recall, levels, [highest[level] for level in levels]))
