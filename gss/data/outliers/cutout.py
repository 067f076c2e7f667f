"""Cutting one object out of its picture."""

from __future__ import annotations

import numpy as np
from PIL import Image


def cutout(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """Return the object of a mask, bool `[H, W]` with at least one pixel, as `Objects.cut` does."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    alpha = np.where(mask[box], 255, 0).astype(np.uint8)
    return Image.fromarray(np.dstack([np.asarray(image)[box], alpha]))
