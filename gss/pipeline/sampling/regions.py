"""Regions to check first: connected regions in which the hypotheses differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from gss.core.records import Record

LEAST_INFORMATION = 0.05
"""Mutual information in nats above which a pixel belongs to a region; two hypotheses of nine differ at 0.35."""

_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Region(Record):
    """A connected region.

    Attributes:
        top: first row of its box, in pixels.
        left: first column of its box.
        height: rows of its box.
        width: columns of its box.
        pixels: number of its pixels.
        information: sum of the mutual information of its pixels, in nats.
        share: share of the mutual information of the whole image, 0..1.
        classes: class names to the share of hypotheses and pixels of the region that show them, the most frequent
            first.
    """

    top: int
    left: int
    height: int
    width: int
    pixels: int
    information: float
    share: float
    classes: Mapping[str, float]


def find_regions(
    information: np.ndarray,
    masks: np.ndarray,
    id2label: Mapping[int, str],
    *,
    least: float = LEAST_INFORMATION,
    limit: int = 50,
) -> list[Region]:
    """Return the connected regions of pixels above a mutual information, the greatest sum first.

    Args:
        information: mutual information `[H, W]` in nats.
        masks: hypotheses, integers `[n, H, W]`.
        id2label: class names by index.
        least: mutual information that pixels must exceed.
        limit: largest number of regions.
    """
    labels, count = ndimage.label(information > least, _EIGHT)
    if not count:
        return []
    index = np.arange(1, count + 1)
    sums = ndimage.sum_labels(information.astype(np.float64), labels, index)
    total = float(information.sum(dtype=np.float64))
    boxes = ndimage.find_objects(labels)
    regions = []
    for number in np.argsort(-sums, kind="stable")[:limit]:
        rows, columns = boxes[number]
        inside = labels[rows, columns] == number + 1
        shown = np.bincount(masks[:, rows, columns][:, inside].ravel(), minlength=len(id2label))
        classes = {
            id2label[int(label)]: float(shown[label] / shown.sum())
            for label in np.argsort(-shown, kind="stable")
            if shown[label]
        }
        regions.append(
            Region(
                top=rows.start,
                left=columns.start,
                height=rows.stop - rows.start,
                width=columns.stop - columns.start,
                pixels=int(inside.sum()),
                information=float(sums[number]),
                share=float(sums[number]) / total,
                classes=classes,
            )
        )
    return regions
