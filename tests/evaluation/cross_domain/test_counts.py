"""Counting a pipeline in the classes of a test set, against float64 loops; means over test sets and seeds."""

from statistics import harmonic_mean, stdev

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_toys import mappings, random_probs, space

from gss.evaluation.cross_domain.counts import CellCounts
from gss.evaluation.cross_domain.means import harmonic, over_seeds, transfer
from gss.evaluation.cross_domain.pair import Pair
from gss.evaluation.cross_domain.result import HARD, PROBABILITIES, WAYS, Spread
from gss.labels.mapping import LabelMapping


def reference_iou(truth, found, classes, *, void=255):
    """IoU of each class; `found` may hold numbers that are no class."""
    counted = truth != void
    values = []
    for k in range(classes):
        true, said = (truth == k) & counted, (found == k) & counted
        union = (true | said).sum()
        values.append(float((true & said).sum() / union) if union else None)
    return values


def reference_ece(confidence, correct):
    total = 0.0
    for index in range(15):
        chosen = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        if chosen.any():
            total += chosen.mean() * abs(correct[chosen].mean() - confidence[chosen].mean())
    return total


def mean(values):
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def close(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        assert one is None or one == pytest.approx(other, abs=1e-6)


@settings(max_examples=12)
@given(mappings(), st.integers(0, 1000))
def test_figures_are_those_of_a_loop(mapping, seed):
    rng = np.random.default_rng(seed)
    K, T, shape = mapping.source.num_classes, mapping.target.num_classes, (9, 14)
    probs = [random_probs(K, *shape, seed=seed + n).mul(8).softmax(0) for n in range(2)]
    labels = [np.where(rng.random(shape) < 0.1, 255, rng.integers(0, T, shape)).astype(np.uint8) for _ in range(2)]
    pair = Pair(mapping, "by hand", mapping.common())
    counts = CellCounts(pair, ["a"], [])
    for one, truth in zip(probs, labels, strict=True):
        counts.update({"a": one}, truth)
    found = counts.compute({})["modes"]["a"]

    truth, p = np.stack(labels), torch.stack(probs).double()
    table, lost = np.append(mapping.table, 255), [mapping.target.index(name) for name in mapping.unreachable]
    known = np.where(np.isin(truth, lost), 255, truth)
    soft = torch.einsum("nkhw,kt->nthw", p, torch.from_numpy(mapping.matrix)).numpy()
    left = soft.sum(1, keepdims=True) < 1e-30
    soft = np.where(left, np.isin(np.arange(T), lost)[None, :, None, None] == 0, soft)
    confidence, source = (value.numpy() for value in p.max(1))
    said = {PROBABILITIES: soft.argmax(1), HARD: table[source]}
    normal = (soft / soft.sum(1, keepdims=True)).max(1)
    dropped = mapping.matrix.sum(1).min() < 1 - 1e-9
    sure = {PROBABILITIES: normal if dropped else soft.max(1), HARD: confidence}
    common = {PROBABILITIES: mapping.common()[0].predict(p).numpy(), HARD: mapping.common()[0].table[source]}
    for way in WAYS:
        close(found[way]["iou"], reference_iou(known, said[way], T))
        close(found[way]["iou_all"], reference_iou(truth, said[way], T))
        close([found[way]["miou_all"]], [mean(reference_iou(truth, said[way], T))])
        close([found[way]["miou"]], [mean(reference_iou(known, said[way], T))])
        merged = reference_iou(mapping.common()[1].apply_labels(truth), common[way], len(found[way]["iou_common"]))
        close(found[way]["iou_common"], merged)
        counted = known != 255
        if counted.any():
            right = (said[way] == known)[counted]
            assert found[way]["accuracy"] == pytest.approx(right.mean())
            assert found[way]["ece"] == pytest.approx(reference_ece(sure[way][counted], right), abs=1e-3)


def test_siblings_add_up_only_by_probabilities():
    """Building 0.3 and wall 0.3 beat road 0.4 together, but not alone."""
    mapping = LabelMapping.from_names(
        space("building", "wall", "road", "pole"),
        space("house", "street", "sea"),
        {"building": "house", "wall": "house", "road": "street", "pole": None},
    )
    pair = Pair(mapping, "", mapping.common())
    assert pair.foreign == ("sea",) and not pair.relabels
    counts = CellCounts(pair, ["m"], ["s"])
    probs = torch.tensor([[0.3, 0.1], [0.3, 0.1], [0.4, 0.2], [0.0, 0.6]])[:, None]
    counts.update({"m": probs, "s": torch.tensor([[1.0, 2.0]])}, np.array([[0, 1]], np.uint8))
    counts.update({"m": probs, "s": torch.tensor([[3.0, 5.0]])}, np.array([[2, 0]], np.uint8))
    cell = counts.compute({"s": 2.0})
    by_way = cell["modes"]["m"]
    # First image: truth house, street. Probabilities say house, then a tie of 0.2 and 0.2, which the first wins.
    assert by_way[PROBABILITIES]["iou"] == [pytest.approx(2 / 3), 0.0, None]
    # Hard says street, and pole, which is no class there; the sea of the second image does not count ...
    assert by_way[HARD]["iou"] == [0.0, 0.0, None]
    assert by_way[HARD]["accuracy"] == 0.0
    # ... but with all classes it is missed, and what was said there is wrong.
    assert by_way[PROBABILITIES]["iou_all"] == [pytest.approx(2 / 4), 0.0, 0.0]
    assert by_way[PROBABILITIES]["miou_all"] == pytest.approx(0.5 / 3)
    # Three familiar pixels with scores 1, 2, 5, a foreign one with 3.
    assert cell["alarms"] == {"s": pytest.approx(2 / 3)} and cell["alarms_foreign"] == {"s": 1.0}


def test_a_renumbering_is_counted_once():
    names = ("a", "b", "c")
    mapping = LabelMapping.from_names(space(*names), space(*names[::-1]), {name: name for name in names})
    pair = Pair(mapping, "", mapping.common())
    assert pair.relabels and pair.foreign == ()
    counts = CellCounts(pair, ["m"], [])
    probs, labels = random_probs(3, 7, 5), np.random.default_rng(0).integers(0, 3, (7, 5)).astype(np.uint8)
    counts.update({"m": probs}, labels)
    found = counts.compute({})["modes"]["m"]
    assert found[PROBABILITIES] == found[HARD]
    close(found[HARD]["iou"], reference_iou(labels, 2 - probs.argmax(0).numpy(), 3))
    assert not Pair(LabelMapping.from_names(space("a"), space("a"), {"a": {"a": 0.8}}), "").relabels


@given(st.lists(st.one_of(st.none(), st.floats(0.01, 1)), min_size=1, max_size=5))
def test_means_over_test_sets(values):
    by_name = {f"d{index}": value for index, value in enumerate(values)}
    found = transfer(by_name, "d0")
    present = [value for value in values if value is not None]
    assert found["mean"] == (pytest.approx(np.mean(present)) if present else None)
    assert found["harmonic"] == (pytest.approx(harmonic_mean(present)) if present else None)
    away = [value for value in values[1:] if value is not None]
    assert found["away"] == (pytest.approx(np.mean(away)) if away else None)
    if away and values[0] is not None:
        assert found["drop"] == pytest.approx(values[0] - np.mean(away))
        assert found["relative_drop"] == pytest.approx(found["drop"] / values[0])
    else:
        assert found["drop"] is found["relative_drop"] is None
    nowhere = transfer(by_name, None)
    assert nowhere["away"] == nowhere["mean"] and nowhere["drop"] is None


def test_harmonic_mean_of_zero_and_nothing():
    assert harmonic([0.5, 0.0]) == 0.0
    assert harmonic([None]) is None and harmonic([None, 0.4]) == pytest.approx(0.4)


def test_over_seeds():
    found = over_seeds([{"a": 1.0, "b": [0.2, None], "c": None}, {"a": 2.0, "b": [0.4, 0.6], "c": None, "d": 1}])
    assert found["a"] == Spread(1.5, pytest.approx(stdev([1.0, 2.0])))
    assert found["b"] == [
        Spread(pytest.approx(0.3), pytest.approx(stdev([0.2, 0.4]))),
        Spread(0.6, None),
    ]
    assert found["c"] == Spread(None, None) and "d" not in found
    assert over_seeds([{"x": 0.25}]) == {"x": Spread(0.25, None)}
