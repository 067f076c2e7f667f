"""Open-set mIoU against plain masks, and what is refused."""

import json
import math

import numpy as np
import pytest
import torch
from metric_checks import MetricChecks

from gss.metrics.open_set import OpenSetMetrics, open_miou, open_set_counts

VOID = 255


def naive_open_miou(prediction, scores, target, threshold, k):
    decided = np.where(scores >= threshold, k, prediction)
    valid, known = target != VOID, target < k

    def iou(c, decision, where):
        union = where & ((decision == c) | (target == c))
        return (where & (decision == c) & (target == c)).sum() / union.sum() if union.any() else None

    return (
        [iou(c, decided, valid) for c in range(k)],
        [iou(c, prediction, valid & known) for c in range(k)],
        iou(k, decided, valid),
    )


def test_open_miou_against_masks():
    rng = np.random.default_rng(0)
    k, shape = 4, (3, 20, 31)
    target = rng.choice([0, 1, 2, 4, VOID], size=shape, p=[0.4, 0.2, 0.2, 0.1, 0.1])
    prediction = np.where(rng.random(shape) < 0.7, target.clip(max=2), rng.integers(0, 3, shape))  # 3 never occurs
    scores = rng.normal(size=shape).round(1) + 2 * (target == 4)
    counts = sum(
        open_set_counts(p, torch.from_numpy(s), t, threshold=1.0, num_classes=k)
        for p, s, t in zip(prediction, scores, target, strict=True)
    )
    result = open_miou(counts)
    opened, closed, anomaly = naive_open_miou(prediction, scores, target, 1.0, k)
    assert result.open_iou == pytest.approx(opened) and result.closed_iou == pytest.approx(closed)
    assert result.open_iou[3] is None
    assert result.anomaly_iou == pytest.approx(anomaly)
    assert result.open_miou == pytest.approx(np.mean(opened[:3]))
    assert result.gap == pytest.approx(np.mean(closed[:3]) - np.mean(opened[:3])) and result.gap > 0
    assert open_miou(counts, absent="zero").open_miou == pytest.approx(result.open_miou * 3 / 4)
    strict = open_set_counts(prediction, scores, target, threshold=1.0, num_classes=k, strict=True)
    assert int(strict[1].sum()) == ((scores > 1) & (target != VOID)).sum() < int(counts[1].sum())
    json.dumps(result.to_json())


def test_open_miou_refuses_and_is_undefined():
    ones = np.ones((2, 2), int)
    result = open_miou(open_set_counts(ones, ones * 1.0, ones * VOID, threshold=0, num_classes=3))
    assert result.open_miou is result.gap is result.anomaly_iou is result.rejected is None
    for kwargs, message in (
        ({"num_classes": 255}, "num_classes is 255"),
        ({"num_classes": 1}, "prediction holds labels 1..1, allowed are 0..0"),
        ({"num_classes": 3, "threshold": math.nan}, "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            open_set_counts(ones, ones * 1.0, ones, **{"threshold": 0, **kwargs})
    with pytest.raises(ValueError, match="target holds labels 5..5, allowed are 0..3"):
        open_set_counts(ones, ones * 1.0, ones * 5, threshold=0, num_classes=3)
    with pytest.raises(ValueError, match="shapes"):
        open_set_counts(ones, ones[:1] * 1.0, ones, threshold=0, num_classes=3)
    with pytest.raises(ValueError, match="expected"):
        open_miou(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="absent"):
        open_miou(np.zeros((2, 4, 3), int), absent="drop")


class TestOpenSet(MetricChecks):
    def make(self, **options):
        return OpenSetMetrics(4, 1.0, **options)

    def other(self):
        return OpenSetMetrics(4, 99.0)

    def batches(self):
        rng = np.random.default_rng(1)
        shape = (2, 7, 11)
        return [
            (rng.integers(0, 3, shape), rng.normal(size=shape), rng.choice([0, 1, 2, 4, VOID], size=shape))
            for _ in range(3)
        ]

    def reference(self, batches):
        opened, closed, anomaly = naive_open_miou(*(np.concatenate(p) for p in zip(*batches, strict=True)), 1.0, 4)
        return {"open": np.mean(opened[:3]), "closed": np.mean(closed[:3]), "anomaly": anomaly}

    def figures(self, result):
        return {"open": result.open_miou, "closed": result.closed_miou, "anomaly": result.anomaly_iou}

    def test_absent_classes_may_count_as_zero(self):
        zero = OpenSetMetrics(4, 1.0, absent="zero")
        for batch in self.batches():
            zero.update(*batch)
        assert zero.compute().open_miou == pytest.approx(self.fed(self.batches()).compute().open_miou * 3 / 4)
