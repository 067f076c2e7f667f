"""Metrics of a data set of several domains."""

from types import SimpleNamespace

import numpy as np
import pytest
from metric_checks import MetricChecks, label_batches

from gss.metrics.domains import DomainMetrics, domain_figures
from gss.metrics.segmentation import SegmentationMetrics

# Two domains; in the second, class 2 is not annotated.
DATA = SimpleNamespace(domains={"town": range(2), "coast": range(2, 3)}, annotated={"town": [0, 1, 2], "coast": [0, 1]})


class TestDomains(MetricChecks):
    def make(self, **options):
        return DomainMetrics(DATA, 4, **options)

    def other(self):
        return DomainMetrics(SimpleNamespace(domains={"town": range(3)}, annotated={"town": [0, 1, 2]}), 4)

    def batches(self):
        return [(index, p[0], t[0]) for index, (p, t) in enumerate(label_batches(4, batch=1))]

    def reference(self, batches):
        found = {}
        for name, positions in DATA.domains.items():
            metrics = SegmentationMetrics(4)
            for index, prediction, target in batches:
                if index in positions:
                    metrics.update(prediction, target)
            found[name] = metrics.compute(DATA.annotated[name])["miou"]
        return found

    def figures(self, result):
        return {name: metrics["miou"] for name, metrics in result.items()}


def test_a_plain_data_set_has_no_domains():
    metrics = DomainMetrics(SimpleNamespace(), 3)
    metrics.update(0, np.zeros((2, 3), int), np.zeros((2, 3), int))
    assert metrics.compute() == {}


def test_values_for_a_log():
    domains = {"a": {"miou": 0.5}, "b": {"miou": 0.25}, "c": {"miou": None}}
    found = domain_figures("val", domains, "miou")
    assert found == {"val/a": 0.5, "val/b": 0.25, "val/mean": 0.375, "val/harmonic_mean": pytest.approx(1 / 3)}
    assert domain_figures("val", {"a": {"miou": 0.0}}, "miou")["val/harmonic_mean"] == 0
    assert domain_figures("val", {"c": {"miou": None}}, "miou") == {}
