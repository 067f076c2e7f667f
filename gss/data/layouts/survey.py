"""One walk through a folder: its pictures by place, and its other files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from gss.core.errors import InputError
from gss.data.files.patterns import composed
from gss.data.files.walk import walk
from gss.data.images import IMAGE_SUFFIXES, MASK_SUFFIXES
from gss.data.layouts.places import Place, read_place

_PICTURES = tuple(dict.fromkeys((*IMAGE_SUFFIXES, *MASK_SUFFIXES)))
_NOTES = (".json", ".xml", ".txt", ".csv", ".yaml", ".yml", ".names")


@dataclass
class Group:
    """Pictures whose folders have one template.

    Attributes:
        template: path below the root, may contain `{split}`.
        role: "image", "mask" or empty.
        files: word for the split (empty without one) to id, the path below the place without its ending, to endings.
    """

    template: str
    role: str
    files: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    @property
    def splits(self) -> tuple[str, ...]:
        """Words for splits, as they are written."""
        return tuple(part for part in self.files if part)

    def add(self, part: str, name: str) -> None:
        """Add a picture by its path below the place."""
        stem, _, ending = name.rpartition(".")
        self.files.setdefault(part, {}).setdefault(composed(stem), []).append(f".{ending}")


@dataclass
class Survey:
    """What lies in a folder.

    Attributes:
        root: the folder.
        groups: template to its pictures.
        notes: paths of text, JSON, XML and YAML files, relative to the root, in ascending order.
    """

    root: Path
    groups: dict[str, Group] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def ids(self) -> set[str]:
        """Return the names of all pictures without folders and endings."""
        return {
            id.rpartition("/")[2] for group in self.groups.values() for files in group.files.values() for id in files
        }


def survey(root: Path) -> Survey:
    """Look through a folder; no file is opened.

    Raises:
        InputError: not a folder, one that cannot be read, or with `{`, `}` or `*` in the name of a folder of pictures.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder")
    found = Survey(root)
    unknown: dict[str, list[tuple[str, str]]] = {}
    for folder in walk(root):
        place, rest = read_place(folder.inner)
        for name in folder.files:
            suffix = Path(name).suffix.lower()
            if suffix in _NOTES:
                found.notes.append(f"{folder.inner}/{name}".lstrip("/"))
            elif suffix in _PICTURES:
                if re.search(r"[{}*]", place.template.replace("{split}", "")):
                    raise InputError(f"{folder.path}: {{, }} and * have a meaning in patterns; rename this folder")
                if not place.template and rest:
                    first, _, below = rest.partition("/")
                    unknown.setdefault(first, []).append((below, name))
                else:
                    _add(found, place, rest, name)
    for first, files in unknown.items():  # folders whose names tell nothing are places of their own
        if re.search(r"[{}*]", first):
            raise InputError(f"{root / first}: {{, }} and * have a meaning in patterns; rename this folder")
        for below, name in files:
            _add(found, Place(first), below, name)
    return found


def _add(found: Survey, place: Place, rest: str, name: str) -> None:
    group = found.groups.setdefault(place.template, Group(place.template, place.role))
    group.add(place.part, f"{rest}/{name}" if rest else name)
