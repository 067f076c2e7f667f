"""Seeds at all thresholds against counting at one of them."""

import numpy as np
import pytest
from metric_checks import MetricChecks

from gss.weak.tags.seed_curve import SeedCurve, best, precision_at

LABELS, BACKGROUND = 4, 1


class TestSeedCurve(MetricChecks):
    def make(self, **options):
        return SeedCurve(LABELS, BACKGROUND, **options)

    def other(self):
        return SeedCurve(LABELS, None)

    def batches(self):
        rng = np.random.default_rng(0)
        truth = rng.integers(0, LABELS, (3, 9, 11)).astype(np.uint8)
        truth[0, :2] = 255
        labels, scores = rng.choice([0, 2, 3], (3, 9, 11)), rng.integers(0, 101, (3, 9, 11)) / 100
        return list(zip(labels, scores, truth, strict=True))

    def figures(self, result):
        quality = result[39]
        assert quality.threshold == pytest.approx(0.4)
        shares = {(name, k): quality.per_class[name][k] for name in quality.per_class for k in range(LABELS)}
        means = {name: getattr(quality, name) for name in ("precision", "recall", "iou", "miou")}
        return {key: value for key, value in (shares | means).items() if value is not None}

    def reference(self, batches):
        labels, scores, truth = (np.stack(parts) for parts in zip(*batches, strict=True))
        known = truth != 255
        drawn = np.where(scores >= 0.4, labels, BACKGROUND)
        figures, ious = {}, []
        for k in range(LABELS):
            hit, seed, true = (drawn == k) & (truth == k), (drawn == k) & known, truth == k
            ious.append(hit.sum() / (seed | true).sum())
            if k != BACKGROUND:
                figures |= {("precision", k): hit.sum() / seed.sum(), ("recall", k): hit.sum() / true.sum()}
                figures["iou", k] = ious[-1]
        means = {
            name: np.mean([value for key, value in figures.items() if key[0] == name])
            for name in ("precision", "recall", "iou")
        }
        return figures | means | {"miou": np.mean(ious)}


def test_best_threshold_and_precision_at_a_recall():
    checks = TestSeedCurve()
    curve = checks.fed(checks.batches()).compute()
    assert best(curve).miou == max(quality.miou for quality in curve)
    recall = curve[39].recall
    alike = [quality.precision for quality in curve if quality.recall == recall]
    assert precision_at(curve, recall) == pytest.approx(max(alike))


def test_masks_without_any_class_are_refused():
    curve = SeedCurve(3, 0)
    curve.update(np.full((2, 2), 1), np.ones((2, 2)), np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="no pixel of the full masks has one of the classes"):
        curve.compute()
