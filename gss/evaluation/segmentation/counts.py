"""Counts of all decode modes over the images of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from gss.core.distributed import gather_objects
from gss.data.protocols import ReadableImages
from gss.evaluation.segmentation.result import ImageMetrics, ModeMetrics
from gss.metrics import SegmentationMetrics
from gss.metrics.domains import DomainMetrics


class SegmentationCounts:
    """Counts of each decode mode: of all images, of each domain, and the metrics of single images.

    Args:
        dataset: images and labels.
        modes: decode modes.
        default_mode: mode of the metrics of single images.
    """

    def __init__(self, dataset: ReadableImages, modes: Sequence[str], default_mode: str) -> None:
        self.dataset, self.default_mode = dataset, default_mode
        self.num_classes = len(dataset.label_space.names)
        self._totals = {mode: SegmentationMetrics(self.num_classes) for mode in modes}
        self._domains = {mode: DomainMetrics(dataset, self.num_classes) for mode in modes}
        self.images: list[tuple[int, ImageMetrics]] = []

    def update(self, index: int, probabilities: Mapping[str, Tensor], labels: np.ndarray) -> None:
        """Count one image.

        Args:
            index: index of the image in the data set.
            probabilities: float32 [K, H, W] by decode mode.
            labels: uint8 [H, W], 255 for void.
        """
        for mode, total in self._totals.items():
            single = SegmentationMetrics(self.num_classes, sync_on_compute=False)
            single.update(probabilities[mode], labels)
            total.merge(single)
            self._domains[mode].add(index, single)
            if mode == self.default_mode:
                metrics = single.compute()
                record = ImageMetrics(self.dataset.ids[index], metrics["miou"], metrics["accuracy"])
                self.images.append((index, record))

    def sum_across(self) -> None:
        """Replace the counts of all images by those of all processes, and gather the single images."""
        for total in self._totals.values():
            total.sum_across()
        gathered = [entry for part in gather_objects(self.images) for entry in part]
        self.images = sorted(gathered, key=lambda entry: entry[0])

    def modes(self) -> dict[str, ModeMetrics]:
        """Return the metrics of all images by decode mode."""
        return {mode: ModeMetrics.from_counts(total.compute()) for mode, total in self._totals.items()}

    def domains(self) -> dict[str, dict[str, ModeMetrics]]:
        """Return metrics by decode mode and domain, over all processes; empty without domains."""
        by_mode = {mode: domains.compute() for mode, domains in self._domains.items()}
        return {
            mode: {name: ModeMetrics.from_counts(metrics) for name, metrics in domains.items()}
            for mode, domains in by_mode.items()
            if domains
        }

    def confusion(self) -> list[list[int]]:
        """Return the pixels of the default mode, [K, K], rows truth, columns prediction."""
        return self._totals[self.default_mode].confusion.tolist()
