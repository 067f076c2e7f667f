"""mIoU of the best and of the mean of the first N masks of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.core.records import Record
from gss.labels.space import IGNORE_INDEX
from gss.metrics.base import CountMetric
from gss.metrics.label_maps import check_range, read_maps
from gss.metrics.means import iou, mean
from gss.metrics.segmentation import confusion_counts


@dataclass(frozen=True)
class SeveralResult(Record):
    """mIoU over the whole data set by number of masks N.

    Attributes:
        counts: the numbers N.
        best_of: of the mask of each image, among its first N, whose own mIoU is highest.
        mean_of: of the class of greatest mean probability over the first N.
        images: number of images.
    """

    counts: tuple[int, ...]
    best_of: tuple[float | None, ...]
    mean_of: tuple[float | None, ...]
    images: int


class SeveralMasks(CountMetric):
    """Best-of-N and mean-of-N mIoU.

    Best-of-N rewards noise: compare samplers at equal N only.

    Args:
        num_classes: K.
        counts: numbers of masks N, ascending.
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        images: int64 `[]`.
        best: int64 `[len(counts), K, K]`, pixels of the best masks: rows truth, columns prediction.
        average: int64 of the same shape, of the means.
    """

    higher_is_better = True
    images: Tensor
    best: Tensor
    average: Tensor

    def __init__(self, num_classes: int, counts: Sequence[int] = (1, 4, 16), **options: Any) -> None:
        check_range("num_classes", num_classes, 1, IGNORE_INDEX)
        if not counts or list(counts) != sorted(set(counts)) or counts[0] < 1:
            raise InputError(f"counts is {list(counts)}; give different numbers from 1, ascending")
        super().__init__({"num_classes": num_classes, "counts": tuple(counts)}, options)
        self.num_classes, self.numbers = num_classes, tuple(counts)
        self.add_counts("images")
        self.add_counts("best", len(counts), num_classes, num_classes)
        self.add_counts("average", len(counts), num_classes, num_classes)

    def update(
        self,
        masks: Tensor | np.ndarray,
        means: Sequence[Tensor | np.ndarray],
        target: Tensor | np.ndarray,
    ) -> None:
        """Count one image.

        Args:
            masks: labels `[n, H, W]` with n of at least the largest N.
            means: labels `[H, W]` of the mean over the first N, for each N.
            target: true labels `[H, W]`, 255 for void.

        Raises:
            InputError: shapes or labels do not fit.
        """
        masks = torch.as_tensor(masks)
        if masks.ndim != 3 or len(masks) < self.numbers[-1]:
            raise InputError(f"masks must be at least {self.numbers[-1]} label maps [n, H, W], got {list(masks.shape)}")
        if len(means) != len(self.numbers):
            raise InputError(f"means are {len(means)}; give one for each of N = {', '.join(map(str, self.numbers))}")
        truth = torch.as_tensor(target)
        counts = [self._confusion(mask, truth) for mask in masks[: self.numbers[-1]]]
        averages = [self._confusion(torch.as_tensor(mask), truth) for mask in means]
        quality = [_miou(count) or 0.0 for count in counts]
        for row, number in enumerate(self.numbers):
            self.best[row] += counts[int(np.argmax(quality[:number]))]
            self.average[row] += averages[row]
        self.images += 1

    def _confusion(self, labels: Tensor, truth: Tensor) -> Tensor:
        maps = read_maps(labels, truth.to(labels.device), self.num_classes)
        return confusion_counts(maps, self.num_classes).to(self.device)

    def compute(self) -> SeveralResult:
        """Divide the counts."""
        return SeveralResult(
            self.numbers,
            tuple(_miou(count) for count in self.best),
            tuple(_miou(count) for count in self.average),
            int(self.images),
        )


def _miou(confusion: Tensor) -> float | None:
    counts = confusion.cpu().double()
    return mean(iou(counts.diagonal(), counts.sum(1), counts.sum(0)))
