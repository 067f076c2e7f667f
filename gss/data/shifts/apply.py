"""Shifts: photometric and weather-like changes of an image at five severities; labels stay as they are.

The effects need Pillow, NumPy and SciPy alone: no maintained library has them at graded severities, for every image
size and from a given random generator. The severities are defined here and compare with no published benchmark.

Random choices (noise, direction of rain, warm or cool light) depend on (seed, shift, image id) alone: they are the same
on any machine, in any order and in any number of processes. They do not depend on the severity, so the five severities
of an image are five strengths of one event. Library versions may round a grey level differently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from gss.config.limits import check_limits, limits
from gss.core.errors import InputError, quoted, unknown_name
from gss.data.shifts import camera, weather

if TYPE_CHECKING:
    from gss.data.protocols import ReadableImages


Effect = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]

SEVERITIES = (1, 2, 3, 4, 5)

_EFFECTS: dict[str, tuple[Effect, ...]] = {
    "photometric": (
        camera.brightness,
        camera.darkness,
        camera.contrast,
        camera.saturation,
        camera.white_balance,
        camera.gamma,
    ),
    "noise": (camera.gaussian_noise, camera.shot_noise),
    "blur": (camera.defocus_blur, camera.motion_blur),
    "digital": (camera.jpeg, camera.pixelate),
    "weather": (weather.fog, weather.rain, weather.snow, weather.night),
}

SHIFTS: dict[str, Effect] = {effect.__name__: effect for effects in _EFFECTS.values() for effect in effects}
"""Effects by name, in the order of all tables."""

GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(effect.__name__ for effect in effects) for group, effects in _EFFECTS.items()
}
"""Names of the shifts of each group."""


def choose_shifts(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of shifts that names of shifts and groups stand for, each once; all if there is no name.

    Raises:
        InputError: unknown name.
    """
    if isinstance(names, str):
        raise InputError(f"shifts is the text {quoted(names)}; give a list of names")
    chosen: dict[str, None] = {}
    for name in names:
        if name not in SHIFTS and name not in GROUPS:
            raise unknown_name("shift or group", name, [*SHIFTS, *GROUPS], plural="shifts and groups")
        chosen |= dict.fromkeys(GROUPS.get(name, (name,)))
    return tuple(chosen) or tuple(SHIFTS)


def choose_severities(severities: Iterable[int]) -> tuple[int, ...]:
    """Return severities in ascending order, each once.

    Raises:
        InputError: there is none, or one is not in 1..5.
    """
    chosen = tuple(sorted(set(severities)))
    if not chosen:
        raise InputError("severities is empty; choose from 1, 2, 3, 4, 5")
    for severity in chosen:
        _check_severity(severity)
    return chosen


def shift_generator(seed: int, shift: str, id: str) -> np.random.Generator:
    """Return a random generator that depends on the arguments alone."""
    digest = hashlib.blake2b(f"{seed}\0{shift}\0{id}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def apply_shift(image: np.ndarray, shift: str, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Shift one image.

    Args:
        image: uint8 RGB `[H, W, 3]` of any size; never written to.
        shift: one of `SHIFTS`.
        severity: 1 (mild) to 5.
        rng: random generator.

    Returns:
        New image, uint8 `[H, W, 3]`.

    Raises:
        InputError: unknown shift, severity not in 1..5, or another kind of image.
    """
    _check(shift, severity)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"image must be uint8 RGB [H, W, 3] with pixels, got {image.dtype} {list(image.shape)}")
    return SHIFTS[shift](image, severity, rng)


class ShiftedImages:
    """A data set with one shift applied to its images; ids and labels stay as they are.

    Args:
        dataset: data set.
        shift: one of `SHIFTS`.
        severity: severity, 1 to 5.
        seed: seed of the random choices.

    Raises:
        InputError: unknown shift, or severity not in 1..5.
    """

    def __init__(self, dataset: ReadableImages, shift: str, severity: int, *, seed: int = 0) -> None:
        _check(shift, severity)
        self.dataset, self.shift, self.severity, self.seed = dataset, shift, severity, seed
        self.ids = dataset.ids
        self.label_space = dataset.label_space

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Return the shifted PIL RGB image, and the labels as the data set gives them."""
        image, labels = self.dataset.read(index)
        rng = shift_generator(self.seed, self.shift, self.ids[index])
        return Image.fromarray(apply_shift(np.asarray(image), self.shift, self.severity, rng)), labels


@dataclass(frozen=True)
class RandomShift:
    """Augmentation by one random shift at a random severity, with some probability.

    Args:
        probability: probability of a shift, 0 to 1.
        shifts: names of shifts and groups to draw from; all if empty.

    Raises:
        InputError: probability out of range, or an unknown name.
    """

    probability: float = limits(low=0, high=1)
    shifts: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_limits(self)
        object.__setattr__(self, "shifts", choose_shifts(self.shifts))

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image uint8 `[H, W, 3]` itself, or a shifted copy."""
        if rng.random() >= self.probability:
            return image
        shift = self.shifts[int(rng.integers(len(self.shifts)))]
        return apply_shift(image, shift, int(rng.integers(SEVERITIES[0], SEVERITIES[-1] + 1)), rng)


def _check(shift: str, severity: int) -> None:
    if shift not in SHIFTS:
        choose_shifts([shift])
        raise InputError(f"shift {quoted(shift)} is a group of {', '.join(GROUPS[shift])}; name one of them")
    _check_severity(severity)


def _check_severity(severity: int) -> None:
    if severity not in SEVERITIES:
        raise InputError(f"severity is {severity}; choose from 1 (mild) to 5")
