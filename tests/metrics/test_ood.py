"""Ranking metrics against scikit-learn and torchmetrics, their bounds, and what is refused or undefined."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_checks import MetricChecks, score_batches
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score, roc_curve
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

from gss.metrics.ood import FPR_RULES, OODMetrics

VOID = 255


def maps(kind, shape=(6, 9), images=3, seed=0):
    """Score maps of a kind and their truth, with void."""
    rng = np.random.default_rng(seed)
    target = rng.choice([0, 1, VOID], size=(images, *shape), p=[0.7, 0.2, 0.1]).astype(np.uint8)
    scores = rng.normal(size=target.shape) + (target == 1)
    scores = {
        "normal": lambda s: s,
        "densities": lambda s: 500 * s,
        "ties": lambda s: np.round(s),
        "saturated": lambda s: np.where(s > 0, 1.0, s),
        "constant": lambda s: np.full_like(s, -3.5),
        "tiny": lambda s: s * 1e-40,
        "zeros": lambda s: np.where(s > 1, s, np.where(s > 0, 0.0, -0.0)),
        "infinite": lambda s: np.where(s > 1.5, np.inf, np.where(s < -1.5, -np.inf, s)),
    }[kind](scores)
    return scores.astype(np.float32), target


def flat(scores, target):
    valid = target != VOID
    ranked = scores[valid].astype(np.float64)
    return target[valid] == 1, np.nan_to_num(ranked, posinf=1e300, neginf=-1e300)  # scikit-learn refuses infinities


def hendrycks(truth, scores, level):
    """FPR at the recall nearest to `level`, written after the published description of the rule."""
    recalls, rates = [], []
    for threshold in np.unique(scores):  # ascending: low thresholds come first
        recalls.append(truth[scores >= threshold].mean() * (scores >= threshold).sum() / truth.sum())
        rates.append((~truth & (scores >= threshold)).sum() / (~truth).sum())
    full = max(i for i, recall in enumerate(recalls) if recall > 1 - 1e-12)
    return rates[full + int(np.abs(np.array(recalls[full:]).round(12) - level).argmin())]


def reference(truth, scores, level=0.95):
    rates, recalls, _ = roc_curve(truth, scores, drop_intermediate=False)
    thin_rates, thin_recalls, _ = roc_curve(truth, scores, drop_intermediate=True)
    return {
        "ap": average_precision_score(truth, scores),
        "auroc": roc_auc_score(truth, scores),
        "first_at_least": rates[np.argmax(recalls >= level)],
        "first_above": rates[np.argmax(recalls > level)],
        "nearest": hendrycks(truth, scores, level),
        "nearest_thinned": thin_rates[np.abs(thin_recalls - level).argmin()],
        "best_f1": max(f1_score(truth, scores >= threshold) for threshold in np.unique(scores)),
    }


def figures(result):
    return {"ap": result.ap, "auroc": result.auroc, "best_f1": result.best_f1, **result.fpr}


KINDS = ["normal", "densities", "ties", "saturated", "constant", "tiny", "zeros", "infinite"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tpr", [0.95, 0.5])
def test_exact_mode_is_scikit_learn(kind, tpr):
    scores, target = maps(kind)
    metrics = OODMetrics(exact=True, tpr=tpr)
    for image, truth in zip(scores, target, strict=True):
        metrics.update(image, truth)
    found, expected = figures(metrics.compute()), reference(*flat(scores, target), tpr)
    for name, value in expected.items():
        assert found[name] == pytest.approx((value,) * 3, abs=1e-12), name


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_contain_the_exact_figures(kind):
    scores, target = maps(kind, seed=1)
    metrics = OODMetrics()
    metrics.update(torch.from_numpy(scores), torch.from_numpy(target))
    found, expected = figures(metrics.compute()), reference(*flat(scores, target))
    assert found.pop("nearest_thinned") is None
    for name, bounded in found.items():
        assert bounded.lower - 1e-12 <= expected[name] <= bounded.upper + 1e-12, name
        assert bounded.lower <= bounded.value <= bounded.upper, name


def test_scores_in_the_hundreds_are_told_apart():
    rng = np.random.default_rng(0)
    target = (rng.random((400, 500)) < 0.05).astype(np.uint8)
    scores = rng.normal(200, 50, target.shape) + 80 * target
    metrics = OODMetrics()
    metrics.update(scores, target)
    result = metrics.compute()
    assert result.auroc.value == pytest.approx(roc_auc_score(target.ravel(), scores.ravel()), abs=1e-4)
    assert result.ap.value == pytest.approx(average_precision_score(target.ravel(), scores.ravel()), abs=1e-3)
    assert result.ap.upper - result.ap.lower < 5e-3
    assert result.auroc.upper - result.auroc.lower < 5e-4


@settings(max_examples=60)
@given(
    values=st.lists(
        st.tuples(
            # neighbours within one bin of the histogram, ties, and values far apart
            st.one_of(
                st.integers(0, 40).map(lambda k: 500 + k * 0.02),
                st.sampled_from([-500.0, 0.0, 499.9, 500.0, 500.3]),
                st.floats(-600, 600, width=32),
            ),
            st.booleans(),
        ),
        min_size=2,
        max_size=60,
    ),
    tpr=st.sampled_from([0.3, 0.5, 0.8, 0.95]),
)
def test_bounds_always_contain_the_truth(values, tpr):
    scores = np.array([[value for value, _ in values]], np.float32)
    truth = np.array([[out for _, out in values]])
    truth[0, :2] = False, True
    metrics = OODMetrics(tpr=tpr)
    metrics.update(scores, truth.astype(np.uint8))
    expected = reference(truth[0], scores[0].astype(np.float64), tpr)
    for name, bounded in figures(metrics.compute()).items():
        if bounded is not None:
            assert bounded.lower - 1e-9 <= expected[name] <= bounded.upper + 1e-9, name
            assert bounded.lower - 1e-9 <= bounded.value <= bounded.upper + 1e-9, name


def test_thresholds_give_their_operating_points():
    scores, target = maps("normal", (40, 50))
    truth, ranked = flat(scores, target)
    for exact in (True, False):
        metrics = OODMetrics(exact=exact)
        metrics.update(scores, target)
        result = metrics.compute()
        accepted = ranked >= result.threshold_at_tpr
        assert 0.95 <= accepted[truth].mean() < 0.955
        rate = result.fpr["first_at_least"]
        assert rate.lower <= accepted[~truth].mean() <= rate.upper
        assert f1_score(truth, ranked >= result.best_f1_threshold) == pytest.approx(result.best_f1.value)
        assert metrics.ranking().threshold(0.5) > result.threshold_at_tpr


def test_per_image_means_leave_out_images_without_outliers():
    scores, target = maps("normal", images=4)
    target[1][target[1] == 1] = 0
    metrics = OODMetrics(mode="per_image")
    metrics.update(scores[:2], target[:2], ["a", "ü\udcff"])
    metrics.update(scores[2], target[2], "c")
    metrics.update(scores[3], target[3])
    result = metrics.compute()
    kept = [reference(*flat(scores[i], target[i])) for i in (0, 2, 3)]
    for name in ("ap", "auroc", *FPR_RULES):
        expected = np.mean([image[name] for image in kept])
        assert figures(result)[name].value == pytest.approx(expected, abs=1e-12), name
    assert (result.mode, result.images, result.skipped) == ("per_image", 4, 1)
    assert "1 images left out" in result.reason
    assert [record["id"] for record in result.per_image] == ["a", "ü\udcff", "c", "3"]
    assert result.per_image[1]["ap"] is None and result.per_image[1]["reason"] == "no outlier pixel"
    assert result.best_f1 is result.best_f1_threshold is None
    assert json.loads(json.dumps(result.to_json()))["per_image"][0]["id"] == "a"
    with pytest.raises(ValueError, match="mode='pooled'"):
        metrics.ranking()


@pytest.mark.parametrize(
    ("label", "reason"), [(0, "no outlier pixel"), (1, "no inlier pixel"), (VOID, "no outlier and no inlier pixel")]
)
def test_undefined_figures_are_none_with_a_reason(label, reason):
    for mode in ("pooled", "per_image"):
        metrics = OODMetrics(mode=mode)
        metrics.update(np.ones((3, 4), np.float32), np.full((3, 4), label))
        result = metrics.compute()
        assert set(figures(result).values()) == {None}
        assert result.threshold_at_tpr is None
        assert result.reason == (
            reason if mode == "pooled" else "none of 1 images holds both outlier and inlier pixels"
        )
    empty = OODMetrics().compute()
    assert empty.ap is None and empty.images == 0


def test_half_precision_tensors_and_void_nan():
    scores, target = maps("normal")
    half = torch.from_numpy(scores).to(torch.bfloat16)
    scores[target == VOID] = np.nan
    expected, found = OODMetrics(exact=True), OODMetrics(exact=True)
    expected.update(np.where(target == VOID, 0, half.float().numpy()), target)
    found.update(torch.where(torch.from_numpy(target) == VOID, float("nan"), half), target)
    assert found.compute() == expected.compute()


@pytest.mark.parametrize(
    ("scores", "target", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4), int), r"scores has shape \[2, 3\] but target \[2, 4\]; interpolate"),
        (np.zeros((2, 3)), np.full((2, 3), 2), "label 2, allowed are 0 .* 255"),
        (np.zeros((2, 3)), np.full((2, 3), -1), "label -1"),
        (np.zeros((2, 3)), np.zeros((2, 3)), "target must be an integer"),
        (np.zeros((2, 3), int), np.zeros((2, 3), int), "scores must be floating point"),
        (np.zeros(3), np.zeros(3, int), "target must be"),
        (np.array([[0, 1], [np.nan, np.nan]]), np.zeros((2, 2), int), r"2 NaN, the first at \[1, 0\]"),
    ],
)
def test_bad_maps_are_refused_and_not_counted(scores, target, message):
    metrics = OODMetrics()
    with pytest.raises(ValueError, match=message) as error:
        metrics.update(scores, target)
    assert "\n" not in str(error.value)
    assert metrics.images == 0 and metrics.compute().inliers == 0


def test_bad_settings():
    with pytest.raises(ValueError, match="unknown mode 'image'"):
        OODMetrics(mode="image")
    with pytest.raises(ValueError, match="tpr is 1"):
        OODMetrics(tpr=1)
    metrics = OODMetrics()
    metrics.update(*maps("normal"))
    with pytest.raises(ValueError, match="unknown rule 'nearst', did you mean 'nearest'"):
        metrics.ranking().fpr(0.95, "nearst")
    with pytest.raises(ValueError, match="ids names 1 images, scores hold 3"):
        metrics.update(*maps("normal"), ids=["a"])


@pytest.mark.parametrize("kind", ["normal", "ties", "constant", "infinite"])
def test_curves_and_histograms_for_drawing(kind):
    scores, target = maps(kind, (30, 40))
    metrics = OODMetrics()
    metrics.update(scores, target)
    ranking = metrics.ranking()
    curve = ranking.curve(100)
    assert len(curve["tpr"]) <= 102
    assert curve["tpr"][-1] == curve["fpr"][-1] == 1
    assert all((np.diff(curve[name]) >= 0).all() for name in ("tpr", "fpr"))
    area = np.trapezoid(np.r_[0, curve["tpr"]], np.r_[0, curve["fpr"]])
    assert area == pytest.approx(ranking.auroc().value, abs=0.01)
    shares = ranking.histogram(20)
    assert len(shares["edges"]) == 21 and (np.diff(shares["edges"]) > 0).all()
    assert shares["outliers"].sum() == pytest.approx(1) and shares["inliers"].sum() == pytest.approx(1)


class TestHistogram(MetricChecks):
    tolerance = 0.01

    def make(self, **options):
        return OODMetrics(**options)

    def other(self):
        return OODMetrics(tpr=0.5)

    def batches(self):
        return score_batches()

    def reference(self, batches):
        found = reference(*flat(*(np.concatenate(parts) for parts in zip(*batches, strict=True))))
        return {name: value for name, value in found.items() if self.make().exact or name != "nearest_thinned"}

    def figures(self, result):
        return {name: bounded.value for name, bounded in figures(result).items() if bounded}

    def test_the_state_does_not_grow(self):
        metric = self.fed(self.batches())
        assert sum(state.numel() for state in metric.metric_state.values() if not isinstance(state, list)) == 3 + 2**21
        assert not any(state for state in metric.metric_state.values() if isinstance(state, list))
        assert int(metric.bins.sum()) == metric.compute().outliers + metric.compute().inliers


class TestExact(TestHistogram):
    tolerance = 1e-9

    def make(self, **options):
        return OODMetrics(exact=True, **options)

    def other(self):
        return OODMetrics()

    def test_the_state_does_not_grow(self, monkeypatch):
        monkeypatch.setattr("gss.metrics.ood._WAITING", 100)
        metric = self.fed(self.batches() * 5)
        distinct = np.unique(np.concatenate([scores.ravel() for scores, _ in self.batches()])).size
        assert sum(map(len, metric.inlier_scores)) < 2 * distinct + 100 + 2 * 9 * 14
        assert self.same(metric.compute(), self.fed([*self.batches()] * 5).compute())

    def test_equals_torchmetrics(self):
        """Without its sigmoid, which it applies to scores outside 0..1."""
        batches = self.batches()
        theirs = {"ap": BinaryAveragePrecision(ignore_index=VOID), "auroc": BinaryAUROC(ignore_index=VOID)}
        for metric in theirs.values():
            metric.normalization = None
            for scores, target in batches:
                metric.update(torch.from_numpy(scores).flatten(), torch.from_numpy(target).long().flatten())
        found = self.figures(self.fed(batches).compute())
        for name, metric in theirs.items():
            assert found[name] == pytest.approx(float(metric.compute()), abs=1e-6), name


class TestPerImage(TestExact):
    def make(self, **options):
        return OODMetrics(mode="per_image", **options)

    def batches(self):
        return [(scores, truth, [f"{k} a", f"{k} b"]) for k, (scores, truth) in enumerate(score_batches())]

    def reference(self, batches):
        found = [reference(*flat(s, t)) for scores, truth, _ in batches for s, t in zip(scores, truth, strict=True)]
        return {name: np.mean([image[name] for image in found]) for name in found[0] if name != "best_f1"}

    def figures(self, result):
        return {name: bounded.value for name, bounded in figures(result).items() if bounded}

    def comparable(self, result):
        return dataclasses.replace(result, per_image=sorted(result.per_image, key=lambda record: record["id"]))

    def test_the_state_does_not_grow(self):
        assert len(self.fed(self.batches()).records) == 6

    test_equals_torchmetrics = None  # theirs know no mean over images
