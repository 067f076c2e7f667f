"""Counts over weak labels made from full masks: how much is labelled, where, and how much of it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy import ndimage

from gss.core.records import Record
from gss.data.weak.labels import WeakLabels
from gss.evaluation.images import Unreadable
from gss.labels.counts import count_labels
from gss.labels.space import IGNORE_INDEX
from gss.report.tables import Table, share_text

DISTANCE_EDGES = (0, 1, 2, 4, 8, 16, 32, 64)
"""Lower edges of the bins of distances to the nearest class border, in pixels."""


@dataclass(frozen=True)
class ClassCounts(Record):
    """Weak labels of one class.

    Attributes:
        name: name of the class.
        pixels: labelled pixels.
        share_of_class: share of the pixels of the class that are labelled rightly; None if there are no such pixels.
        images_with_class: images that show the class.
        images_named: images that show the class and whose labels name it.
        images_named_wrongly: images that do not show the class, but whose labels name it.
    """

    name: str
    pixels: int
    share_of_class: float | None
    images_with_class: int
    images_named: int
    images_named_wrongly: int


@dataclass(frozen=True)
class LabelReport(Record):
    """Weak labels of a data set, compared with its full masks.

    Attributes:
        form: form of the labels.
        images: number of images.
        labelled_share: share of all pixels that are labelled.
        labelled_pixels: labelled pixels.
        correct_share: share of the labelled pixels outside void that are right; None without such pixels.
        on_void: labelled pixels on void.
        strokes_per_image, clicks_per_image, boxes_per_image: mean numbers of labels.
        exhaustive_images: images whose labels name all their classes.
        never_labelled: classes that no label names.
        distance_to_boundary: lower edges of bins in pixels (`from_px`), and labelled pixels by distance to the
            nearest class border (`pixels`).
        classes: counts by class.
        unreadable: images that are left out because a file of theirs cannot be read or written.
    """

    schema_version: ClassVar[int] = 1

    form: str
    images: int
    labelled_share: float
    labelled_pixels: int
    correct_share: float | None
    on_void: int
    strokes_per_image: float
    clicks_per_image: float
    boxes_per_image: float
    exhaustive_images: int
    never_labelled: list[str]
    distance_to_boundary: dict[str, list[int]]
    classes: list[ClassCounts]
    unreadable: list[Unreadable] = field(default_factory=list)

    def table(self) -> Table:
        """Return the counts by class, with the counts of all as notes."""
        notes = [
            f"per image: {self.clicks_per_image:.1f} clicks, {self.strokes_per_image:.1f} strokes, "
            f"{self.boxes_per_image:.1f} boxes; classes exhaustive in {self.exhaustive_images} images"
        ]
        if self.correct_share is not None:
            notes.append(f"labelled pixels that are right: {share_text(self.correct_share)}")
        if self.never_labelled:
            notes.append(f"never labelled: {', '.join(self.never_labelled)}")
        return Table(
            f"{self.form}: {self.images} images, {share_text(self.labelled_share)} of all pixels labelled",
            ["class", "pixels", "share of class", "images", "named", "named wrongly"],
            [list(entry.to_json().values()) for entry in self.classes],
            notes,
            formats={"share of class": ".1%"},
        )


class LabelCounts:
    """Counts over weak labels, added up image by image.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self.images, self.strokes, self.clicks, self.boxes, self.exhaustive, self.pixels = 0, 0, 0, 0, 0, 0
        self.valid, self.labelled, self.correct = (np.zeros(num_classes, np.int64) for _ in range(3))
        self.occurs, self.named, self.named_wrongly = (np.zeros(num_classes, np.int64) for _ in range(3))
        self.on_void = 0
        self.distance = np.zeros(len(DISTANCE_EDGES), np.int64)

    def add(self, weak: WeakLabels, drawn: np.ndarray, truth: np.ndarray) -> None:
        """Count one image.

        Args:
            weak: weak labels.
            drawn: the same as pixels, uint8 `[H, W]`, 255 where unlabelled.
            truth: full mask, uint8 `[H, W]`, 255 where void.
        """
        K = len(self.valid)

        def count(labels: np.ndarray) -> np.ndarray:
            return count_labels(labels)[:K]

        known = drawn != IGNORE_INDEX
        self.images += 1
        self.clicks += len(weak.points)
        self.strokes += len(weak.strokes) - len(weak.points)
        self.boxes += len(weak.boxes)
        self.exhaustive += weak.exhaustive
        self.pixels += truth.size
        self.valid += count(truth)
        self.labelled += count(drawn)
        self.correct += count(truth[known & (drawn == truth)])
        self.on_void += int((known & (truth == IGNORE_INDEX)).sum())
        occurs, present = count(truth) > 0, weak.present()
        self.occurs += occurs
        self.named += occurs & present
        self.named_wrongly += present & ~occurs
        if known.any():
            bins = np.searchsorted(DISTANCE_EDGES, _border_distance(truth)[known], side="right") - 1
            self.distance += np.bincount(bins, minlength=len(DISTANCE_EDGES))

    def merge(self, other: LabelCounts) -> None:
        """Add the counts of other images."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def report(self, form: str, names: Sequence[str]) -> LabelReport:
        """Return the shares and counts.

        Args:
            form: form of the labels.
            names: names of the K classes.
        """
        labelled, images = int(self.labelled.sum()), max(self.images, 1)
        off_void = labelled - self.on_void
        return LabelReport(
            form,
            images=self.images,
            labelled_share=labelled / max(self.pixels, 1),
            labelled_pixels=labelled,
            correct_share=float(self.correct.sum()) / off_void if off_void else None,
            on_void=self.on_void,
            strokes_per_image=self.strokes / images,
            clicks_per_image=self.clicks / images,
            boxes_per_image=self.boxes / images,
            exhaustive_images=self.exhaustive,
            never_labelled=[name for name, count in zip(names, self.named, strict=True) if count == 0],
            distance_to_boundary={"from_px": list(DISTANCE_EDGES), "pixels": self.distance.tolist()},
            classes=[
                ClassCounts(
                    name,
                    pixels=int(self.labelled[k]),
                    share_of_class=float(self.correct[k] / self.valid[k]) if self.valid[k] else None,
                    images_with_class=int(self.occurs[k]),
                    images_named=int(self.named[k]),
                    images_named_wrongly=int(self.named_wrongly[k]),
                )
                for k, name in enumerate(names)
            ],
        )


def _border_distance(truth: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel to the nearest border of a class, float `[H, W]`; infinite without one."""
    inner = np.ones(truth.shape, bool)
    across, down = truth[:, 1:] != truth[:, :-1], truth[1:] != truth[:-1]
    inner[:, 1:] &= ~across
    inner[:, :-1] &= ~across
    inner[1:] &= ~down
    inner[:-1] &= ~down
    return np.full(truth.shape, np.inf) if inner.all() else ndimage.distance_transform_edt(inner)
