"""Component metrics against a reference with one full mask per component, and their size rules one by one."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metric_checks import MetricChecks
from scipy import ndimage

from gss.metrics.components import LEVELS, ComponentMetrics, TrackRules, match_components

VOID = 255
EIGHT = np.ones((3, 3))


def naive_match(predicted, truth, rules):
    """The benchmark's steps, each on full-size masks."""
    true, num_true = ndimage.label(truth == 1, EIGHT)
    found, num_found = ndimage.label(predicted & (truth != VOID), EIGHT)
    for p in range(1, num_found + 1):
        if (found == p).sum() < rules.min_predicted:
            found[found == p] = 0
    for g in range(1, num_true + 1):
        if (true == g).sum() < rules.min_true:
            found[true == g] = 0
            true[true == g] = 0
    siou, ppv = [], []
    for g in range(1, num_true + 1):
        here = true == g
        if not here.any():
            continue
        touching = [p for p in range(1, num_found + 1) if (here & (found == p)).any()]
        union = np.isin(found, touching) & (found > 0)
        others = union & (true > 0) & ~here
        siou.append((here & union).sum() / ((here | union).sum() - others.sum()))
    for p in range(1, num_found + 1):
        here = found == p
        if here.any():
            ppv.append((here & (true > 0)).sum() / here.sum())
    return siou, ppv


def naive_result(matches):
    siou, ppv = (np.concatenate([np.asarray(match[i], float) for match in matches]) for i in (0, 1))
    f1 = []
    for level in np.linspace(0.25, 0.75, 11):
        tp, fn, fp = (siou >= level).sum(), (siou < level).sum(), (ppv < level).sum()
        f1.append(2 * tp / (2 * tp + fn + fp))
    return siou.mean(), ppv.mean(), np.mean(f1)


def blobs(seed, shape=(48, 65)):
    """Truth with blobs and void, and a prediction that overlaps it in part."""
    rng = np.random.default_rng(seed)
    field = [ndimage.gaussian_filter(rng.normal(size=shape), 2.0) for _ in range(3)]
    truth = np.where(field[0] > 0.12, 1, 0)
    truth[field[1] > 0.2] = VOID
    return 0.6 * field[0] + 0.6 * field[2] > 0.07, truth


RULES = [TrackRules(0, 0), TrackRules(12, 5), TrackRules(40, 30)]


@pytest.mark.parametrize("rules", RULES)
def test_matches_the_reference(rules):
    metrics, matches = ComponentMetrics(rules), []
    for seed in range(6):
        predicted, truth = blobs(seed)
        siou, ppv = match_components(predicted, truth, rules)
        expected = naive_match(predicted, truth, rules)
        assert siou == pytest.approx(expected[0]) and ppv == pytest.approx(expected[1])
        matches.append(expected)
        metrics.update(predicted, torch.from_numpy(truth))
    result = metrics.compute()
    assert (result.siou, result.ppv, result.f1_mean) == pytest.approx(naive_result(matches))
    assert result.true_components > 6 and result.predicted_components > 6 and 0.1 < result.f1_mean < 0.9


@given(
    cells=st.lists(st.tuples(st.sampled_from([0, 0, 1, VOID]), st.booleans()), min_size=42, max_size=42),
    rules=st.sampled_from([TrackRules(0, 0), TrackRules(2, 2), TrackRules(3, 0), TrackRules(0, 4)]),
)
def test_matches_the_reference_on_anything(cells, rules):
    truth = np.array([label for label, _ in cells]).reshape(6, 7)
    predicted = np.array([out for _, out in cells]).reshape(6, 7)
    found, expected = match_components(predicted, truth, rules), naive_match(predicted, truth, rules)
    assert found[0] == pytest.approx(expected[0]) and found[1] == pytest.approx(expected[1])


def picture(*rows):
    """Truth and prediction of one row each: # both, t truth only, p prediction only, v void, V predicted void."""
    marks = np.array([list(row) for row in rows])
    truth = np.where(np.isin(marks, ["#", "t"]), 1, 0)
    truth[np.isin(marks, ["v", "V"])] = VOID
    return np.isin(marks, ["#", "p", "V"]), truth


def test_prediction_over_two_objects_is_not_charged_for_the_other():
    siou, ppv = match_components(*picture("##pp##"), TrackRules(0, 0))
    assert siou.tolist() == [0.5, 0.5]  # 2 / (2 + 2 off any object)
    assert ppv.tolist() == pytest.approx([4 / 6])


