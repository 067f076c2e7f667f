"""The key `weak` of a data spec: labels that replace full masks in some splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from gss.core.errors import InputError, quoted, unknown_name
from gss.data.files.lists import ImageNames, ListEntry, resolve_list
from gss.data.files.patterns import find_files
from gss.data.files.samples import Sample
from gss.data.weak.readers import READERS, ShapeTable
from gss.data.weak.readers.shapes import resolve_names

_CHOICES: dict[str, tuple[Any, ...]] = {
    "outside": ("error", "clip"),
    "unlabelled": ("error", "allow", "leave_out"),
    "values": ("labels", "raw"),
    "exhaustive": (True, False),
}


@dataclass(frozen=True)
class WeakSource:
    """Place and format of weak labels.

    Args:
        format: name of a reader, see `gss.data.weak.readers.READERS`.
        path: patterns below `folder` with `{id}` (one file per image) or without (one file for all), optionally with
            `{split}`; the labels of several patterns add up.
        folder: folder of the files; the root of the data set by default.
        splits: splits with these labels; all by default.
        only: text file of the ids that have labels; the other images are left out.
        confidence: pattern of grey images of 8 or 16 bits beside a partial mask, white is certain.
        aliases: name in the files to class name.
        ignore: names in the files whose labels are left out.
        width: width of strokes and diameter of clicks, in pixels.
        core: share of the sides of a box in which its class is drawn.
        exhaustive: whether every class of an image is named; by default what the format promises.
        outside: treatment of coordinates outside the image: error, or clip to move them onto it.
        unlabelled: treatment of images without labels: error, allow, or leave_out of the data set.
        values: whether mask files hold labels (class numbers) or raw values for the label_map of the spec.
        background: class of what lies outside all boxes and of untagged pixels; by default the one called background.
        ids: text file with the image of each row, for arrays of tags.
        order: class names behind the numbers of box files.
        classes: names of the classes of the data set.
    """

    format: str
    path: tuple[str, ...]
    folder: Path | None = None
    splits: tuple[str, ...] | None = None
    only: str | None = None
    confidence: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    width: float = 3.0
    core: float = 0.75
    exhaustive: bool | None = None
    outside: Literal["error", "clip"] = "error"
    unlabelled: Literal["error", "allow", "leave_out"] = "error"
    values: Literal["labels", "raw"] = "labels"
    background: str | None = None
    ids: str | None = None
    order: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, data: Any, place: Path, classes: tuple[str, ...]) -> WeakSource:
        """Build from the mapping in a spec.

        Args:
            data: value of the key `weak`.
            place: folder of the spec file; `folder` is relative to it.
            classes: class names of the spec.

        Raises:
            InputError: unknown key or format, or a value that is not allowed.
        """
        keys = [item.name for item in fields(cls) if item.name != "classes"]
        if not isinstance(data, dict) or data.get("format") is None or data.get("path") is None:
            raise InputError(f"weak must be a mapping with format and path; keys: {', '.join(keys)}")
        for key in data:
            if key not in keys:
                raise unknown_name("key", key, keys, where="weak")
        values = {key: value for key, value in data.items() if value is not None}
        if values["format"] not in list(READERS):
            raise unknown_name("format", values["format"], READERS, where="weak")
        for key, allowed in _CHOICES.items():
            if key in values and values[key] not in allowed:
                raise InputError(f"weak: {key} is {quoted(values[key])}; it must be {' or '.join(map(str, allowed))}")
        for key in ("path", "splits", "ignore", "order"):
            if key in values:
                listed = values[key] if isinstance(values[key], list) else [values[key]]
                values[key] = tuple(_text(key, item) for item in listed)
        for key in ("folder", "only", "confidence", "background", "ids"):
            if key in values:
                values[key] = _text(key, values[key])
        aliases = values.get("aliases", {})
        if not isinstance(aliases, dict):
            raise InputError(f"weak: aliases is {quoted(aliases)}; it must map names in the files to class names")
        values["aliases"] = {_text("aliases", name): _text("aliases", alias) for name, alias in aliases.items()}
        if not values["path"]:
            raise InputError("weak: path is empty; name at least one pattern")
        if any(Path(pattern).is_absolute() for pattern in values["path"]):
            raise InputError("weak: path must be relative; set folder to the folder of the files")
        if values.get("confidence") and "{id}" not in values["confidence"]:
            raise InputError(f"weak: confidence is {quoted(values['confidence'])}; the pattern must contain {{id}}")
        for key, lowest, highest in (("width", 1e-3, 1e4), ("core", 0, 1)):
            value = values.get(key, 1)
            if type(value) not in (int, float) or not lowest <= value <= highest:
                raise InputError(f"weak: {key} is {quoted(value)}; it must be a number from {lowest} to {highest:g}")
        if "folder" in values:
            values["folder"] = place / Path(values["folder"]).expanduser()
        return cls(**values, classes=classes)

    def covers(self, split: str) -> bool:
        """Return whether a split has these labels."""
        return self.splits is None or split in self.splits

    def samples(
        self, root: Path, part: str, image: str, entries: Sequence[ListEntry], images: Mapping[str, Path]
    ) -> list[Sample]:
        """Return image and label file of every entry.

        Args:
            root: folder of the data set.
            part: text that replaces `{split}` in patterns.
            image: pattern of the images, without `{split}`.
            entries: images of the split.
            images: files that match `image`.
        """
        if self.only is not None:
            only = {entry.id for entry in resolve_list((self.folder or root) / self.only, images, root)}
            entries = [entry for entry in entries if entry.id in only]
        files = self.files(root, self.path[0], part)
        if self.unlabelled == "leave_out":
            labelled = self._labelled(root, part, files, images)
            entries = [entry for entry in entries if entry.id in labelled]
        place, pattern = self.folder or root, self.path[0].replace("{split}", part)
        samples = []
        for entry in entries:
            id = entry.id
            file = files.get(id) if "{id}" in pattern else place / pattern
            missing = ["image"] if id not in images else []
            if self.unlabelled == "error" and (file is None or not file.exists()):
                missing.append("mask")
            samples.append(
                Sample(
                    id,
                    images.get(id, root / image.replace("{id}", id)),
                    file or place / pattern.replace("{id}", id),
                    tuple(missing),
                    where=entry.where,
                )
            )
        return samples

    @property
    def dense(self) -> bool:
        """Whether the labels are full masks."""
        return READERS[self.format].dense

    def _labelled(self, root: Path, part: str, files: Mapping[str, Path], images: Mapping[str, Path]) -> set[str]:
        """Return the ids with a file, or with an entry in the file for all; all ids where this is not known."""
        reader = READERS[self.format]
        if "{id}" in self.path[0]:
            return set(files)
        if not issubclass(reader, ShapeTable):
            return set(images)
        listed = reader.listed((self.folder or root) / self.path[0].replace("{split}", part))
        return set(resolve_names(listed, ImageNames(images, root)).values())

    def files(self, root: Path, pattern: str, part: str) -> dict[str, Path]:
        """Return id to label file for a pattern with `{id}`; arguments as in `samples`."""
        if "{id}" not in pattern:
            return {}
        return find_files(self.folder or root, pattern.replace("{split}", part), READERS[self.format].suffixes)


def _text(key: str, value: Any) -> str:
    """Return a value of the spec as text; YAML turns an unquoted `no` into false and `1` into a number."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise InputError(f"weak: {key} holds {quoted(value)}; put text in quotes")
    return str(value)
