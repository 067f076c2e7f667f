"""The scale at which a pipeline was trained: the sizes of its training images and of what they show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gss.core.errors import InputError
from gss.core.records import Record

# Random resizing in training covers at least this ratio of sizes: within it, all images run at the median size.
ONE_SCALE = 2.0
# Largest ratio of the sides with a short side: a 1-pixel-wide image would otherwise grow to thousands of pixels.
MAX_ASPECT = 16


@dataclass(frozen=True)
class TrainScale(Record):
    """Sizes of training images, in pixels.

    Attributes:
        short_side: median length of the shorter side.
        low: 5th percentile of that length.
        high: 95th percentile.
        object_pixels: median number of pixels of a connected region of one class; None if nothing was labelled.
    """

    short_side: int
    low: int
    high: int
    object_pixels: int | None = None

    def __post_init__(self) -> None:
        values = [self.low, self.short_side, self.high, *([] if self.object_pixels is None else [self.object_pixels])]
        whole = all(isinstance(value, int) and not isinstance(value, bool) and value > 0 for value in values)
        if not whole or not self.low <= self.short_side <= self.high:
            raise InputError(f"train_scale is {self.to_json()}; it must hold whole numbers, low <= short_side <= high")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainScale:
        """Return the scale that `to_json` gave.

        Raises:
            InputError: keys or values are not those of a scale.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(
                f"train_scale is {values!r}; it must hold short_side, low, high and object_pixels"
            ) from error

    @property
    def is_one(self) -> bool:
        """Whether the training images have one size, up to what random resizing covers."""
        return self.high <= ONE_SCALE * self.low

    def target_short_side(self, short_side: int) -> int:
        """Return the short side at which an image of this short side runs.

        Images of one scale all run at the median size. With training images of very different sizes, as of several data
        sets, an image within their range keeps its size, and others go to the nearest end of the range.
        """
        return self.short_side if self.is_one else min(max(short_side, self.low), self.high)

    def describe(self) -> str:
        """Return the choice of the resolution in words."""
        if self.is_one:
            return f"shorter side resized to {self.short_side}, as in training"
        return f"shorter side between {self.low} and {self.high}, as in training"


def with_short_side(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return the size (h, w) of an image of `height` x `width` resized to a short side at constant aspect ratio."""
    scale = min(short_side / min(height, width), short_side * MAX_ASPECT / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))
