"""Label spaces: the names and display colours of the classes a model or a data set knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gss.core.errors import InputError, quoted, unknown_name
from gss.labels.colors import background_classes, class_colors, voc_colors
from gss.labels.colors import default_colors as default_colors

IGNORE_INDEX = 255
"""Label of pixels without a class, everywhere inside the package."""

IGNORE_TOKEN = -100
"""Target of token positions that no loss counts."""

OUTLIER_LABEL = 254
"""Label of pasted objects of no class, in training images with outliers."""

MAX_CLASSES = 255
"""Largest number of classes: labels are stored as 8-bit integers and the last value is `IGNORE_INDEX`."""


def first_names(names: Sequence[str], shown: int = 6) -> str:
    """Return the number of classes and the names of the first, such as "3 classes: road, sky, tree"."""
    more = ", ..." if len(names) > shown else ""
    return f"{len(names)} class{'es' * (len(names) != 1)}: {', '.join(names[:shown])}{more}"


@dataclass(frozen=True)
class LabelSpace:
    """Classes of a data set or model, in index order.

    Args:
        names: unique, non-empty name of each class.
        colors: display colour `(r, g, b)` of each class, 0..255. Two classes may share a colour (some published
            colour sets do), because masks are never decoded by these. All pictures show the classes in them. Empty:
            `gss.labels.colors.class_colors`, which colour-blind readers tell apart for up to 20 classes.

    Raises:
        InputError: no class, more than 255 classes, a repeated or empty name, or a malformed colour.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...] = ()

    def __post_init__(self) -> None:
        names = tuple(str(name) for name in self.names)
        if not 1 <= len(names) <= MAX_CLASSES:
            raise InputError(
                f"a label space needs 1 to {MAX_CLASSES} classes, got {len(names)}: labels are 8-bit and "
                f"{IGNORE_INDEX} means void"
            )
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise InputError(f"class names must be unique, repeated: {', '.join(repeated)}; rename them")
        if any(not name.strip() for name in names):
            raise InputError(f"class {[not name.strip() for name in names].index(True)} has an empty name")
        colors = tuple(_checked_color(color, name) for color, name in zip(self.colors, names, strict=False))
        if not self.colors:
            colors = class_colors(names)
        elif len(self.colors) != len(names):
            raise InputError(f"{len(names)} class names but {len(self.colors)} colours; give one colour per class")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "colors", colors)

    def __repr__(self) -> str:
        """Return the number of classes and the first of them in one line."""
        return f"LabelSpace({first_names(self.names)})"

    @property
    def num_classes(self) -> int:
        """Number of classes K; valid labels are 0..K-1."""
        return len(self.names)

    @property
    def background(self) -> tuple[int, ...]:
        """Numbers of the classes that are not painted over a photograph, see `background_classes`."""
        return background_classes(self.names)

    def index(self, name: str) -> int:
        """Return the class number of `name`.

        Raises:
            InputError: no such class; the message names the nearest.
        """
        if name not in self.names:
            raise unknown_name("class", name, self.names, plural="classes")
        return self.names.index(name)

    def to_dict(self) -> dict[str, Any]:
        """Return a form for JSON that `from_dict` reads."""
        return {"names": list(self.names), "colors": [list(color) for color in self.colors]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LabelSpace:
        """Build a label space from the result of `to_dict`.

        Raises:
            InputError: `names` is missing, or the content is invalid.
        """
        if "names" not in data:
            raise InputError(f"a label space needs the key 'names', got keys: {', '.join(map(str, data)) or 'none'}")
        names, colors = tuple(data["names"]), tuple(data.get("colors") or ())
        # Files of earlier versions state the colours of PASCAL VOC where none were given.
        if tuple(map(tuple, colors)) == voc_colors(len(names)):
            colors = ()
        return cls(names=names, colors=colors)


def _checked_color(color: Any, name: str) -> tuple[int, int, int]:
    values = list(color) if isinstance(color, list | tuple) else [color]
    if len(values) != 3 or any(isinstance(v, bool) or not isinstance(v, int) or not 0 <= v <= 255 for v in values):
        raise InputError(
            f"colour of class {quoted(name)} is {quoted(color)}; it must be [r, g, b] with whole numbers 0..255"
        )
    return values[0], values[1], values[2]
