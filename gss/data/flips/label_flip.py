"""Classes that turn into a second one, and all masks that can come of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelFlip:
    """A class that turns into a second one.

    Attributes:
        label: number of the class.
        second: number of the second one.
        probability: of the second one in an image.
    """

    label: int
    second: int
    probability: float


def flip_modes(labels: np.ndarray, flips: tuple[LabelFlip, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return all ways in which the classes of a mask can flip, and their probabilities.

    Args:
        labels: uint8 `[H, W]`, before any flip.
        flips: F flips.

    Returns:
        uint8 `[2^F, H, W]` and float64 `[2^F]` of sum 1. Bit i of the number of a mode says that flip i happened.
    """
    modes = np.repeat(labels[None], 2 ** len(flips), axis=0)
    chances = np.ones(len(modes))
    for bit, flip in enumerate(flips):
        flipped = (np.arange(len(modes)) >> bit & 1).astype(bool)
        modes[np.ix_(flipped)] = np.where(modes[flipped] == flip.label, flip.second, modes[flipped])
        chances *= np.where(flipped, flip.probability, 1 - flip.probability)
    assert math.isclose(chances.sum(), 1)
    return modes, chances
