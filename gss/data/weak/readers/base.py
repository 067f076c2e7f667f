"""What every reader of weak labels has in common."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

from gss.core.errors import InputError
from gss.data.files import without_suffix
from gss.data.label_map import LabelMap
from gss.data.weak.labels import Size, WeakLabels
from gss.data.weak.names import ClassNames


@dataclass(frozen=True)
class Options:
    """Settings of a reader.

    Args:
        names: classes and their names in the files.
        label_map: meaning of raw mask values.
        raw: mask values go through `label_map` instead of being class numbers.
        width: of strokes and diameter of clicks, in pixels.
        core: share of a box's sides in which its class is drawn.
        exhaustive: whether the labels name every class of an image; None: what the format promises.
        background: class that boxes and tags leave over.
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
    """Reads the weak labels of one image from a file of its own.

    Attributes:
        exhaustive: whether the format promises to name every class of an image.
        suffixes: endings of its files.
    """

    exhaustive: ClassVar[bool] = True
    suffixes: ClassVar[tuple[str, ...]]

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def names(self) -> ClassNames:
        """Class names."""
        return self.options.names

    @abstractmethod
    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """Read a file.

        Args:
            path: of the file.
            id: of the image.
            size: (H, W) of the image.

        Raises:
            ValueError: unreadable, of another image size, or with unknown classes; names the file and the fix.
        """

    def build(self, id: str, size: Size, **parts: Any) -> WeakLabels:
        """Weak labels with the settings that all formats share."""
        chosen = self.options.exhaustive
        parts.setdefault("exhaustive", self.exhaustive if chosen is None else chosen)
        options = self.options
        return WeakLabels(id, size, len(self.names), background=options.background, core=options.core, **parts)


class TableReader(Reader):
    """Reads the weak labels of many images from one file, which is parsed once."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._tables: dict[Path, dict[str, Any]] = {}

    def table(self, path: Path) -> Mapping[str, Any]:
        """Image id to what the file says about it.

        Raises:
            ValueError: unreadable file; names it.
        """
        if path not in self._tables:
            try:
                parsed = self.parse(path)
            except json.JSONDecodeError as error:
                raise InputError(f"cannot read weak labels {path}: not valid JSON: {error}") from error
            except (OSError, UnicodeDecodeError, KeyError, TypeError, IndexError, AttributeError) as error:
                reason = f"key {error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
                raise InputError(f"cannot read weak labels {path}: {reason}") from error
            self._tables[path] = {without_suffix(str(id)): entry for id, entry in parsed.items()}
        return self._tables[path]

    @abstractmethod
    def parse(self, path: Path) -> dict[str, Any]:
        """Parse a file; the keys are ids or file names of images."""

    @abstractmethod
    def entry(self, path: Path, id: str, size: Size, entry: Any) -> WeakLabels:
        """Weak labels of one image from its entry in the table."""

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """Look an image up; one without an entry has no labels at all."""
        entry = self.table(path).get(id)
        if entry is None:
            return self.build(id, size, exhaustive=False)
        try:
            return self.entry(path, id, size, entry)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputError(f"{path}: entry {id!r} is malformed ({type(error).__name__}: {error})") from error
        except ValueError as error:
            named = str(error).startswith(f"{id}:") or repr(id) in str(error)
            raise error if named else ValueError(f"image {id!r}: {error}") from error


def check_size(path: Path, id: str, stated: Size, size: Size) -> None:
    """Require the image size that a label file states.

    Raises:
        ValueError: it is another one.
    """
    if stated != size:
        raise InputError(
            f"{path} is for an image of {stated[1]}x{stated[0]} pixels, but image {id!r} has {size[1]}x{size[0]}; "
            "use the labels of this image size, or scale image or labels"
        )


def parse_xml(path: Path) -> ElementTree.Element:
    """Root of an XML file.

    Raises:
        ValueError: unreadable; names the file.
    """
    try:
        return ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise InputError(f"cannot read weak labels {path}: {error}") from error


def number(element: ElementTree.Element, tag: str, path: Path) -> float:
    """Number in a child of an XML element.

    Raises:
        ValueError: it is missing or no number; names the file.
    """
    text = element.findtext(tag)
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{path}: <{element.tag}> needs a number in <{tag}>, got {text!r}") from None
