"""Masks and confidence maps as PNG files, and pictures of weak labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from gss.core.errors import InputError
from gss.data.images import load_mask
from gss.data.weak.labels import Size, WeakLabels
from gss.data.weak.raster import paint_segments
from gss.labels.space import IGNORE_INDEX, LabelSpace
from gss.report.pictures import colorize, save_picture

_ABSTAIN = (255, 255, 255)


def save_mask(path: Path, labels: np.ndarray, space: LabelSpace) -> None:
    """Write labels uint8 `[H, W]` as a palette PNG in the colors of the classes, 255 white."""
    image = Image.fromarray(labels.astype(np.uint8))
    palette = np.zeros((256, 3), np.uint8)
    palette[: space.num_classes] = space.colors
    palette[IGNORE_INDEX] = _ABSTAIN
    image.putpalette(palette.tobytes())
    save_picture(path, image)


def save_confidence(path: Path, confidence: np.ndarray, *, bits: int = 8) -> None:
    """Write confidence `[H, W]` in 0..1 as a grey PNG of 8 or 16 bits.

    Raises:
        InputError: another number of bits, or values outside 0..1.
    """
    if bits not in (8, 16):
        raise InputError(f"bits is {bits}; confidence is written with 8 or 16 bits")
    if not (confidence.min(initial=0) >= 0 and confidence.max(initial=0) <= 1):  # NaN fails too
        raise InputError(
            f"confidence of {path.name} lies in {confidence.min()}..{confidence.max()}; it must be in 0..1"
        )
    levels = np.round(confidence.astype(np.float64) * (2**bits - 1))
    save_picture(path, Image.fromarray(levels.astype(np.uint8 if bits == 8 else np.uint16)))


def load_confidence(path: Path, size: Size) -> np.ndarray:
    """Return the confidence in a grey image of 8 or 16 bits, float32 `[H, W]` in 0..1.

    Raises:
        InputError: unreadable, or of another size (H, W); names the file.
    """
    levels = load_mask(path)
    if levels.shape != size:
        raise InputError(
            f"confidence {path} is {levels.shape[1]}x{levels.shape[0]}, its image {size[1]}x{size[0]}; resize it"
        )
    return levels.astype(np.float32) / np.float32(255 if levels.dtype == np.uint8 else 65535)


def draw_weak(image: Image.Image, weak: WeakLabels, space: LabelSpace) -> Image.Image:
    """Return the image, paler, with its weak labels: clicks and strokes thicker than they are, boxes as frames."""
    labels = np.full(weak.size, IGNORE_INDEX, np.uint8) if weak.partial is None else weak.partial.copy()
    least = max(3.0, max(weak.size) / 100)
    for stroke in weak.strokes:
        last = stroke.xy[1:] if len(stroke.xy) > 1 else stroke.xy
        first = stroke.xy[: len(last)]
        radius = max(stroke.width, least * (2 if len(stroke.xy) == 1 else 1)) / 2
        paint_segments(labels, first, last, np.full(len(last), radius), np.full(len(last), stroke.label))
    pale = np.asarray(image.convert("RGB")).astype(np.float32) * 0.5 + 127.5
    drawn = np.where((labels == IGNORE_INDEX)[..., None], pale, np.asarray(colorize(labels, space.colors)))
    picture = Image.fromarray(drawn.round().astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for x0, y0, x1, y1, label in weak.boxes:
        frame = [x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)]
        draw.rectangle(frame, outline=space.colors[int(label)], width=max(1, round(least / 3)))
    return picture
