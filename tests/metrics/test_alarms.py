"""The threshold of false alarms and the rate at it, against NumPy."""

import numpy as np
import pytest
from metric_checks import MetricChecks, score_batches

from gss.metrics.alarms import AlarmRate, AlarmThreshold


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (50.0, -200.0), (1e-3, 0.0)])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_threshold_is_the_quantile(scale, offset, share):
    rng = np.random.default_rng(1)
    maps = (rng.normal(size=(3, 40, 50)) * scale + offset).astype(np.float32)
    labels = np.where(rng.random(maps.shape) < 0.1, 255, 3).astype(np.uint8)
    found = AlarmThreshold()
    for map, truth in zip(maps, labels, strict=True):
        found.update(map, truth)
    threshold = found.threshold(share)
    values = maps[labels != 255]
    assert np.mean(values >= threshold) == found.rate(threshold)
    assert share - 0.005 < found.rate(threshold) <= share
    rate = AlarmRate(threshold)
    rate.update(maps[0], labels[0])
    assert rate.compute() == np.mean(maps[0][labels[0] != 255] >= threshold)


def test_threshold_of_ties_and_nothing():
    found = AlarmThreshold()
    with pytest.raises(ValueError, match="no labelled pixel"):
        found.threshold(0.05)
    assert found.rate(0.0) is found.compute() is AlarmRate(0.0).compute() is None
    found.update(np.ones((4, 5), np.float32), np.zeros((4, 5), np.uint8))
    assert found.threshold(0.05) == np.inf and found.rate(np.inf) == 0
    with pytest.raises(ValueError, match="share of false alarms is 0"):
        found.threshold(0)
    with pytest.raises(ValueError, match="1 NaN of 2"):
        found.update(np.array([[1, np.nan, np.nan]], np.float32), np.array([[0, 0, 255]]))
    with pytest.raises(ValueError, match="must be equal"):
        AlarmRate(0.0).update(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.uint8))


class TestAlarmThreshold(MetricChecks):
    tolerance = 1

    def make(self, **options):
        return AlarmThreshold(0.1, **options)

    def other(self):
        return AlarmThreshold(0.2)

    def batches(self):
        return score_batches()

    def reference(self, batches):
        """Return the score above the tenth of the pixels, which lie whole numbers apart."""
        scores = np.sort(np.concatenate([scores[truth != 255] for scores, truth in batches]))[::-1]
        return scores[int(0.1 * len(scores)) - 1]


class TestAlarmRate(MetricChecks):
    def make(self, **options):
        return AlarmRate(100.0, **options)

    def other(self):
        return AlarmRate(1e9)

    def batches(self):
        return score_batches()

    def reference(self, batches):
        return np.mean(np.concatenate([scores[truth != 255] for scores, truth in batches]) >= 100.0)
