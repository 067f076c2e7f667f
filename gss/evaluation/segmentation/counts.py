"""Counts of all decode modes over the images of a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from gss.core.distributed import gather_objects
from gss.core.lookup.plugins import find_class
from gss.data.protocols import ReadableImages
from gss.evaluation.names import unknown_metric
from gss.evaluation.segmentation.level import difference_errors
from gss.evaluation.segmentation.result import ImageMetrics, ModeMetrics
from gss.metrics import SegmentationMetrics
from gss.metrics.base import CountMetric
from gss.metrics.domains import DomainMetrics


def find_metrics(names: Sequence[str]) -> dict[str, Callable[[int], CountMetric]]:
    """Return the classes of further metrics by `module:Name` or the name of an entry point (docs/extending).

    Raises:
        InputError: a name stands for nothing, or for no `CountMetric`.
    """
    found = {name: find_class(name, "metrics", CountMetric) for name in names}
    for name, metric in found.items():
        if metric is None:
            raise unknown_metric(name)
    return {name: metric for name, metric in found.items() if metric is not None}


class SegmentationCounts:
    """Counts of each decode mode: of all images, of each domain, and the metrics of single images.

    Args:
        dataset: images and labels.
        modes: decode modes.
        default_mode: mode of the metrics of single images.
        extra: further metrics, by `module:Name`; see `find_metrics`.
    """

    def __init__(
        self,
        dataset: ReadableImages,
        modes: Sequence[str],
        default_mode: str,
        extra: Mapping[str, Callable[[int], CountMetric]] | None = None,
    ) -> None:
        self.dataset, self.default_mode = dataset, default_mode
        self.num_classes = len(dataset.label_space.names)
        self._totals = {mode: SegmentationMetrics(self.num_classes) for mode in modes}
        self._domains = {mode: DomainMetrics(dataset, self.num_classes) for mode in modes}
        self._extra = {
            mode: {name: metric(self.num_classes) for name, metric in (extra or {}).items()} for mode in modes
        }
        self.images: list[tuple[int, ImageMetrics]] = []
        self._overlaps: list[tuple[int, np.ndarray]] = []  # index, right pixels and unions [2, modes, K]

    def update(self, index: int, probabilities: Mapping[str, Tensor], labels: np.ndarray) -> None:
        """Count one image.

        Args:
            index: index of the image in the data set.
            probabilities: float32 [K, H, W] by decode mode.
            labels: uint8 [H, W], 255 for void.
        """
        overlaps = []
        for mode, total in self._totals.items():
            single = SegmentationMetrics(self.num_classes, sync_on_compute=False)
            single.update(probabilities[mode], labels)
            total.merge(single)
            confusion = single.confusion.cpu().numpy()
            hits = confusion.diagonal()
            overlaps.append((hits, confusion.sum(0) + confusion.sum(1) - hits))
            self._domains[mode].add(index, single)
            for metric in self._extra[mode].values():
                metric.update(probabilities[mode].argmax(0)[None].cpu(), torch.from_numpy(labels)[None].long())
            if mode == self.default_mode:
                metrics = single.compute()
                record = ImageMetrics(self.dataset.ids[index], metrics["miou"], metrics["accuracy"])
                self.images.append((index, record))
        self._overlaps.append((index, np.stack(overlaps, axis=1)))

    def sum_across(self) -> None:
        """Replace the counts of all images by those of all processes, and gather the single images."""
        for total in self._totals.values():
            total.sum_across()
        for metrics in self._extra.values():
            for metric in metrics.values():
                metric.sum_across()
        gathered = [entry for part in gather_objects(self.images) for entry in part]
        self.images = sorted(gathered, key=lambda entry: entry[0])
        overlaps = [entry for part in gather_objects(self._overlaps) for entry in part]
        self._overlaps = sorted(overlaps, key=lambda entry: entry[0])

    def modes(self) -> dict[str, ModeMetrics]:
        """Return the metrics of all images by decode mode."""
        return {mode: ModeMetrics.from_counts(total.compute()) for mode, total in self._totals.items()}

    def difference_errors(self) -> dict[str, float]:
        """Return the standard error of each mode's difference in mIoU from the best mode; empty for one image."""
        if len(self._overlaps) < 2 or len(self._totals) < 2:
            return {}
        hits, unions = np.stack([overlap for _, overlap in self._overlaps], axis=1)  # [images, modes, K] each
        return dict(zip(self._totals, difference_errors(hits, unions).tolist(), strict=True))

    def extra(self) -> dict[str, dict[str, float | None]]:
        """Return the further metrics by decode mode and name."""
        return {
            mode: {name: metric.compute() for name, metric in metrics.items()}
            for mode, metrics in self._extra.items()
            if metrics
        }

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
