"""Thresholds of alarms: scores that a given share of the labelled pixels of training images reaches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gss.core.errors import InputError

ALARM_RATES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
"""Shares of false alarms whose thresholds a pipeline holds, in descending order."""
DEFAULT_RATE = 0.01


def check_rate(rate: float) -> None:
    """Require a share of false alarms that thresholds are known for.

    Raises:
        InputError: it is not; names what is allowed.
    """
    low, high = ALARM_RATES[-1], ALARM_RATES[0]
    if not isinstance(rate, float | int) or isinstance(rate, bool) or not low <= rate <= high:
        raise InputError(f"alarm rate is {rate!r}; it must be a share of pixels from {low} to {high}, such as 0.01")


def threshold_at(thresholds: Sequence[float], rate: float) -> float:
    """Return the threshold of a share of false alarms, linear in the logarithm of the share between the known ones.

    Args:
        thresholds: threshold of each of `ALARM_RATES`.
        rate: share of the pixels of training images at or above the threshold.

    Raises:
        InputError: the share is outside the known ones.
    """
    check_rate(rate)
    known = [-math.log(share) for share in ALARM_RATES]
    return float(np.interp(-math.log(rate), known, thresholds))
