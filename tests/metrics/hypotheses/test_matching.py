"""Matched IoU and modes against enumeration."""

import itertools

import numpy as np
import pytest

from gss.metrics import MatchedIoU, ModeCalibration
from gss.metrics.hypotheses.matching import matched_iou


def test_equal_weights_are_the_best_permutation():
    random = np.random.default_rng(0)
    for n, m in ((3, 3), (2, 3), (1, 4)):
        iou, least = random.random((n, m)), np.lcm(n, m)
        repeated = np.repeat(np.repeat(iou, least // n, 0), least // m, 1)
        orders = itertools.permutations(range(least))
        best = max(sum(repeated[i, j] for i, j in enumerate(order)) / least for order in orders)
        assert matched_iou(iou, np.full(n, 1 / n), np.full(m, 1 / m)) == pytest.approx(best)


def test_weights_are_those_of_repeated_masks():
    iou = np.random.default_rng(1).random((3, 2))
    weighted = matched_iou(iou, np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.75]))
    repeated = iou[[0, 0, 1, 2]][:, [0, 1, 1, 1]]
    assert weighted == pytest.approx(matched_iou(repeated, np.full(4, 0.25), np.full(4, 0.25)))


def test_it_is_one_for_the_same_set_in_another_order():
    masks = np.random.default_rng(2).integers(0, 3, (4, 5, 6))
    metric = MatchedIoU(3)
    metric.update(masks[::-1].copy(), masks)
    assert metric.compute() == pytest.approx(1)
    assert MatchedIoU(3).compute() is None


def test_two_empty_masks_count_as_one_in_the_foreground():
    empty = np.zeros((1, 2, 2), int)
    metric = MatchedIoU(2, foreground=True)
    metric.update(empty, empty)
    assert metric.compute() == 1


def test_modes_are_counted():
    modes = np.stack([np.full((3, 4), label) for label in range(3)])
    metric = ModeCalibration(3, 3)
    samples = modes[[0, 0, 1, 0]].copy()
    samples[:, 0, 0] = 2  # a wrong pixel changes no mode
    metric.update(samples, modes, [0.5, 0.25, 0.25])
    result = metric.compute()
    assert result["found"] == [0.75, 0.25, 0]
    assert result["expected"] == [0.5, 0.25, 0.25]
    assert result["l1"] == pytest.approx(0.5)
    assert ModeCalibration(3, 3).compute()["l1"] is None


def test_modes_that_look_alike_are_one():
    modes = np.stack([np.zeros((2, 2), int)] * 2)
    metric = ModeCalibration(2, 2)
    metric.update(modes, modes, [0.3, 0.7])
    assert metric.compute() == {"found": [1, 0], "expected": [1, 0], "l1": 0}
