"""Measure the scale of training images: their short sides, and the sizes of the regions that they show."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from gss.core.sampling import evenly_spaced
from gss.data.protocols import ReadableImages
from gss.labels.space import IGNORE_INDEX
from gss.pipeline.scale import TrainScale

# Images read; more change the percentiles little. Smaller regions are noise of the labels.
_IMAGES = 64
_LEAST_PIXELS = 16


def measure_scale(dataset: ReadableImages, images: int = _IMAGES) -> TrainScale:
    """Return the scale of a data set, from images evenly spread over it.

    Args:
        dataset: training images without augmentation.
        images: largest number of images read.
    """
    sides: list[int] = []
    regions: list[int] = []
    for index in evenly_spaced(len(dataset), images):
        image, labels = dataset.read(int(index))
        sides.append(min(image.width, image.height))
        regions += _region_sizes(labels)
    low, short_side, high = (int(round(value)) for value in np.percentile(sides, [5, 50, 95]))
    return TrainScale(short_side, low, high, int(np.median(regions)) if regions else None)


def _region_sizes(labels: np.ndarray) -> list[int]:
    """Return the numbers of pixels of the connected regions of one class, of labels `[H, W]`."""
    sizes: list[int] = []
    for label in np.unique(labels[labels != IGNORE_INDEX]):
        regions, _ = ndimage.label(labels == label)
        sizes += [int(size) for size in np.bincount(regions.ravel())[1:] if size >= _LEAST_PIXELS]
    return sizes
