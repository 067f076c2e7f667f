"""Thresholds of alarms in fitted scores."""

import json

import pytest
import torch

from gss.core.errors import InputError
from gss.ood.alarms import ALARM_RATES, threshold_at
from gss.ood.fitted import FittedScores

VALUES = [float(number) for number in range(len(ALARM_RATES))]


def test_known_rates_give_their_thresholds_and_others_lie_between():
    for rate, value in zip(ALARM_RATES, VALUES, strict=True):
        assert threshold_at(VALUES, rate) == pytest.approx(value)
    assert 4 < threshold_at(VALUES, 0.015) < 5
    assert threshold_at(VALUES, (0.01 * 0.02) ** 0.5) == pytest.approx(4.5)


@pytest.mark.parametrize("rate", [0, 1e-4, 0.6, float("nan"), True, "0.01"])
def test_other_rates_are_refused(rate):
    with pytest.raises(InputError, match="alarm rate is"):
        threshold_at(VALUES, rate)


def test_thresholds_are_saved_and_merged(tmp_path):
    first = FittedScores.from_tensors({"knn": {"bank": torch.rand(3, 2)}}, alarms={"knn": VALUES, "entropy": VALUES})
    first.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["alarms"] == ["knn", "entropy"]
    loaded = FittedScores.from_pretrained(tmp_path)
    assert loaded.alarms == {"knn": VALUES, "entropy": VALUES} and loaded.names == ("knn",)
    other = FittedScores.from_tensors({}, alarms={"energy": VALUES[::-1]})
    merged = loaded.merged(other, without=["entropy"])
    assert merged.alarms == {"knn": VALUES, "energy": VALUES[::-1]} and merged.names == ("knn",)
    with pytest.raises(InputError, match="score 'entropy'; those with one: knn, energy"):
        merged.alarm_threshold("entropy", 0.01)


def test_thresholds_without_statistics(tmp_path):
    FittedScores.from_tensors({}, alarms={"energy": VALUES}).save_pretrained(tmp_path)
    assert FittedScores.from_pretrained(tmp_path).alarm_threshold("energy", 0.01) == 5
