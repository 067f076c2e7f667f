"""Label spaces: the names and display colours of the classes a model or a data set knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gss.core.errors import InputError, did_you_mean

IGNORE_INDEX = 255
"""Label of pixels without a class, everywhere inside the package."""

OUTLIER_LABEL = 254
"""Label of pasted objects that belong to no class, in training images that hold such."""

MAX_CLASSES = 255
"""Labels are stored as 8-bit integers and the last value is `IGNORE_INDEX`."""


def default_colors(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Distinct display colours for classes that come without their own.

    The bits of the class number are dealt to the high bits of R, G and B in turn (the PASCAL VOC colour
    map), which keeps the first colours far apart and never repeats one below 256. Numbering starts at 1, so
    black stays free for void.

    Args:
        num_classes: number of colours, at most 255.

    Returns:
        One `(r, g, b)` per class, each 0..255.
    """
    colors = []
    for number in range(1, num_classes + 1):
        rgb = [0, 0, 0]
        for bit in range(8):
            rgb[bit % 3] |= ((number >> bit) & 1) << (7 - bit // 3)
        colors.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colors)


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a data set or model, in index order.

    Args:
        names: one unique, non-empty name per class.
        colors: one display colour `(r, g, b)` in 0..255 per class. Two classes may share a colour (some
            published colour sets do); nothing is ever decoded from these. Empty: `default_colors`.

    Raises:
        ValueError: no class, more than 255 classes, a repeated or empty name, or a malformed colour.
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
            colors = default_colors(len(names))
        elif len(self.colors) != len(names):
            raise InputError(f"{len(names)} class names but {len(self.colors)} colours; give one colour per class")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "colors", colors)

    @property
    def num_classes(self) -> int:
        """Number of classes K; valid labels are 0..K-1."""
        return len(self.names)

    def index(self, name: str) -> int:
        """Class number of `name`.

        Raises:
            ValueError: no such class; the message names the nearest one.
        """
        if name not in self.names:
            known = ", ".join(self.names[:20]) + (", ..." if self.num_classes > 20 else "")
            raise InputError(f"no class is called {name!r} {did_you_mean(name, self.names)}; known: {known}")
        return self.names.index(name)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, read back by `from_dict`."""
        return {"names": list(self.names), "colors": [list(color) for color in self.colors]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LabelSpace:
        """Rebuild from `to_dict` output.

        Raises:
            ValueError: `names` is missing, or the content is invalid.
        """
        if "names" not in data:
            raise InputError(f"a label space needs the key 'names', got keys: {', '.join(map(str, data)) or 'none'}")
        return cls(names=tuple(data["names"]), colors=tuple(data.get("colors") or ()))


def _checked_color(color: Any, name: str) -> tuple[int, int, int]:
    values = list(color) if isinstance(color, list | tuple) else [color]
    if len(values) != 3 or any(isinstance(v, bool) or not isinstance(v, int) or not 0 <= v <= 255 for v in values):
        raise InputError(f"colour of class {name!r} is {color!r}; it must be [r, g, b] with whole numbers 0..255")
    return values[0], values[1], values[2]
