"""Kernels, convolution, smooth noise and layers of particles for the effects of `gss.data.shifts.apply`.

Lengths are fractions of the image's side (the square root of its area), so an effect looks the same at every size.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image
from scipy import fft

LAYER_SIDE = 416
"""Side of the grid for rain and snow, in pixels (that of 480x360); the grid is then stretched over the image."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def to_unit(image: np.ndarray) -> np.ndarray:
    """Return uint8 values as float32 in 0..1."""
    return image.astype(np.float32) * np.float32(1 / 255)


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Return values in 0..1 as uint8, rounded; values outside are clipped."""
    return np.rint(image * 255).clip(0, 255).astype(np.uint8)


def side(image: np.ndarray) -> float:
    """Return the side of an image `[H, W, ...]`: the square root of its number of pixels."""
    return math.sqrt(image.shape[0] * image.shape[1])


def disk(radius: float) -> np.ndarray:
    """Return an antialiased disk, float32 `[k, k]` with sum 1; `radius` in pixels, below 0.5 without effect."""
    reach = math.ceil(radius)
    offsets = np.arange(-reach, reach + 1)
    kernel = (radius + 0.5 - np.hypot(offsets[:, None], offsets)).clip(0, 1).astype(np.float32)
    return kernel / kernel.sum()


def line(length: float, angle: float) -> np.ndarray:
    """Return an antialiased line through the center, float32 `[k, k]` with sum 1.

    Args:
        length: length in pixels.
        angle: angle in radians; 0 is horizontal, pi / 2 vertical.
    """
    reach = math.ceil(length / 2) + 1
    along = np.linspace(-length / 2, length / 2, 4 * math.ceil(length) + 1)
    rows, columns = reach + along * math.sin(angle), reach + along * math.cos(angle)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    for dy, share_y in ((0, 1 - rows + top), (1, rows - top)):
        for dx, share_x in ((0, 1 - columns + left), (1, columns - left)):
            np.add.at(kernel, (top + dy, left + dx), share_y * share_x)
    return kernel / kernel.sum()


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve every channel with a kernel; the image is mirrored at its border.

    Computed by Fourier transform, because the kernels grow with the image.

    Args:
        image: float32 `[H, W]` or `[H, W, C]`.
        kernel: float32 `[k, k]`, k odd.

    Returns:
        float32 in the shape of `image`.
    """
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)  # [C, H, W]
    reach = kernel.shape[0] // 2
    # NumPy repeats "symmetric" as often as needed if the kernel is larger than the image.
    padded = np.pad(planes, ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
    height, width = padded.shape[1:]
    shape = fft.next_fast_len(height, real=True), fft.next_fast_len(width, real=True)
    spectrum = fft.rfft2(padded, shape) * fft.rfft2(kernel, shape)
    filtered = fft.irfft2(spectrum, shape)[:, 2 * reach : height, 2 * reach : width]  # [C, H, W]
    return filtered[0] if image.ndim == 2 else filtered.transpose(1, 2, 0)


def clouds(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return a smooth random field, float32 `[H, W]` in 0..1, from octaves of 1/3, 1/6 and 1/12 of the image."""
    height, width = shape
    field = np.zeros(shape, np.float32)
    for octave, cells in enumerate((3, 6, 12)):
        coarse = Image.fromarray(rng.random((cells + 1, cells + 1), np.float32))
        field += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) * 0.5**octave
    return ((field - 0.35) / 1.05).clip(0, 1)


def particles(
    rng: np.random.Generator, shape: tuple[int, int], *, count: int, most: int, kernel: np.ndarray
) -> np.ndarray:
    """Return how much equal particles at random places cover each pixel, float32 `[H, W]` in 0..1.

    Args:
        rng: random generator; the places are the same for every `count`, a larger one adds particles.
        shape: (H, W) of the image.
        count: number of particles.
        most: largest `count` of the effect.
        kernel: shape of one particle on a grid of `LAYER_SIDE`; at its peak the pixel is covered.
    """
    scale = LAYER_SIDE / math.sqrt(shape[0] * shape[1])
    height, width = (max(1, round(length * scale)) for length in shape)
    places = rng.random((most, 2)).astype(np.float32)[:count]
    weights = rng.uniform(0.5, 1.0, most).astype(np.float32)[:count]
    grid = np.zeros((height, width), np.float32)
    np.add.at(grid, ((places[:, 0] * height).astype(int), (places[:, 1] * width).astype(int)), weights)
    layer = convolve(grid, kernel / kernel.max()).clip(0, 1)
    stretched = Image.fromarray(layer).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(stretched)
