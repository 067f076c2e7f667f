"""Full mask, connected components and random generator, for all makers of weak labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from gss.data.weak.raster import paint_segments
from gss.labels.counts import count_labels


@dataclass(frozen=True, eq=False)
class Truth:
    """Full mask of an image.

    Args:
        id: id of the image.
        labels: class numbers, uint8 `[H, W]`, 255 where void.
        num_classes: K.
        background: class called background, if there is one.
        companions: number of images that show both of two classes `[K, K]`, for wrong tags.
    """

    id: str
    labels: np.ndarray
    num_classes: int
    background: int | None = None
    companions: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.labels.shape[0], self.labels.shape[1]

    def counts(self) -> np.ndarray:
        """Return the number of pixels of each class `[K]`."""
        return count_labels(self.labels)[: self.num_classes]


@dataclass(frozen=True, eq=False)
class Region:
    """A connected component of one class.

    Args:
        label: class.
        top, left: row and column of its bounding box.
        mask: component in its bounding box, bool `[h, w]`.
        area: number of pixels.
    """

    label: int
    top: int
    left: int
    mask: np.ndarray
    area: int
    depth: np.ndarray = field(init=False, repr=False)
    """Distance of each pixel of the component to the nearest pixel that is not in it, or to the image's edge."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", ndimage.distance_transform_edt(np.pad(self.mask, 1))[1:-1, 1:-1])

    def place(self, xy: np.ndarray) -> np.ndarray:
        """Return coordinates in the image from coordinates in the bounding box."""
        return xy + (self.left, self.top)


def generator(seed: int, id: str, form: str) -> np.random.Generator:
    """Return a random generator that depends on the arguments alone, the same on every machine."""
    digest = hashlib.blake2b(f"{seed}\0{id}\0{form}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def regions(truth: Truth, min_area: int, *, every_class: bool = True) -> Iterator[Region]:
    """Yield the components of at least `min_area` pixels, class after class, in reading order.

    Args:
        truth: full mask.
        min_area: smallest number of pixels.
        every_class: whether a class without such a component gives its largest one.
    """
    for label in np.flatnonzero(truth.counts()).tolist():
        numbered, count = ndimage.label(truth.labels == label)
        areas = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
        chosen = areas >= min_area
        if every_class and not chosen.any():
            chosen[areas.argmax()] = True
        boxes = ndimage.find_objects(numbered)
        for number in np.flatnonzero(chosen).tolist():
            rows, columns = boxes[number]
            mask = numbered[rows, columns] == number + 1
            yield Region(label, rows.start, columns.start, mask, int(areas[number]))


def disc(width: float) -> np.ndarray:
    """Return the pixels whose center lies within width / 2 of the center of a pixel: bool `[k, k]`, k odd."""
    reach = int(width / 2)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return x * x + y * y <= (width / 2) ** 2 + 1e-9


def fits(mask: np.ndarray, xy: np.ndarray, width: float) -> bool:
    """Return whether a stroke labels at least one pixel of a mask and none outside it.

    Args:
        mask: bool `[h, w]`; pixels beyond its edge are outside.
        xy: vertices `[n, 2]` in the mask.
        width: width of the stroke in pixels.
    """
    columns, rows = np.floor(xy).astype(int).T
    height, wide = mask.shape
    if (columns < 0).any() or (rows < 0).any() or (columns >= wide).any() or (rows >= height).any():
        return False
    if not mask[rows, columns].all():
        return False
    margin = int(np.ceil(width)) + 1
    painted = np.zeros((height + 2 * margin, wide + 2 * margin), np.uint8)
    starts, ends = (xy[:-1], xy[1:]) if len(xy) > 1 else (xy, xy)
    count = len(starts)
    paint_segments(
        painted, starts + margin, ends + margin, np.full(count, max(width / 2, 0.5)), np.ones(count, np.uint8)
    )
    inner = painted[margin : margin + height, margin : margin + wide] > 0
    return bool(inner.any()) and int(painted.sum()) == int((inner & mask).sum())
