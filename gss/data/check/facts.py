"""Properties of image files that readers ignore or must change, and that are often mistakes."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gss.core.errors import InputError
from gss.data.images import decode, has_alpha, image_from_pil, orientation

_PAGED = ("TIFF", "GIF", "PNG", "WEBP")


@dataclass(frozen=True)
class ImageFacts:
    """Properties of an image.

    Args:
        orientation: EXIF orientation, 1..8.
        pages: number of pages or frames, of which the first is read.
        partial_alpha: share of pixels that are neither opaque nor transparent, 0..1; None without alpha.
        transparent: True if every pixel is transparent.
        largest: largest value of an image with 16 bits per channel; None for others.
        digest: hash of size and RGB pixels; empty for an image of one colour.
    """

    orientation: int
    pages: int
    partial_alpha: float | None
    transparent: bool
    largest: int | None
    digest: bytes


@dataclass(frozen=True)
class MaskFacts:
    """Properties of a mask.

    Args:
        orientation: EXIF orientation, 1..8.
        pages: number of pages or frames, of which the first is read.
        palette: RGB colour of each palette index that occurs; empty for masks without a palette.
    """

    orientation: int
    pages: int
    palette: dict[int, tuple[int, int, int]]


def inspect_image(path: str | os.PathLike[str]) -> tuple[Image.Image, ImageFacts]:
    """Read an image as `load_image` does, and return its facts too.

    Raises:
        InputError: see `load_image`.
    """
    decoded = decode(path, "image", count_pages=True)
    stored = decoded.image
    try:
        image = image_from_pil(stored)
    except InputError as error:
        raise InputError(f"image {path}: {error}") from error
    partial, transparent, largest = None, False, None
    if has_alpha(stored):
        alpha = np.asarray(stored.convert("RGBA").getchannel("A"))
        partial, transparent = float(((alpha > 0) & (alpha < 255)).mean()), not alpha.any()
    if stored.mode.startswith("I"):
        largest = int(np.asarray(stored).max())
    elif ";16" in decoded.rawmode:  # Pillow keeps the upper 8 bits
        largest = int(np.asarray(stored).max()) << 8 | 255
    pixels = np.asarray(image)
    varied = (pixels != pixels[0, 0]).any()
    digest = hashlib.blake2b(pixels.tobytes() + bytes(str(image.size), "ascii"), digest_size=16).digest()
    return image, ImageFacts(
        decoded.orientation, decoded.pages, partial, transparent, largest, digest if varied else b""
    )


def inspect_mask(path: str | os.PathLike[str], raw: np.ndarray) -> MaskFacts:
    """Return the facts of a mask that has been read, from its header.

    Args:
        path: file of the mask.
        raw: its values, palette indices if it has a palette.
    """
    with Image.open(path) as image:
        pages = getattr(image, "n_frames", 1) if image.format in _PAGED else 1
        # Pillow decodes a whole PNG to look for metadata behind the pixels.
        known = image.format != "PNG" or "exif" in image.info
        turned = orientation(image) if known else 1
        palette = {}
        if image.mode == "P" and raw.ndim == 2:
            colors = np.asarray(image.getpalette("RGB")).reshape(-1, 3)
            used = [index for index in np.unique(raw).tolist() if index < len(colors)]
            palette = {index: (int(colors[index, 0]), int(colors[index, 1]), int(colors[index, 2])) for index in used}
    return MaskFacts(turned, pages, palette)
