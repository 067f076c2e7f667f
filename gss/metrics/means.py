"""Means over values of which some are missing."""

from __future__ import annotations

from collections.abc import Iterable


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of what exists; None for nothing."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None
