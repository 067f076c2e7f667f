"""The threshold of false alarms, against NumPy."""

import numpy as np
import pytest
import torch

from gss.metrics.alarms import AlarmThreshold, count_alarms


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
    counted = count_alarms(torch.from_numpy(maps[0]), labels[0], threshold)
    assert counted == (int((maps[0][labels[0] != 255] >= threshold).sum()), int((labels[0] != 255).sum()))


def test_threshold_of_ties_and_nothing():
    found = AlarmThreshold()
    with pytest.raises(ValueError, match="no labelled pixel"):
        found.threshold(0.05)
    assert found.rate(0.0) is None
    found.update(np.ones((4, 5), np.float32), np.zeros((4, 5), np.uint8))
    assert found.threshold(0.05) == np.inf and found.rate(np.inf) == 0
    with pytest.raises(ValueError, match="share of false alarms is 0"):
        found.threshold(0)
    with pytest.raises(ValueError, match="1 NaN of 2"):
        found.update(np.array([[1, np.nan, np.nan]], np.float32), np.array([[0, 0, 255]]))
    with pytest.raises(ValueError, match="must be equal"):
        count_alarms(torch.zeros(2, 3), np.zeros((3, 2), np.uint8), 0.0)
