"""`weak:` in a data spec: labels that take the place of full masks in some splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from gss.core.errors import InputError, did_you_mean
from gss.data.files import Sample, find_files, read_list
from gss.data.images import IMAGE_SUFFIXES
from gss.data.weak.readers import READERS


@dataclass(frozen=True)
class WeakSource:
    """Where weak labels lie and how they are read.

    Args:
        format: name of a reader, see `gss.data.weak.readers.READERS`.
        path: patterns below `folder` with `{id}` (one file an image) or without (one file for all), optionally with
            `{split}`; the labels of several patterns add up.
        folder: folder of the files; the data set's root by default.
        splits: splits whose labels these are; all by default.
        only: text file of the ids that have labels, when not all images of a split do; the others are left out.
        confidence: pattern of grey images of 8 or 16 bits beside a partial mask, white is certain.
        aliases: name in the files to class name.
        ignore: names in the files that are left out.
        width: of strokes and diameter of clicks, in pixels.
        core: share of a box's sides in which its class is drawn.
        exhaustive: whether every class of an image is named; by default what the format promises.
        outside: what happens to coordinates outside the image: error, or clip to move them onto it.
        unlabelled: what happens to images without labels: error, or allow.
        values: mask files hold labels (class numbers) or raw values for the spec's label_map.
        background: class that boxes and tags leave over; the one called background by default.
        ids: text file with the image of each row, for arrays of tags.
        order: class names behind the numbers of box files.
        classes: names of the classes that numbers in the files stand for; those of the spec.
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
    unlabelled: Literal["error", "allow"] = "error"
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
            ValueError: unknown key or format, or a value that is not allowed; names the nearest.
        """
        keys = [item.name for item in fields(cls) if item.name != "classes"]
        if not isinstance(data, dict) or "format" not in data or "path" not in data:
            raise InputError(f"weak must be a mapping with format and path; keys: {', '.join(keys)}")
        for key in data:
            if key not in keys:
                raise InputError(f"weak: unknown key {key!r} {did_you_mean(str(key), keys)}; keys: {', '.join(keys)}")
        values = dict(data)
        if values["format"] not in READERS:
            hint = did_you_mean(str(values["format"]), READERS)
            raise InputError(f"weak: no format {values['format']!r} {hint}; formats: {', '.join(READERS)}")
        for key, allowed in (
            ("outside", ("error", "clip")),
            ("unlabelled", ("error", "allow")),
            ("values", ("labels", "raw")),
        ):
            if values.get(key, allowed[0]) not in allowed:
                raise InputError(f"weak: {key} is {values[key]!r}; it must be {' or '.join(allowed)}")
        for key in ("path", "splits", "ignore", "order"):
            if key in values and values[key] is not None:
                values[key] = tuple(map(str, values[key] if isinstance(values[key], list) else [values[key]]))
        if any(Path(pattern).is_absolute() for pattern in values["path"]):
            raise InputError("weak: path must be relative; set folder to the folder of the files")
        if values.get("confidence") and "{id}" not in str(values["confidence"]):
            raise InputError(f"weak: confidence is {values['confidence']!r}; the pattern must contain {{id}}")
        if not float(values.get("width", 1)) > 0 or not 0 <= float(values.get("core", 0)) <= 1:
            raise InputError("weak: width must be above 0 and core between 0 and 1")
        if values.get("folder") is not None:
            values["folder"] = place / Path(str(values["folder"])).expanduser()
        return cls(**values, classes=classes)

    def covers(self, split: str) -> bool:
        """Whether a split has these labels."""
        return self.splits is None or split in self.splits

    def samples(self, root: Path, part: str, image: str, ids: Sequence[str]) -> list[Sample]:
        """Return image and label file of every id.

        Args:
            root: folder of the data set.
            part: what replaces `{split}` in patterns.
            image: pattern of the images, without `{split}`.
            ids: ids of the split.
        """
        if self.only is not None:
            named = set(read_list((self.folder or root) / self.only))
            ids = [id for id in ids if id in named]
        images = find_files(root, image, IMAGE_SUFFIXES)
        files = self.files(root, self.path[0], part)
        place, pattern = self.folder or root, self.path[0].replace("{split}", part)
        samples = []
        for id in ids:
            found = files.get(id) if "{id}" in pattern else place / pattern
            missing = ["image"] if id not in images else []
            if self.unlabelled == "error" and (found is None or not found.exists()):
                missing.append("mask")
            samples.append(
                Sample(
                    id,
                    images.get(id, root / image.replace("{id}", id)),
                    found or place / pattern.replace("{id}", id),
                    tuple(missing),
                )
            )
        return samples

    def files(self, root: Path, pattern: str, part: str) -> dict[str, Path]:
        """Return id to label file for a pattern with `{id}`; arguments as in `samples`."""
        if "{id}" not in pattern:
            return {}
        return find_files(self.folder or root, pattern.replace("{split}", part), READERS[self.format].suffixes)
