"""Shifts: photometric and weather-like changes of an image at five severities, on any data set, labels untouched.

Pillow, NumPy and SciPy alone: no maintained library has these effects at graded severities, for every image size and
from a given generator. Severities are this project's own and compare with no published benchmark.

What is drawn at random (noise, direction of rain, warm or cool light) is a function of (seed, shift, image id): the
same on any machine, in any order, under any number of processes. It does not depend on the severity, so five severities
of one image are five strengths of one event, and curves over the severity hold no second source of variation. Library
versions may round a grey level differently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from gss.config.limits import check_limits, limits
from gss.core.errors import InputError, did_you_mean
from gss.data.shifts import camera as shift_camera
from gss.data.shifts import weather as shift_weather

if TYPE_CHECKING:
    from gss.data.protocols import ReadableImages


Effect = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]

SEVERITIES = (1, 2, 3, 4, 5)

_EFFECTS: dict[str, tuple[Effect, ...]] = {
    "photometric": (
        shift_camera.brightness,
        shift_camera.darkness,
        shift_camera.contrast,
        shift_camera.saturation,
        shift_camera.white_balance,
        shift_camera.gamma,
    ),
    "noise": (shift_camera.gaussian_noise, shift_camera.shot_noise),
    "blur": (shift_camera.defocus_blur, shift_camera.motion_blur),
    "digital": (shift_camera.jpeg, shift_camera.pixelate),
    "weather": (shift_weather.fog, shift_weather.rain, shift_weather.snow, shift_weather.night),
}

SHIFTS: dict[str, Effect] = {effect.__name__: effect for effects in _EFFECTS.values() for effect in effects}
"""Name to effect, in the order of every table."""

GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(effect.__name__ for effect in effects) for group, effects in _EFFECTS.items()
}
"""Name of a group to the names of its shifts."""


def choose_shifts(names: Iterable[str]) -> tuple[str, ...]:
    """Names of shifts from names of shifts and groups, each once; all for no name.

    Raises:
        ValueError: a name is unknown; the message has the nearest one.
    """
    if isinstance(names, str):
        raise InputError(f"shifts is the text {names!r}; give a list of names")
    chosen: dict[str, None] = {}
    for name in names:
        if name not in SHIFTS and name not in GROUPS:
            hint = did_you_mean(name, [*SHIFTS, *GROUPS])
            known = f"shifts are {', '.join(SHIFTS)}; groups are {', '.join(GROUPS)}"
            raise InputError(f"unknown shift {name!r}{', ' + hint if hint else ''} {known}")
        chosen |= dict.fromkeys(GROUPS.get(name, (name,)))
    return tuple(chosen) or tuple(SHIFTS)


def choose_severities(severities: Iterable[int]) -> tuple[int, ...]:
    """Severities in ascending order, each once.

    Raises:
        ValueError: there is none, or one is not in 1..5.
    """
    chosen = tuple(sorted(set(severities)))
    if not chosen:
        raise InputError("severities is empty; choose from 1, 2, 3, 4, 5")
    for severity in chosen:
        _check_severity(severity)
    return chosen


def shift_generator(seed: int, shift: str, id: str) -> np.random.Generator:
    """Generator that depends on the arguments alone."""
    digest = hashlib.blake2b(f"{seed}\0{shift}\0{id}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def apply_shift(image: np.ndarray, shift: str, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Shift one image.

    Args:
        image: uint8 RGB `[H, W, 3]` of any size; never written to.
        shift: one of `SHIFTS`.
        severity: 1 (mild) to 5.
        rng: source of what is random.

    Returns:
        New uint8 `[H, W, 3]`.

    Raises:
        ValueError: unknown shift, severity not in 1..5, or another kind of image.
    """
    if shift not in SHIFTS:
        choose_shifts([shift])
        raise InputError(f"shift {shift!r} is a group of {', '.join(GROUPS[shift])}; name one of them")
    _check_severity(severity)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"image must be uint8 RGB [H, W, 3] with pixels, got {image.dtype} {list(image.shape)}")
    return SHIFTS[shift](image, severity, rng)


class ShiftedImages:
    """A data set seen through one shift: images change, ids and labels do not.

    Args:
        dataset: anything with `ids`, `label_space`, `len` and `read`.
        shift: one of `SHIFTS`.
        severity: 1 to 5.
        seed: other seeds draw other noise.

    Raises:
        ValueError: unknown shift or severity not in 1..5.
    """

    def __init__(self, dataset: ReadableImages, shift: str, severity: int, *, seed: int = 0) -> None:
        if shift not in SHIFTS:
            apply_shift(np.zeros((1, 1, 3), np.uint8), shift, 1, np.random.default_rng(0))  # raises
        _check_severity(severity)
        self.dataset, self.shift, self.severity, self.seed = dataset, shift, severity, seed
        self.ids = dataset.ids
        self.label_space = dataset.label_space

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Shifted PIL RGB image, and the labels as the data set gives them."""
        image, labels = self.dataset.read(index)
        rng = shift_generator(self.seed, self.shift, self.ids[index])
        return Image.fromarray(apply_shift(np.asarray(image), self.shift, self.severity, rng)), labels


@dataclass(frozen=True)
class RandomShift:
    """Augmentation: with some probability one random shift at a random severity.

    Args:
        probability: 0 to 1.
        shifts: names of shifts and groups to draw from; all when empty.

    Raises:
        ValueError: probability out of range, or an unknown name.
    """

    probability: float = limits(low=0, high=1)
    shifts: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_limits(self)
        object.__setattr__(self, "shifts", choose_shifts(self.shifts))

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The image uint8 `[H, W, 3]` itself, or a shifted copy."""
        if rng.random() >= self.probability:
            return image
        shift = self.shifts[int(rng.integers(len(self.shifts)))]
        return apply_shift(image, shift, int(rng.integers(SEVERITIES[0], SEVERITIES[-1] + 1)), rng)


def _check_severity(severity: int) -> None:
    if severity not in SEVERITIES:
        raise InputError(f"severity is {severity}; choose from 1 (mild) to 5")
