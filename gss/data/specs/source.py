"""What a data set that is a class of the user's own must have; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from gss.core.errors import InputError
from gss.core.lookup.plugins import find_class
from gss.labels.space import LabelSpace


class ImageSource(Protocol):
    """What a class of the user's own must have.

    Attributes:
        classes: names of the classes, or names with their colours `(r, g, b)`.
        splits: names of the splits.
        ids: name of each image of the split, unique.
    """

    classes: Sequence[str] | Mapping[str, tuple[int, int, int]]
    splits: Sequence[str]
    ids: Sequence[str]

    def __init__(self, split: str, root: str | None = None) -> None:
        """Open a split; `root` is `data.root` or `--root`."""

    def read(self, index: int) -> tuple[Image.Image | np.ndarray, np.ndarray]:
        """Return an image, and its labels `[H, W]`: class numbers, 255 where there is none."""


def find_source(name: str) -> type | None:
    """Return the class of a data set by `module:Name` or the name of an entry point; None for another name.

    Raises:
        InputError: it cannot be imported, or lacks `classes`, `splits` or `read`.
    """
    found = find_class(name, "data", object, methods=("read",))
    if found is None:
        return None
    for key in ("classes", "splits"):
        if not getattr(found, key, None):
            raise InputError(f"{name}: needs the attribute {key}; docs/extending/data-set.md shows a complete example")
    return found


def source_labels(name: str, source: Any) -> LabelSpace:
    """Return the classes of a source.

    Raises:
        InputError: names or colours are invalid.
    """
    classes = source.classes
    try:
        if isinstance(classes, Mapping):
            return LabelSpace(tuple(classes), tuple(tuple(color) for color in classes.values()))
        return LabelSpace(tuple(classes))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
