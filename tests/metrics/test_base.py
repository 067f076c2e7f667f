"""Metrics in real processes: with and without the knowledge of accelerate."""

import json

import metric_processes
import numpy as np
import pytest
from metric_processes import feed, results
from processes import launch

from gss.metrics import SegmentationMetrics


@pytest.mark.parametrize("kind", ["accelerate", "plain"])
def test_processes_equal_one_run(kind, tmp_path):
    launch(2, [metric_processes.__file__, kind, str(tmp_path)])
    expected = results(feed(0, 1))
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == expected


def test_metrics_of_another_class_or_setting_do_not_merge():
    with pytest.raises(ValueError, match=r"'num_classes': 4.*'num_classes': 3"):
        SegmentationMetrics(3).merge(SegmentationMetrics(4))


def test_arguments_of_torchmetrics_are_known():
    metrics = SegmentationMetrics(3, sync_on_compute=False)
    metrics.update(np.zeros((2, 3), int), np.zeros((2, 3), int))
    assert metrics.compute()["miou"] == 1
    with pytest.raises(ValueError, match="Unexpected keyword"):
        SegmentationMetrics(3, colour="red")
