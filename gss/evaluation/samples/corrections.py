"""Corrections: cells of the truth given one after the other where the mask is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from gss.core.records import Record
from gss.evaluation.samples.protocol import SampleProtocol
from gss.labels.space import IGNORE_INDEX
from gss.metrics import SegmentationMetrics
from gss.metrics.base import CountMetric
from gss.pipeline.pipeline import GSSPipeline

_EIGHT = np.ones((3, 3), bool)
TARGETS = (0.85, 0.9)
"""mIoU of an image that corrections are counted to."""


@dataclass(frozen=True)
class CorrectionsResult(Record):
    """Corrections of all images; None where nothing was wrong.

    Attributes:
        miou: mIoU after 0, 1, 2, ... corrections of each image.
        paste_miou: the same where a correction changes its own cell only.
        leverage: wrong pixels that corrections fixed, per wrong pixel of the corrected cells; 1 for pasting.
        broken: share of the right pixels that a correction breaks, mean over corrections.
        clicks: mean number of corrections until the mIoU of an image reaches 85 % and 90 %; images that never do count
            with the largest number.
        images: number of images.
        corrections: largest number of corrections of an image.
    """

    miou: list[float | None]
    paste_miou: list[float | None]
    leverage: float | None
    broken: float | None
    clicks: dict[str, float | None]
    images: int
    corrections: int


def next_cell(mask: np.ndarray, labels: np.ndarray, stride: int) -> tuple[slice, slice] | None:
    """Return the cell that a user would correct next; None where nothing is wrong.

    It is the cell of the pixel deepest inside the largest 8-connected region of wrong pixels.

    Args:
        mask: labels `[H, W]`.
        labels: true labels `[H, W]`, 255 where void.
        stride: pixels per cell side.
    """
    wrong = (mask != labels) & (labels != IGNORE_INDEX)
    parts, count = ndimage.label(wrong, _EIGHT)
    if not count:
        return None
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1
    # Padded: beyond the border nothing is wrong.
    depth = ndimage.distance_transform_edt(np.pad(parts == largest, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    top, left = int(row) // stride * stride, int(column) // stride * stride
    return slice(top, top + stride), slice(left, left + stride)


class CorrectionCounts(CountMetric):
    """Counts of corrected images.

    Args:
        pipeline: pipeline with a joint prior.
        num_classes: K.
        protocol: number of corrections, paths, steps.

    Attributes:
        sums: int64 `[6]`: images, corrections, fixed pixels, wrong pixels of corrected cells, then the clicks to each
            target.
        broken: int64 `[1]`, shares of broken pixels in units of 2^-32.
    """

    sums: Tensor
    broken: Tensor

    def __init__(self, pipeline: GSSPipeline, num_classes: int, protocol: SampleProtocol) -> None:
        super().__init__({}, {})
        self.pipeline, self.num_classes, self.protocol = pipeline, num_classes, protocol
        count = protocol.corrections + 1
        self.curves = {name: [SegmentationMetrics(num_classes) for _ in range(count)] for name in ("joint", "paste")}
        self.add_counts("sums", 4 + len(TARGETS))
        self.add_counts("broken", 1)

    def update(self, index: int, image: Image.Image, labels: np.ndarray) -> None:
        """Correct one image step by step."""
        stride = self.pipeline.prior.config.token_stride
        given = np.full(labels.shape, IGNORE_INDEX, np.uint8)
        valid = labels != IGNORE_INDEX
        mask = self._complete(index, image, given)
        paste = mask.copy()
        clicks = [self.protocol.corrections] * len(TARGETS)
        counts = np.zeros(3, np.int64)  # corrections, fixed, wrong in the cell
        for number in range(self.protocol.corrections + 1):
            # 1. Quality so far.
            self.curves["joint"][number].update(mask, labels)
            self.curves["paste"][number].update(paste, labels)
            quality = self._quality(mask, labels)
            clicks = [
                min(found, number) if quality >= target else found
                for found, target in zip(clicks, TARGETS, strict=True)
            ]
            if number == self.protocol.corrections:
                break

            # 2. The next cell of the mask, and of the one that is only pasted.
            other = next_cell(paste, labels, stride)
            if other is not None:
                paste[other] = np.where(valid[other], labels[other], paste[other])
            cell = next_cell(mask, labels, stride)
            if cell is None:
                continue
            given[cell] = labels[cell]
            before = (mask != labels) & valid
            mask = self._complete(index, image, given)
            after = (mask != labels) & valid
            counts += [1, int((before & ~after).sum()), int(before[cell].sum())]
            broken = int((after & ~before).sum()) / max(1, int((valid & ~before).sum()))
            self.broken += round(broken * 2**32)
        self.sums += torch.tensor([1, *counts.tolist(), *clicks])

    def _complete(self, index: int, image: Image.Image, given: np.ndarray) -> np.ndarray:
        output = self.pipeline.complete(
            [image],
            [given],
            n=self.protocol.completion_paths,
            steps=self.protocol.steps,
            generator=[self.protocol.generator(5, index)],
        )
        return np.array(output.masks[0])

    def _quality(self, mask: np.ndarray, labels: np.ndarray) -> float:
        single = SegmentationMetrics(self.num_classes, sync_on_compute=False)
        single.update(mask, labels)
        return single.compute()["miou"] or 0.0

    def compute(self) -> CorrectionsResult:
        """Divide the counts of all processes."""
        for metric in (metric for curve in self.curves.values() for metric in curve):
            metric.sum_across()
        images, corrections, fixed, wrong, *clicks = self.sums.tolist()
        curves = {name: [metric.compute()["miou"] for metric in curve] for name, curve in self.curves.items()}
        return CorrectionsResult(
            miou=curves["joint"],
            paste_miou=curves["paste"],
            leverage=fixed / wrong if wrong else None,
            broken=int(self.broken) / 2**32 / corrections if corrections else None,
            clicks={
                f"{target:.0%}": count / images if images else None
                for target, count in zip(TARGETS, clicks, strict=True)
            },
            images=images,
            corrections=self.protocol.corrections,
        )