def test_small_objects_become_void_after_the_prediction_was_labelled():
    # One prediction covers a small object and reaches a large one: the cut does not make two of it, and its size
    # is judged before the cut.
    predicted, truth = picture("#ppp###")
    siou, ppv = match_components(predicted, truth, TrackRules(7, 2))
    assert siou.tolist() == [0.5] and ppv.tolist() == [0.5]  # 3 of the 6 pixels that are left
    # A prediction inside a small object vanishes instead of being a false alarm.
    siou, ppv = match_components(*picture("#....##"), TrackRules(0, 2))
    assert siou.tolist() == ppv.tolist() == [1.0]


def test_void_cuts_the_prediction_before_it_is_labelled():
    siou, ppv = match_components(*picture("ppVV###"), TrackRules(0, 0))
    assert siou.tolist() == [1.0]
    assert sorted(ppv.tolist()) == [0.0, 1.0]
    assert match_components(*picture("ppVV###"), TrackRules(3, 0))[1].tolist() == [1.0]


def test_diagonal_neighbours_are_one_component():
    siou, ppv = match_components(*picture("#..", ".#.", "..t"), TrackRules(2, 3))
    assert siou.tolist() == pytest.approx([2 / 3]) and ppv.tolist() == [1.0]


def test_a_component_of_three_fifths_is_missed_at_the_eighth_level():
    metrics = ComponentMetrics(TrackRules(0, 0))
    metrics.update(*picture("###tt"))
    assert LEVELS[7] > 0.6
    assert metrics.compute().hits == (1,) * 7 + (0,) * 4


def test_undefined_figures_are_none_with_a_reason():
    metrics = ComponentMetrics("anomaly")
    metrics.update(np.ones((30, 30), bool), np.zeros((30, 30), int))
    result = metrics.compute()
    assert (result.siou, result.f1_mean, result.ppv) == (None, None, 0.0)
    assert result.false_alarms == (1,) * 11 and "at least 100 pixels in 1 images" in result.reason
    metrics = ComponentMetrics("anomaly")
    metrics.update(np.zeros((30, 30), bool), np.ones((30, 30), int))
    result = metrics.compute()
    assert (result.siou, result.f1_mean, result.ppv, result.reason) == (0.0, 0.0, None, "no predicted component")


def test_an_image_without_objects_still_counts_its_false_alarms():
    metrics = ComponentMetrics(TrackRules(0, 0))
    metrics.update(*picture("##..."))
    metrics.update(*picture("..pp."))
    result = metrics.compute()
    assert result.siou == 1.0 and result.ppv == 0.5 and result.f1_mean == pytest.approx(2 / 3)


def test_many_small_components_need_no_large_table():
    checker = np.zeros((300, 400), bool)
    checker[::2, ::2] = True
    truth = np.roll(checker, 1, axis=1).astype(int)
    siou, ppv = match_components(checker | (truth == 1), truth, TrackRules(0, 0))
    assert len(siou) == truth.sum() and len(ppv) == 150


@pytest.mark.parametrize(
    ("predicted", "target", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3), int), "must be bool, got float64; threshold"),
        (np.zeros((2, 3), bool), np.zeros((3, 2), int), "predicted has shape"),
        (np.zeros((2, 3), bool), np.full((2, 3), 7), "label 7"),
    ],
)
def test_bad_maps(predicted, target, message):
    with pytest.raises(ValueError, match=message):
        ComponentMetrics("anomaly").update(predicted, target)


def test_bad_rules():
    with pytest.raises(ValueError, match="rules: unknown track 'anomly', did you mean 'anomaly'"):
        ComponentMetrics("anomly")
    with pytest.raises(ValueError, match="negative size"):
        ComponentMetrics(TrackRules(-1, 0))


class TestComponents(MetricChecks):
    def make(self, **options):
        return ComponentMetrics("obstacle", **options)

    def other(self):
        return ComponentMetrics("anomaly")

    def batches(self):
        return [blobs(seed) for seed in range(3)]

    def reference(self, batches):
        matches = [naive_match(predicted, truth, TrackRules(50, 10)) for predicted, truth in batches]
        return dict(zip(("siou", "ppv", "f1_mean"), naive_result(matches), strict=True))

    def figures(self, result):
        return {name: getattr(result, name) for name in ("siou", "ppv", "f1_mean")}

    def test_result_is_json(self):
        result = self.fed(self.batches()).compute()
        assert json.loads(json.dumps(result.to_json()))["rules"] == {"min_predicted": 50, "min_true": 10}
        both = [np.stack(maps) for maps in zip(*self.batches(), strict=True)]
        assert self.fed([both]).compute() == result
