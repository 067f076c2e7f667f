"""A data spec as a YAML file that can be edited, with a comment on every key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gss.core.files import atomic_path

_VALIDATE = (
    "Share of the images that validates (split val), the last by name or in the list; the others train (split train).\n"
    "# To choose yourself, write one image a line into train.txt and val.txt here, and put in place of this line:\n"
    '# list: "{split}.txt" and splits: [train, val]'
)
_COMMENTS = {
    "name": "Short name of the data set, shown in reports.",
    "root": "Folder of the data, relative to this file.",
    "image": "Where the images lie. {id} is the same text for an image and its mask; .* stands for any ending.",
    "mask": "Where the masks lie.",
    "list": "Text files with the images of a split, one a line.",
    "splits": "Name of each split, and what stands for it in {split}.",
    "validate": _VALIDATE,
    "classes": "Classes in the order of their numbers, with the colours they are drawn in if there are any.",
    "label_map": "Value (or colour) in the masks of each class, in the order of the classes.",
    "ignore": "Values (or colours) in the masks that mean void: pixels that are neither learnt nor measured.",
    "unlisted": "What other values in the masks are: error, or ignore for void.",
    "color_coded": "Masks are colour pictures, and their colours are the classes.",
    "weak": "Labels in annotation files; what no shape covers is the class named as background.",
    "maps": "What the classes are called in other data sets.",
}
_ORDER = (
    *("name", "root", "image", "mask", "list", "splits", "validate", "classes", "label_map", "ignore", "unlisted"),
)


def spec_text(keys: Mapping[str, Any], line: str, root: str = ".") -> str:
    """Return a data spec as YAML with comments.

    Args:
        keys: keys of the spec.
        line: what was understood, for the first comment.
        root: folder of the data, as the file is to name it.
    """
    values = {"name": keys.get("name", "data"), "root": root, **keys}
    blocks = [f"# Data set: {line}.\n# Check it with: gss data check FILE (docs/data.md lists all keys)"]
    for key in [*(name for name in _ORDER if name in values), *(name for name in values if name not in _ORDER)]:
        value = values[key]
        flow = None if isinstance(value, list | dict) else False
        text = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=110)
        blocks.append(f"# {_COMMENTS[key]}\n{text.rstrip()}")
    return "\n\n".join(blocks) + "\n"


def write_spec_file(path: Path, keys: Mapping[str, Any], line: str, root: Path) -> None:
    """Write a data spec; the folder of the data is named relative to the file where it lies below it.

    Args:
        path: YAML file to write.
        keys: keys of the spec without `root`.
        line: what was understood.
        root: folder of the data.
    """
    folder, base = root.resolve(), path.resolve().parent
    place = os.path.relpath(folder, base) if folder.is_relative_to(base) else str(folder)
    with atomic_path(path) as temporary:
        temporary.write_text(spec_text(keys, line, place), encoding="utf-8")
