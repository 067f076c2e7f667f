"""Best of N, mean of N, and uncertainty against error."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gss.core.errors import InputError
from gss.metrics import SegmentationMetrics, SeveralMasks, UncertaintyQuality
from gss.metrics.hypotheses.uncertainty import risk_coverage_area

K = 3


def miou(pairs):
    metric = SegmentationMetrics(K)
    for mask, target in pairs:
        metric.update(mask, target)
    return metric.compute()["miou"]


def test_best_and_mean_of_n():
    random, metric = np.random.default_rng(0), SeveralMasks(K, (1, 2, 4))
    images = []
    for _ in range(5):
        target = random.integers(0, K, (6, 7))
        masks = np.where(random.random((4, 6, 7)) < 0.6, target, random.integers(0, K, (4, 6, 7)))
        means = [random.integers(0, K, (6, 7)) for _ in range(3)]
        target[0] = 255
        metric.update(masks, means, target)
        images.append((masks, means, target))
    result = metric.compute()
    for row, n in enumerate((1, 2, 4)):
        best = [(max(masks[:n], key=lambda mask: miou([(mask, target)])), target) for masks, _, target in images]  # noqa: B023
        assert result.best_of[row] == pytest.approx(miou(best))
        assert result.mean_of[row] == pytest.approx(miou([(means[row], target) for _, means, target in images]))
    assert result.images == 5


def test_too_few_masks_are_refused():
    with pytest.raises(InputError, match="at least 4 label maps"):
        SeveralMasks(K, (1, 4)).update(np.zeros((3, 2, 2), int), [], np.zeros((2, 2), int))
    with pytest.raises(InputError, match="different numbers from 1, ascending"):
        SeveralMasks(K, (4, 1))


def naive_area(uncertainty, wrong):
    """Return the mean selective risk, with ties in every order on average."""
    order = np.argsort(uncertainty, kind="stable")
    values, wrong = uncertainty[order], wrong[order].astype(float)
    for value in np.unique(values):
        wrong[values == value] = wrong[values == value].mean()
    return (np.cumsum(wrong) / np.arange(1, len(wrong) + 1)).mean()


def test_uncertainty_against_sorted_pixels():
    random, metric = np.random.default_rng(1), UncertaintyQuality()
    uncertainty = (random.integers(1, 9, (2, 30, 40)) / 8).astype(np.float32)
    wrong = random.random((2, 30, 40)) < uncertainty / 2
    target = random.integers(0, K, (2, 30, 40))
    prediction = np.where(wrong, (target + 1) % K, target)
    target[:, 0] = 255
    for image in range(2):
        metric.update(uncertainty[image], prediction[image], target[image])
    scores, errors = uncertainty[:, 1:].ravel(), wrong[:, 1:].ravel()
    result = metric.compute()
    assert result.auroc == pytest.approx(roc_auc_score(errors, scores))
    assert result.aurc == pytest.approx(naive_area(scores, errors))
    assert result.excess_aurc == pytest.approx(result.aurc - naive_area(errors.astype(float), errors))
    assert result.error == pytest.approx(errors.mean())
    # The top step holds more than 5 % of the pixels, so a part of it counts.
    top = scores == 1
    assert result.found_at_5 == pytest.approx(0.05 * len(scores) / top.sum() * errors[top].sum() / errors.sum())


def test_a_large_tie_has_its_mean_error():
    assert risk_coverage_area(np.array([300]), np.array([700])) == pytest.approx(0.3)
    values, wrong = np.repeat([0.0, 1.0], [5000, 3000]), np.arange(8000) % 7 == 0
    counts = [np.array([part[:5000].sum(), part[5000:].sum()]) for part in (wrong, ~wrong)]
    assert risk_coverage_area(*counts) == pytest.approx(naive_area(values, wrong))


def test_nothing_and_no_error():
    metric = UncertaintyQuality()
    assert metric.compute().auroc is None
    metric.update(np.ones((2, 2)), np.zeros((2, 2), int), np.zeros((2, 2), int))
    result = metric.compute()
    assert (result.auroc, result.aurc, result.error) == (None, 0, 0)
