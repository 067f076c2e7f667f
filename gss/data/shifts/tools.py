"""What the effects of `gss.data.shifts.apply` are made of: kernels, convolution, drifting noise, layers of particles.

Lengths are fractions of the image's side, the square root of its area, so that an effect looks alike at every size.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image
from scipy import fft

LAYER_SIDE = 416
"""Side of the grid that rain and snow are drawn on (480x360 has this one), before it is stretched over the image."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def to_unit(image: np.ndarray) -> np.ndarray:
    """uint8 to float32 in 0..1."""
    return image.astype(np.float32) * np.float32(1 / 255)


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Float to uint8, rounded; values outside 0..1 are clipped."""
    return np.rint(image * 255).clip(0, 255).astype(np.uint8)


def side(image: np.ndarray) -> float:
    """Square root of the number of pixels of `[H, W, ...]`."""
    return math.sqrt(image.shape[0] * image.shape[1])


def disk(radius: float) -> np.ndarray:
    """Antialiased disk, float32 `[k, k]` with sum 1; `radius` in pixels, below 0.5 it does nothing."""
    reach = math.ceil(radius)
    offsets = np.arange(-reach, reach + 1)
    kernel = (radius + 0.5 - np.hypot(offsets[:, None], offsets)).clip(0, 1).astype(np.float32)
    return kernel / kernel.sum()


def line(length: float, angle: float) -> np.ndarray:
    """Antialiased line through the centre, float32 `[k, k]` with sum 1.

    Args:
        length: in pixels.
        angle: in radians; 0 is horizontal, pi / 2 vertical.
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
    """Convolution of every channel, the image mirrored at its border.

    By Fourier transform: kernels grow with the image, and the time must not grow with both.

    Args:
        image: float32 `[H, W]` or `[H, W, C]`.
        kernel: `[k, k]`, k odd.
    """
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    reach = kernel.shape[0] // 2
    # numpy repeats "symmetric" as often as needed where the kernel is larger than the image.
    padded = np.pad(planes, ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
    height, width = padded.shape[1:]
    shape = fft.next_fast_len(height, real=True), fft.next_fast_len(width, real=True)
    spectrum = fft.rfft2(padded, shape) * fft.rfft2(kernel, shape)
    found = fft.irfft2(spectrum, shape)[:, 2 * reach : height, 2 * reach : width]
    return found[0] if image.ndim == 2 else found.transpose(1, 2, 0)


def clouds(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Smooth random field, float32 `[H, W]` in 0..1: three octaves from a third of the image down to a twelfth."""
    height, width = shape
    field = np.zeros(shape, np.float32)
    for octave, cells in enumerate((3, 6, 12)):
        coarse = Image.fromarray(rng.random((cells + 1, cells + 1), np.float32))
        field += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) * 0.5**octave
    return ((field - 0.35) / 1.05).clip(0, 1)


def particles(
    rng: np.random.Generator, shape: tuple[int, int], *, count: int, most: int, kernel: np.ndarray
) -> np.ndarray:
    """Layer of equal particles at random places, float32 `[H, W]` in 0..1, how much each pixel is covered.

    Args:
        rng: draws the same places for every `count`; a larger one adds particles.
        shape: H and W of the image.
        count: number of particles on a square image, kept per area.
        most: largest `count` that is ever asked for.
        kernel: shape of one particle on a grid of `LAYER_SIDE`; its peak covers its pixel.
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
