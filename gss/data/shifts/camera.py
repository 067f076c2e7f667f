"""Effects of light, color, sensor, lens and compression; see `gss.data.shifts.apply`.

Each function takes an image uint8 `[H, W, 3]`, a severity 1..5 and a random generator, and returns a new image of the
same shape. The tuple at the top of a function holds its strength at each severity.
"""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from gss.data.shifts.tools import LUMA, convolve, disk, line, side, to_bytes, to_unit

_LEVELS = np.arange(256, dtype=np.float32) / 255
_DISPLAY = 2.2
"""Exponent from stored values to light."""


def brightness(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Over-expose by 0.7 to 2.8 stops; bright tones are clipped."""
    stops = (0.7, 1.2, 1.7, 2.2, 2.8)[severity - 1]
    return to_bytes(_LEVELS * 2 ** (stops / _DISPLAY))[image]


def darkness(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Under-expose by 0.8 to 3.6 stops; dark tones merge."""
    stops = (0.8, 1.4, 2.1, 2.8, 3.6)[severity - 1]
    return to_bytes(_LEVELS * 2 ** (-stops / _DISPLAY))[image]


def contrast(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Reduce the contrast around the mean luminance to 75 (severity 1) down to 15 % (severity 5)."""
    share = (0.75, 0.55, 0.4, 0.26, 0.15)[severity - 1]
    mean = float(image.mean(axis=(0, 1), dtype=np.float64) @ LUMA) / 255
    return to_bytes(mean + share * (_LEVELS - mean))[image]


def saturation(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Reduce the saturation to 70 down to 0 %; severity 5 is a grey image."""
    share = np.float32((0.7, 0.45, 0.25, 0.1, 0.0)[severity - 1])
    unit = to_unit(image)
    grey = (unit @ LUMA)[..., None]
    return to_bytes(grey + share * (unit - grey))


def white_balance(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Add a warm or cool color cast: red and blue differ by 0.4 to 2.2 stops, with a little green or magenta."""
    strength = (0.2, 0.4, 0.6, 0.85, 1.1)[severity - 1]
    warm = 1 if rng.random() < 0.5 else -1
    tint = rng.uniform(-0.25, 0.25)
    gains = np.exp2(np.array([warm, tint, -warm]) * strength / _DISPLAY)
    gains /= gains @ LUMA  # the luminance of grey stays
    return _tables(image, to_bytes(_LEVELS[:, None] * gains.astype(np.float32)))


def gamma(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Apply the tone curve x^g with g from 1.2 to 2.6, or its inverse: mid-tones get too dark or too bright."""
    exponent = (1.2, 1.45, 1.75, 2.15, 2.6)[severity - 1]
    return to_bytes(_LEVELS ** (exponent if rng.random() < 0.5 else 1 / exponent))[image]


def gaussian_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Add noise to every pixel and channel, standard deviation 0.04 to 0.26 of the range."""
    deviation = np.float32((0.04, 0.07, 0.11, 0.17, 0.26)[severity - 1])
    return to_bytes(to_unit(image) + deviation * rng.standard_normal(image.shape, np.float32))


def shot_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Replace values by Poisson counts of photons; white is 120 down to 5 photons."""
    photons = (120, 50, 22, 10, 5)[severity - 1]
    counts = rng.poisson((_LEVELS * photons)[image])
    return to_bytes(counts.astype(np.float32) / photons)


def defocus_blur(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Blur as an out-of-focus lens: a disk of radius 0.3 to 1.6 % of the side, 1.2 to 6.7 pixels at 480x360."""
    radius = (0.003, 0.005, 0.0075, 0.011, 0.016)[severity - 1] * side(image)
    return to_bytes(convolve(to_unit(image), disk(radius)))


def motion_blur(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Blur along a line in a random direction, 1 to 8 % of the side long, 4 to 33 pixels at 480x360."""
    length = (0.01, 0.02, 0.035, 0.055, 0.08)[severity - 1] * side(image)
    return to_bytes(convolve(to_unit(image), line(length, rng.uniform(0, math.pi))))


def jpeg(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Compress as JPEG of quality 35 down to 6, colors at half the resolution."""
    quality = (35, 22, 14, 9, 6)[severity - 1]
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return np.array(Image.open(buffer))


def pixelate(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Reduce to 60 down to 12 % of height and width, then enlarge without smoothing."""
    share = (0.6, 0.42, 0.29, 0.19, 0.12)[severity - 1]
    height, width = image.shape[:2]
    small = (max(1, round(width * share)), max(1, round(height * share)))
    reduced = Image.fromarray(image).resize(small, Image.Resampling.BOX)
    return np.array(reduced.resize((width, height), Image.Resampling.NEAREST))


def _tables(image: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Map each channel of an image through its column of a table uint8 `[256, 3]`."""
    return tables[image, np.arange(3)]
