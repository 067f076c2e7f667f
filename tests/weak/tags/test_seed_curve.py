"""Seeds at all thresholds against counting at one of them."""

import numpy as np
import pytest

from gss.weak.tags.seed_curve import SeedCurve, best, precision_at


def test_curve_against_counting():
    rng = np.random.default_rng(0)
    curve, L = SeedCurve(4, 1), 4
    truth, labels = rng.integers(0, L, (3, 9, 11)).astype(np.uint8), rng.choice([0, 2, 3], (3, 9, 11))
    truth[0, :2] = 255
    scores = rng.integers(0, 101, (3, 9, 11)) / 100
    for picture in zip(labels, scores, truth, strict=True):
        curve.update(*picture)
    quality = curve.compute()[39]
    assert quality.threshold == pytest.approx(0.4)
    made, known = np.where(scores >= 0.4, labels, 1), truth != 255
    for k in range(L):
        hit = (made == k) & (truth == k)
        union = ((made == k) | (truth == k)) & known
        if k == 1:
            background = hit.sum() / union.sum()
            continue
        assert quality.per_class["precision"][k] == pytest.approx(hit.sum() / ((made == k) & known).sum())
        assert quality.per_class["recall"][k] == pytest.approx(hit.sum() / (truth == k).sum())
        assert quality.per_class["iou"][k] == pytest.approx(hit.sum() / union.sum())
    assert quality.per_class["iou"][1] is None
    ious = [quality.per_class["iou"][k] for k in (0, 2, 3)]
    assert quality.miou == pytest.approx((sum(ious) + background) / 4) and quality.iou == pytest.approx(np.mean(ious))
    curve = curve.compute()
    assert best(curve).miou == max(q.miou for q in curve)
    alike = [q.precision for q in curve if q.recall == quality.recall]
    assert precision_at(curve, quality.recall) == pytest.approx(max(alike))


def test_masks_without_any_class_are_refused():
    curve = SeedCurve(3, 0)
    curve.update(np.full((2, 2), 1), np.ones((2, 2)), np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="no pixel of the full masks has one of the classes"):
        curve.compute()
