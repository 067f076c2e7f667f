"""Figures of a data set of several domains: each domain's own, their mean and harmonic mean."""

from collections.abc import Mapping
from typing import Any

from gss.metrics.segmentation import SegmentationMetrics


class DomainMetrics:
    """Counts of each domain of a data set, and nothing for a plain data set.

    Means go over the classes that a domain annotates: where it has no poles, a predicted pole is an error of the class
    that stands there, and no class of its own with an IoU of 0.

    Args:
        dataset: `LabelledImages`; of its attributes `domains` and `annotated` are read, see
            `gss.data.domains.DomainDataset`.
        num_classes: K.
    """

    def __init__(self, dataset: Any, num_classes: int) -> None:
        self._domains: dict[str, range] = getattr(dataset, "domains", {})
        self._annotated = getattr(dataset, "annotated", {})
        self._counts = {name: SegmentationMetrics(num_classes) for name in self._domains}

    def merge(self, index: int, counts: SegmentationMetrics) -> None:
        """Add the counts of the image at a position of the data set."""
        for name, positions in self._domains.items():
            if index in positions:
                self._counts[name].merge(counts)

    def compute(self) -> dict[str, dict[str, Any]]:
        """Domain to `SegmentationMetrics.compute()` over all processes; call it on each of them."""
        for metrics in self._counts.values():
            metrics.sum_across()
        return {name: counts.compute(self._annotated[name]) for name, counts in self._counts.items()}


def domain_figures(name: str, domains: Mapping[str, Mapping[str, Any]], key: str) -> dict[str, float]:
    """One figure of every domain as flat values for a log.

    Args:
        name: of the figure in the log.
        domains: domain to its metrics.
        key: figure to take; domains where it is `None` stay out.

    Returns:
        `NAME/DOMAIN` for each, `NAME/mean` and `NAME/harmonic_mean` (0 as soon as one domain has 0); empty without
        domains.
    """
    values = {domain: float(metrics[key]) for domain, metrics in domains.items() if metrics[key] is not None}
    if not values:
        return {}
    found = {f"{name}/{domain}": value for domain, value in values.items()}
    found[f"{name}/mean"] = sum(values.values()) / len(values)
    positive = min(values.values()) > 0
    found[f"{name}/harmonic_mean"] = len(values) / sum(1 / v for v in values.values()) if positive else 0.0
    return found
