"""Division of images that nobody divided into those that train and those that validate."""

from __future__ import annotations

import math

DEFAULT_SHARE = 0.2
"""Share of the images that validates where no split is given."""


def held_out(count: int, share: float | None = None) -> int:
    """Return how many of `count` images validate, at least one; None for the default share."""
    return max(1, math.floor(count * (DEFAULT_SHARE if share is None else share) + 1e-9))


def first_and_rest(count: int, share: float | None = None, order: str = " by name") -> str:
    """Return in words how images are divided; `order` says which come first."""
    rest = held_out(count, share)
    return f"the first {count - rest} of {count}{order} train, {rest} validate"
