"""Weather and night; see `gss.data.shifts.apply`, and `gss.data.shifts.camera` for the arguments of an effect.

Photographs have no depth. Effects that need the distance guess it from the row: near at the bottom, rising up to two
fifths below the top, and constant above. This fits a camera that looks along the ground.
"""

from __future__ import annotations

import math

import numpy as np

from gss.data.shifts.tools import LUMA, clouds, convolve, disk, line, particles, to_bytes, to_unit


def fog(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Add a grey veil that grows with the guessed distance, in banks; far away it replaces 40 to 92 % of the light."""
    depth = (0.5, 0.85, 1.25, 1.8, 2.6)[severity - 1]
    air = np.array([0.80, 0.82, 0.83], np.float32) + np.float32(rng.uniform(-0.06, 0.06))
    banks = 0.65 + 0.7 * clouds(rng, image.shape[:2])
    passed = np.exp(-depth * _distance(image.shape[0])[:, None] * banks)[..., None]
    return to_bytes(air + (to_unit(image) - air) * passed)


def rain(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Add near and far slanted streaks, darken the image and add a thin veil."""
    count = (250, 500, 900, 1500, 2300)[severity - 1]
    dim, veil = (0.04, 0.10, 0.16, 0.23, 0.30)[severity - 1], (0.06, 0.12, 0.19, 0.27, 0.36)[severity - 1]
    slant = math.pi / 2 + rng.uniform(-0.35, 0.35)
    shape = image.shape[:2]
    far = particles(rng, shape, count=2 * count, most=4600, kernel=line(11, slant))
    near = particles(rng, shape, count=count // 4, most=575, kernel=line(26, slant))
    streaks = (0.30 * far + 0.55 * near).clip(0, 0.85)[..., None]
    wet = to_unit(image) * np.float32(1 - dim)
    grey = np.float32(0.62 - 0.4 * dim)
    # Distant things are veiled more, by the drops in between.
    air = np.float32(veil) * (0.4 + 0.6 * _distance(image.shape[0]))[:, None, None]
    hazy = wet + air * (grey - wet)
    return to_bytes(hazy + streaks * (np.float32(0.82) - hazy))


def snow(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Add falling flakes of three sizes, and make the scene whiter and paler."""
    count = (180, 350, 600, 950, 1400)[severity - 1]
    veil = np.float32((0.10, 0.18, 0.27, 0.37, 0.48)[severity - 1])
    fall = math.pi / 2 + rng.uniform(-0.5, 0.5)
    shape = image.shape[:2]
    cover = np.zeros(shape, np.float32)
    for share, radius, length in ((2.0, 0.7, 2.0), (0.6, 1.4, 4.0), (0.1, 2.8, 7.0)):
        flake = convolve(np.pad(disk(radius), 6), line(length, fall))
        most = round(1400 * share)
        cover += 0.9 * particles(rng, shape, count=round(count * share), most=most, kernel=flake)
    unit = to_unit(image)
    grey = (unit @ LUMA)[..., None]
    pale = grey + (1 - veil) * (unit - grey)
    pale += veil * (0.6 + 0.4 * _distance(image.shape[0]))[:, None, None] * (np.float32(0.9) - pale)
    return to_bytes(pale + cover.clip(0, 0.95)[..., None] * (np.float32(0.96) - pale))


def night(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Turn day into night: little light, mostly in the lower middle, a cast of moon or street lamps, sensor noise."""
    # A camera exposes longer at night, so pictures of dark and of bright places get about equally dark.
    level = (0.22, 0.18, 0.145, 0.115, 0.09)[severity - 1]
    most = (1.20, 1.00, 0.82, 0.66, 0.52)[severity - 1]
    fade = np.float32((0.25, 0.35, 0.45, 0.55, 0.65)[severity - 1])
    deviation = np.float32((0.010, 0.017, 0.025, 0.034, 0.045)[severity - 1])
    lamps = rng.random() < 0.5
    cast = np.array([1.12, 0.96, 0.72] if lamps else [0.82, 0.94, 1.16], np.float32)
    unit = to_unit(image)
    grey = (unit @ LUMA)[..., None]
    dull = grey + (1 - fade) * (unit - grey)
    # The sky is no longer a source of light: the tone curve is flatter towards white.
    dull *= 1 - 0.8 * fade * dull
    height, width = image.shape[:2]
    across = (np.arange(width, dtype=np.float32) + 0.5) * 2 / width - 1
    near = 1 - _distance(height)
    pool = (0.5 + 0.5 * near[:, None] * (1 - 0.5 * across**2))[..., None]
    lit = dull * pool
    light = np.float32(min(most, level / max(float(lit.mean(dtype=np.float64)), 1e-6)))
    return to_bytes(lit * light * cast + deviation * rng.standard_normal(image.shape, np.float32))


def _distance(height: int) -> np.ndarray:
    """Return the guessed distance of each row, float32 `[H]`: 0.12 at the bottom, 1 from two fifths below the top."""
    rows = (np.arange(height, dtype=np.float32) + 0.5) / height
    ahead = ((1 - rows) / 0.6).clip(0, 1)
    return (0.12 + 0.88 * ahead**1.5).astype(np.float32)
