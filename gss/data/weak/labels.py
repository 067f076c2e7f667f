"""Weak labels of one image, kept as coordinates until scaling, cropping and mirroring are done.

A click is one pixel. Resizing a label map by nearest neighbor loses many of them (a third at random scales of 0.5 to
1). Coordinates that are transformed first and drawn afterwards lose none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from gss.core.errors import InputError
from gss.data.weak.raster import paint_segments
from gss.labels.counts import count_labels
from gss.labels.space import IGNORE_INDEX

if TYPE_CHECKING:
    from gss.data.transforms import Window


Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Stroke:
    """A polyline of one class; with one vertex it is a click.

    Args:
        label: class 0..K-1.
        xy: vertices `[n, 2]`; the center of pixel (row i, column j) is (j + 0.5, i + 0.5).
        width: width of the line, or diameter of the disc, in pixels.
    """

    label: int
    xy: np.ndarray
    width: float = 3.0

    def __post_init__(self) -> None:
        xy = np.asarray(self.xy, dtype=np.float64)
        if xy.ndim != 2 or xy.shape[1] != 2 or not len(xy) or not np.isfinite(xy).all():
            raise InputError(f"a stroke needs finite vertices [n, 2] with n of at least 1, got shape {xy.shape}")
        if not 0 < self.width < float("inf"):
            raise InputError(f"width of a stroke is {self.width}; it must be above 0 pixels")
        object.__setattr__(self, "xy", xy)


@dataclass(frozen=True)
class WeakTarget:
    """Weak labels as pixels.

    Attributes:
        labels: uint8 `[H, W]`, 255 where unlabelled or padded.
        valid: bool `[H, W]`, False on padding.
        tags: bool `[K]`, classes known to be in the whole image, even if a crop shows none of them.
        exhaustive: whether no other class is in the image.
    """

    labels: np.ndarray
    valid: np.ndarray
    tags: np.ndarray
    exhaustive: bool


@dataclass(frozen=True, eq=False)
class WeakLabels:
    """Tags, clicks, strokes, boxes and partial masks of one image; any of them may be absent.

    Args:
        id: id of the image.
        size: (H, W) of the image.
        num_classes: K.
        strokes: scribbles, and clicks as strokes of one vertex.
        boxes: boxes `[N, 5]` of x0, y0, x1, y1, class, in pixels; edges are continuous, so x1 - x0 is the width.
        partial: labels where known, uint8 `[H, W]`, 255 elsewhere.
        tags: classes named for the image, bool `[K]`.
        exhaustive: whether the classes that occur in any of these are all that the image holds.
        boxes_exhaustive: whether everything outside all boxes is `background`.
        background: class of what lies outside all boxes, if there is one.
        core: share of the sides of a box in which its class is drawn; 0 draws none.
        valid: pixels of the image, not of padding, bool `[H, W]`; all by default.
        mirrored: whether left and right are swapped; it decides on pixels that the edge of a box halves.

    Raises:
        InputError: classes outside 0..K-1, or arrays of a wrong shape.
    """

    id: str
    size: Size
    num_classes: int
    strokes: Sequence[Stroke] = ()
    boxes: np.ndarray = field(default_factory=lambda: np.empty((0, 5)))
    partial: np.ndarray | None = None
    tags: np.ndarray | None = None
    exhaustive: bool = False
    boxes_exhaustive: bool = False
    background: int | None = None
    core: float = 0.75
    valid: np.ndarray | None = None
    mirrored: bool = False

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, dtype=np.float64).reshape(-1, 5)
        object.__setattr__(self, "boxes", boxes)
        used = [stroke.label for stroke in self.strokes] + boxes[:, 4].astype(int).tolist()
        used += [] if self.background is None else [self.background]
        strange = [label for label in used if not 0 <= label < self.num_classes]
        if strange:
            raise InputError(f"{self.id}: class {strange[0]} is outside 0..{self.num_classes - 1}")
        if len(boxes) and not (np.isfinite(boxes).all() and (boxes[:, 2:4] > boxes[:, :2]).all()):
            raise InputError(f"{self.id}: a box has no area; it needs x0 < x1 and y0 < y1")
        if self.partial is not None:
            if self.partial.shape != self.size:
                raise InputError(f"{self.id}: partial mask is {self.partial.shape}, the image is {self.size}")
            known = self.partial[self.partial != IGNORE_INDEX]
            if known.size and known.max() >= self.num_classes:
                raise InputError(f"{self.id}: partial mask holds {known.max()}, allowed are 0..{self.num_classes - 1}")
        if self.tags is not None and np.shape(self.tags) != (self.num_classes,):
            raise InputError(f"{self.id}: tags have shape {np.shape(self.tags)}, there are {self.num_classes} classes")

    @property
    def points(self) -> np.ndarray:
        """Clicks `[N, 3]`: x, y, class."""
        clicks = [(*stroke.xy[0], stroke.label) for stroke in self.strokes if len(stroke.xy) == 1]
        return np.array(clicks, dtype=np.float64).reshape(-1, 3)

    def present(self) -> np.ndarray:
        """Return the classes known to be in the image: tagged, drawn, boxed or in the partial mask; bool `[K]`."""
        present = np.zeros(self.num_classes, bool) if self.tags is None else np.array(self.tags, bool)
        present[[stroke.label for stroke in self.strokes]] = True
        present[self.boxes[:, 4].astype(int)] = True
        if self.background is not None and self.boxes_exhaustive:
            present[self.background] = True
        if self.partial is not None:
            present |= count_labels(self.partial)[: self.num_classes] > 0
        return present

    def outside(self) -> int:
        """Return the number of strokes and boxes that reach outside the image (a box by more than a pixel)."""
        height, width = self.size
        strokes = sum(bool((s.xy < 0).any() or (s.xy > (width, height)).any()) for s in self.strokes)
        low, high = self.boxes[:, :2], self.boxes[:, 2:4]
        return strokes + int(((low < -1).any(1) | (high > (width + 1, height + 1)).any(1)).sum())

    def clipped(self) -> WeakLabels:
        """Return the labels with all coordinates moved onto the image, without boxes that lie outside it."""
        height, width = self.size
        strokes = [replace(s, xy=np.clip(s.xy, 0, (width, height))) for s in self.strokes]
        boxes = np.column_stack([np.clip(self.boxes[:, :4], 0, (width, height) * 2), self.boxes[:, 4]])
        return replace(self, strokes=strokes, boxes=boxes[(boxes[:, 2:4] > boxes[:, :2]).all(1)])

    def merged(self, other: WeakLabels) -> WeakLabels:
        """Return the labels of both, for one image; where partial masks disagree the other one counts."""
        partial = self.partial if other.partial is None else other.partial
        if self.partial is not None and other.partial is not None:
            partial = np.where(other.partial == IGNORE_INDEX, self.partial, other.partial)
        return replace(
            self,
            strokes=[*self.strokes, *other.strokes],
            boxes=np.concatenate([self.boxes, other.boxes]),
            partial=partial,
            tags=self.present() | other.present(),
            exhaustive=self.exhaustive or other.exhaustive,
            boxes_exhaustive=self.boxes_exhaustive or other.boxes_exhaustive,
        )

    def transform(self, window: Window) -> WeakLabels:
        """Return the labels of a crop of the scaled and possibly mirrored image, still as coordinates.

        Strokes keep their width relative to the image.

        Args:
            window: scale, crop and mirroring, as drawn by `gss.data.transforms.JointTransform.place`.
        """
        (height, width), (scaled_height, scaled_width) = self.size, window.scaled
        crop_height, crop_width = window.size

        def place(xy: np.ndarray) -> np.ndarray:
            # Multiplied before divided: the result is exact wherever it can be, as for the partial mask.
            x = xy[..., 0] * scaled_width / width - window.left
            y = xy[..., 1] * scaled_height / height - window.top
            return np.stack([crop_width - x if window.flip else x, y], axis=-1)

        zoom = (scaled_height * scaled_width / (height * width)) ** 0.5
        corners = place(self.boxes[:, :4].reshape(-1, 2, 2))
        low, high = corners.min(axis=1, initial=np.inf), corners.max(axis=1, initial=-np.inf)
        return replace(
            self,
            size=window.size,
            strokes=[Stroke(s.label, place(s.xy), s.width * zoom) for s in self.strokes],
            boxes=np.column_stack([low, high, self.boxes[:, 4]]),
            partial=None if self.partial is None else window.labels(self.partial),
            tags=self.present(),
            valid=window.inside() if self.valid is None else window.labels(self.valid.astype(np.uint8)) == 1,
            mirrored=self.mirrored != window.flip,
        )

    def rasterize(self) -> WeakTarget:
        """Draw the labels.

        1. Boxes, the smallest last: outside all of them is background if they are exhaustive, the core of a box has
           its class (a guess), and the rest of a box is unlabelled.
        2. The partial mask.
        3. Strokes.
        4. The pixel of each click, so that no click inside the image is lost.
        """
        labels = np.full(self.size, IGNORE_INDEX, np.uint8)
        if self.boxes_exhaustive and self.background is not None:
            labels[:] = self.background
        self._paint_boxes(labels)
        if self.partial is not None:
            labels = np.where(self.partial == IGNORE_INDEX, labels, self.partial)
        self._paint_strokes(labels)
        valid = np.ones(self.size, bool) if self.valid is None else self.valid
        labels[~valid] = IGNORE_INDEX
        return WeakTarget(labels, valid, self.present(), self.exhaustive)

    def _paint_boxes(self, labels: np.ndarray) -> None:
        areas = (self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1])
        for x0, y0, x1, y1, label in self.boxes[np.argsort(-areas, kind="stable")]:
            labels[self._pixels(y0, y1, 0), self._pixels(x0, x1, 1)] = IGNORE_INDEX
            if self.core > 0:
                x_rim, y_rim = (1 - self.core) / 2 * (x1 - x0), (1 - self.core) / 2 * (y1 - y0)
                rows, columns = self._pixels(y0 + y_rim, y1 - y_rim, 0), self._pixels(x0 + x_rim, x1 - x_rim, 1)
                labels[rows, columns] = int(label)

    def _pixels(self, low: float, high: float, axis: int) -> slice:
        """Return the pixels along an axis with centers in [low, high), or in (low, high] if that axis is mirrored."""
        if axis == 1 and self.mirrored:
            first, last = np.floor(low - 0.5) + 1, np.floor(high - 0.5) + 1
        else:
            first, last = np.ceil(low - 0.5), np.ceil(high - 0.5)
        first, last = np.clip([first, last], 0, self.size[axis])
        return slice(int(first), int(last))

    def _paint_strokes(self, labels: np.ndarray) -> None:
        if not self.strokes:
            return
        starts = np.concatenate([s.xy[:-1] if len(s.xy) > 1 else s.xy for s in self.strokes])
        ends = np.concatenate([s.xy[1:] if len(s.xy) > 1 else s.xy for s in self.strokes])
        counts = [max(len(s.xy) - 1, 1) for s in self.strokes]
        radii = np.repeat([max(s.width / 2, 0.5) for s in self.strokes], counts)
        paint_segments(labels, starts, ends, radii, np.repeat([s.label for s in self.strokes], counts))
        x, y, classes = self.points.T
        rows, columns = np.floor(y).astype(int), np.floor(x).astype(int)
        seen = (rows >= 0) & (rows < self.size[0]) & (columns >= 0) & (columns < self.size[1])
        labels[rows[seen], columns[seen]] = classes[seen]
