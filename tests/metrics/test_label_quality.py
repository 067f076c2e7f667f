"""Quality of weak labels by the definitions of its metrics."""

import numpy as np
import pytest
from metric_checks import MetricChecks

from gss.metrics.label_quality import BINS, LabelQuality

K, SIZE = 4, (24, 31)


def sample(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, K - 1, SIZE).astype(np.uint8)  # the last class never occurs
    labels = np.where(rng.random(SIZE) < 0.7, truth, rng.integers(0, K - 1, SIZE)).astype(np.uint8)
    labels[rng.random(SIZE) < 0.3] = 255
    truth[rng.random(SIZE) < 0.1] = 255
    return labels, rng.random(SIZE), truth


def test_figures_are_their_definitions():
    quality, parts = LabelQuality(K), [sample(seed) for seed in range(3)]
    for labels, confidence, truth in parts:
        quality.update(labels, confidence, truth)
    found = quality.compute()
    labels, confidence, truth = (np.concatenate([part[i].ravel() for part in parts]) for i in range(3))
    assert found["coverage"] == pytest.approx((labels != 255).mean())
    valid = truth != 255
    known, right = valid & (labels != 255), valid & (labels == truth)
    assert found["precision"] == pytest.approx(right.sum() / known.sum())
    assert found["recall"] == pytest.approx(right.sum() / valid.sum())
    for k in range(K - 1):
        hits, said, true = ((right & (labels == k)).sum(), (known & (labels == k)).sum(), (truth == k).sum())
        assert found["iou"][k] == pytest.approx(hits / (said + true - hits))
        assert found["precision_per_class"][k] == pytest.approx(hits / said)
        assert found["recall_per_class"][k] == pytest.approx(hits / true)
    assert found["iou"][K - 1] is None
    assert found["miou"] == pytest.approx(np.mean(found["iou"][: K - 1]))
    place = np.ceil(confidence[known] * BINS).clip(1) - 1
    error = sum(abs((right[known] * 1.0 - confidence[known])[place == b].sum()) for b in range(BINS)) / known.sum()
    assert found["ece"] == pytest.approx(error, abs=2e-3)
    half = known & (confidence > 0.5)
    point = next(p for p in found["curve"] if p["confidence"] == 0.5)
    assert point["coverage"] == pytest.approx(half.sum() / valid.sum(), abs=2e-3)
    assert point["precision"] == pytest.approx((right & half).sum() / half.sum(), abs=2e-3)


def test_without_truth_only_coverage():
    quality = LabelQuality(K)
    quality.update(sample(0)[0], None, None)
    quality.update(np.full(SIZE, 255, np.uint8), None, None)
    found = quality.compute()
    assert set(found) == {"images", "unlabelled_images", "coverage", "pixels"}
    assert found["unlabelled_images"] == 1 and sum(found["pixels"]) == (sample(0)[0] != 255).sum()
    quality = LabelQuality(K)
    quality.update(np.full(SIZE, 255, np.uint8), np.zeros(SIZE), np.zeros(SIZE, np.uint8))
    found = quality.compute()
    assert found["precision"] is None and found["recall"] == 0 and found["miou"] == 0 and "ece" not in found


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="give the data set they were made for"):
        LabelQuality(K).update(np.zeros(SIZE, np.uint8), None, np.zeros((3, 3), np.uint8))


class TestLabelQuality(MetricChecks):
    def make(self, **options):
        return LabelQuality(K, **options)

    def other(self):
        return LabelQuality(K + 1)

    def batches(self):
        return [sample(0), (np.full(SIZE, 255, np.uint8), None, None), sample(1)]

    def reference(self, batches):
        labels, _, truth = (np.stack(parts) for parts in zip(batches[0], batches[2], strict=True))
        right, known = (labels == truth) & (truth != 255), (labels != 255) & (truth != 255)
        return {"precision": right.sum() / known.sum(), "recall": right.sum() / (truth != 255).sum()}

    def figures(self, result):
        return {name: result[name] for name in ("precision", "recall")}
