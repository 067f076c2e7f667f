"""Names of folders: which hold images, which hold masks, and which stand for a split."""

from __future__ import annotations

import re
from dataclasses import dataclass

IMAGE_WORDS = frozenset(
    ("images", "image", "imgs", "img", "photos", "photo", "pictures", "picture", "pics", "frames", "rgb", "jpegs")
    + ("input", "inputs", "jpegimages", "leftimg8bit", "originals", "original", "photographs")
)
"""Names of folders of images, in lower case without blanks, hyphens and underscores."""

MASK_WORDS = frozenset(
    ("masks", "mask", "labels", "label", "annotations", "annotation", "annots", "annot", "anns", "ann", "gt", "gts")
    + ("groundtruth", "groundtruths", "seg", "segs", "segmentation", "segmentations", "segmentationclass", "truth")
    + ("segmentationclasspng", "labelmaps", "labelmap", "labelids", "targets", "target", "gtfine", "silhouettes")
    + ("pngmasks", "binarymasks", "segmentationmasks", "semanticmasks", "maskspng", "indexmasks", "labelspng")
)
"""Names of folders of masks, in the same form."""

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Names of folders and lists that stand for a split, and the name of the split."""

_SPLIT = r"(?P<split>(?:training|train|validation|valid|val|dev|testing|test)(?:20\d\d)?)"
_SPLIT_FIRST = re.compile(rf"{_SPLIT}[ _-]?(?P<rest>.*)", re.IGNORECASE)
_SPLIT_LAST = re.compile(rf"(?P<rest>.+?)[ _-]?{_SPLIT}", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Folder that a data set may name in a pattern.

    Attributes:
        template: path below the root, with `{split}` where its name has the name of a split.
        part: that name as it is written; empty without one.
        role: "image", "mask", or empty if the name tells nothing.
    """

    template: str
    part: str = ""
    role: str = ""


def split_name(part: str) -> str:
    """Return the usual name of a split, such as `val` for `Validation` or `val2017`."""
    return SPLIT_WORDS[re.sub(r"\d+$", "", part).lower()]


def is_split(name: str) -> bool:
    """Return whether a name stands for a split."""
    return re.sub(r"20\d\d$", "", name).lower() in SPLIT_WORDS


def find_split(name: str) -> tuple[str, str] | None:
    """Return a name with `{split}` in place of the word for a split, and this word; None if it has none."""
    for match in re.finditer(rf"(?<![A-Za-z]){_SPLIT}(?![A-Za-z0-9])", name, re.IGNORECASE):
        return f"{name[: match.start()]}{{split}}{name[match.end() :]}", match["split"]
    return None


def read_place(folder: str) -> tuple[Place, str]:
    """Return the part of a path that is a place, and the folders below it, which belong to the ids.

    The place ends with the last folder whose name has a role or stands for a split: of `images/train/a/b` the place is
    `images/{split}` and the rest is `a/b`.
    """
    parts = folder.split("/") if folder else []
    template: list[str] = []
    found = role = ""
    end = 0
    for number, part in enumerate(parts):
        text, split, own_role = _read_part(part, allow_split=not found)
        template.append(text)
        if split or own_role:
            found, role, end = found or split, own_role or role, number + 1
    return Place("/".join(template[:end]), found, role), "/".join(parts[end:])


def _read_part(part: str, *, allow_split: bool) -> tuple[str, str, str]:
    """Return the template, the word for a split and the role of one name."""
    role = _role(part)
    if role or not allow_split:
        return part, "", role
    if is_split(part):
        return "{split}", part, ""
    for pattern in (_SPLIT_FIRST, _SPLIT_LAST):
        match = pattern.fullmatch(part)
        if match and (role := _role(match["rest"])):
            return f"{part[: match.start('split')]}{{split}}{part[match.end('split') :]}", match["split"], role
    return part, "", ""


def _role(name: str) -> str:
    plain = re.sub(r"[\s_-]+", "", name).lower()
    return "image" if plain in IMAGE_WORDS else "mask" if plain in MASK_WORDS else ""
