"""Metrics of a data set of several domains: those of each domain, their mean and harmonic mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from gss.metrics.base import CountMetric
from gss.metrics.segmentation import SegmentationMetrics


class DomainMetrics(CountMetric):
    """Segmentation metrics of each domain of a data set; nothing for a plain data set.

    Means go over the classes that a domain annotates: where poles are not annotated, a predicted pole is an error of
    the class that stands there, not a class with an IoU of 0.

    Args:
        dataset: `LabelledImages`; of its attributes `domains` and `annotated` are read, see
            `gss.data.domains.DomainDataset`.
        num_classes: K.
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        confusion: int64 `[domains, K, K]`; like `boundary_counts` and `confidence_counts`, the states of
            `SegmentationMetrics` by domain.
    """

    def __init__(self, dataset: Any, num_classes: int, **options: Any) -> None:
        domains: dict[str, range] = getattr(dataset, "domains", {})
        super().__init__({"domains": domains, "num_classes": num_classes}, options)
        self._domains, self._num_classes = domains, num_classes
        self._annotated = getattr(dataset, "annotated", {})
        for name, state in SegmentationMetrics(num_classes).counts().items():
            self.add_counts(name, len(domains), *state.shape)

    def update(self, index: int, prediction: Tensor | np.ndarray, target: Tensor | np.ndarray) -> None:
        """Count one image; see `SegmentationMetrics.update`.

        Args:
            index: position of the image in the data set.
            prediction: label map `[H, W]` or class probabilities `[K, H, W]`.
            target: true labels `[H, W]`.
        """
        if self._domains:
            single = SegmentationMetrics(self._num_classes)
            single.update(prediction, target)
            self.add(index, single)

    def add(self, index: int, counts: SegmentationMetrics) -> None:
        """Add what was counted on the image at a position of the data set."""
        for row, positions in enumerate(self._domains.values()):
            if index in positions:
                for name, state in counts.counts().items():
                    getattr(self, name)[row] += state.to(self.device)

    def compute(self) -> dict[str, dict[str, Any]]:
        """Return `SegmentationMetrics.compute` by domain."""
        metrics = {}
        for row, domain in enumerate(self._domains):
            single = SegmentationMetrics(self._num_classes, sync_on_compute=False)
            for name in single.counts():
                setattr(single, name, getattr(self, name)[row])
            metrics[domain] = single.compute(self._annotated[domain])
        return metrics


def domain_figures(name: str, domains: Mapping[str, Mapping[str, Any]], key: str) -> dict[str, float]:
    """Return one metric of every domain as flat values for a log.

    Args:
        name: name of the metric in the log.
        domains: domain to its metrics.
        key: metric to take; domains where it is None are left out.

    Returns:
        `NAME/DOMAIN` for each, `NAME/mean` and `NAME/harmonic_mean` (0 as soon as one domain has 0); empty without
        domains.
    """
    values = {domain: float(metrics[key]) for domain, metrics in domains.items() if metrics[key] is not None}
    if not values:
        return {}
    positive = min(values.values()) > 0
    return {
        **{f"{name}/{domain}": value for domain, value in values.items()},
        f"{name}/mean": sum(values.values()) / len(values),
        f"{name}/harmonic_mean": len(values) / sum(1 / v for v in values.values()) if positive else 0.0,
    }
