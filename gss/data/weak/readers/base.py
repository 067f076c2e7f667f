"""Base classes of the readers of weak labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from gss.core.errors import InputError, quoted
from gss.data.files import without_suffix
from gss.data.label_map import LabelMap
from gss.data.weak.labels import Size, Stroke, WeakLabels
from gss.data.weak.names import ClassNames


@dataclass(frozen=True)
class Options:
    """Settings of a reader.

    Args:
        names: classes and their names in the files.
        label_map: meaning of raw mask values.
        raw: whether mask values go through `label_map` instead of being class numbers.
        width: width of strokes and diameter of clicks, in pixels.
        core: share of the sides of a box in which its class is drawn.
        exhaustive: whether the labels name every class of an image; None: what the format promises.
        background: class of what lies outside all boxes, and of untagged pixels.
        ids: text file with the image of each row, for arrays of tags.
        order: class names in the order of the numbers in the files, for boxes by number.
    """

    names: ClassNames
    label_map: LabelMap = LabelMap(())
    raw: bool = False
    width: float = 3.0
    core: float = 0.75
    exhaustive: bool | None = None
    background: int | None = None
    ids: Path | None = None
    order: tuple[str, ...] = ()


class Reader(ABC):
    """Reader of weak labels with one file per image.

    Files are decoded by the functions of `gss.data.weak.readers.files`, which turn every damage into an `InputError`
    that names the file.

    Attributes:
        exhaustive: whether the format promises to name every class of an image.
        dense: whether the labels are full masks.
        suffixes: suffixes of its files.
    """

    exhaustive: ClassVar[bool] = True
    dense: ClassVar[bool] = False
    suffixes: ClassVar[tuple[str, ...]]

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def names(self) -> ClassNames:
        """Class names."""
        return self.options.names

    @abstractmethod
    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """Return the labels in a file.

        Args:
            path: label file.
            id: id of the image.
            size: (H, W) of the image.

        Raises:
            InputError: unreadable, of another image size, or with unknown classes; names the file and the fix.
        """

    def build(self, id: str, size: Size, **parts: Any) -> WeakLabels:
        """Return weak labels with the settings that all formats share."""
        chosen = self.options.exhaustive
        parts.setdefault("exhaustive", self.exhaustive if chosen is None else chosen)
        options = self.options
        return WeakLabels(id, size, len(self.names), background=options.background, core=options.core, **parts)

    def stroke(self, path: Path, size: Size, label: int, xy: Any, width: float) -> Stroke:
        """Return a stroke of an image of this size (H, W); `path` is for the message."""
        if not 0 < width <= max(size):
            raise InputError(
                f"{path}: a stroke is {width:g} pixels wide, the image {size[1]}x{size[0]}; "
                "the width must be above 0 and at most the longer side"
            )
        return Stroke(label, np.array(xy, np.float64), width)


class TableReader(Reader):
    """Reader of weak labels with one file for many images, which is parsed once."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._tables: dict[Path, dict[str, Any]] = {}

    def table(self, path: Path) -> Mapping[str, Any]:
        """Return image id to entry.

        Raises:
            InputError: unreadable file; names it.
        """
        if path not in self._tables:
            self._tables[path] = {without_suffix(str(id)): entry for id, entry in self.parse(path).items()}
        return self._tables[path]

    @abstractmethod
    def parse(self, path: Path) -> Mapping[str, Any]:
        """Return the entries of a file; the keys are ids or file names of images."""

    @abstractmethod
    def entry(self, path: Path, id: str, size: Size, entry: Any) -> WeakLabels:
        """Return the weak labels of one image from its entry in the table."""

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """Look an image up; one without an entry has no labels."""
        entry = self.table(path).get(id)
        return self.build(id, size, exhaustive=False) if entry is None else self.entry(path, id, size, entry)


def check_size(path: Path, id: str, stated: tuple[float, float], size: Size) -> None:
    """Require the image size (H, W) that a label file states.

    Raises:
        InputError: it is another one.
    """
    if stated != size:
        raise InputError(
            f"{path} is for an image of {stated[1]:g}x{stated[0]:g} pixels, but image {quoted(id)} has "
            f"{size[1]}x{size[0]}; use the labels of this image size, or scale image or labels"
        )
