"""Weather and night."""

import numpy as np
from shift_checks import ShiftChecks, shifted


class TestFog(ShiftChecks):
    shift = "fog"
    random = True
    scales = True


class TestRain(ShiftChecks):
    shift = "rain"
    random = True
    scales = True


class TestSnow(ShiftChecks):
    shift = "snow"
    random = True
    scales = True


class TestNight(ShiftChecks):
    shift = "night"
    random = True


def test_fog_is_thicker_far_away():
    for id in "abc":
        change = np.abs(shifted(np.zeros((120, 160, 3), np.uint8), "fog", 3, id=id).astype(float)).mean(axis=(1, 2))
        assert change[:40].mean() > 1.5 * change[-40:].mean()
