"""`weak:` in a data spec: labels that take the place of full masks in some splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gss.data.files import Sample, find_files, read_list
from gss.data.images import IMAGE_SUFFIXES
from gss.errors import did_you_mean
from gss.weak.labels import Size, WeakLabels
from gss.weak.names import ClassNames
from gss.weak.pictures import load_confidence
from gss.weak.readers import READERS, Options, TableReader

if TYPE_CHECKING:
    from gss.data.specs import DataSpec

__all__ = ["WeakFiles", "WeakSource"]


@dataclass(frozen=True)
class WeakSource:
    """Where weak labels lie and how they are read.

    Args:
        format: name of a reader, see `gss.weak.readers.READERS`.
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
            raise ValueError(f"weak must be a mapping with format and path; keys: {', '.join(keys)}")
        for key in data:
            if key not in keys:
                raise ValueError(f"weak: unknown key {key!r} {did_you_mean(str(key), keys)}; keys: {', '.join(keys)}")
        values = dict(data)
        if values["format"] not in READERS:
            hint = did_you_mean(str(values["format"]), READERS)
            raise ValueError(f"weak: no format {values['format']!r} {hint}; formats: {', '.join(READERS)}")
        for key, allowed in (
            ("outside", ("error", "clip")),
            ("unlabelled", ("error", "allow")),
            ("values", ("labels", "raw")),
        ):
            if values.get(key, allowed[0]) not in allowed:
                raise ValueError(f"weak: {key} is {values[key]!r}; it must be {' or '.join(allowed)}")
        for key in ("path", "splits", "ignore", "order"):
            if key in values and values[key] is not None:
                values[key] = tuple(map(str, values[key] if isinstance(values[key], list) else [values[key]]))
        if any(Path(pattern).is_absolute() for pattern in values["path"]):
            raise ValueError("weak: path must be relative; set folder to the folder of the files")
        if values.get("confidence") and "{id}" not in str(values["confidence"]):
            raise ValueError(f"weak: confidence is {values['confidence']!r}; the pattern must contain {{id}}")
        if not float(values.get("width", 1)) > 0 or not 0 <= float(values.get("core", 0)) <= 1:
            raise ValueError("weak: width must be above 0 and core between 0 and 1")
        if values.get("folder") is not None:
            values["folder"] = place / Path(str(values["folder"])).expanduser()
        return cls(**values, classes=classes)

    def covers(self, split: str) -> bool:
        """Whether a split has these labels."""
        return self.splits is None or split in self.splits

    def samples(self, spec: DataSpec, split: str, image: str, ids: Sequence[str]) -> list[Sample]:
        """Image and label file of every id; see `DataSpec.samples`."""
        root, part = spec.folder(), spec.splits.get(split, split)
        if self.only is not None:
            named = set(read_list((self.folder or root) / self.only))
            ids = [id for id in ids if id in named]
        images = find_files(root, image, IMAGE_SUFFIXES)
        files = self._files(spec, self.path[0], part)
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

    def _files(self, spec: DataSpec, pattern: str, part: str) -> dict[str, Path]:
        """Id to file for a pattern with `{id}`."""
        if "{id}" not in pattern:
            return {}
        return find_files(self.folder or spec.folder(), pattern.replace("{split}", part), READERS[self.format].suffixes)


class WeakFiles:
    """Weak labels of one split.

    Args:
        spec: data spec with `weak`.
        split: one that it covers.
        samples: of the split.

    Raises:
        ValueError: a table names images that are not there, or lacks images of the split; the message names the
            file, how many and the first.
    """

    def __init__(self, spec: DataSpec, split: str, samples: Sequence[Sample]) -> None:
        assert spec.weak is not None
        if spec.label_space.names != spec.weak.classes:
            raise ValueError(
                f"weak labels of data set {spec.name!r} are about its own classes and cannot be "
                "read in others; use it with data sets of the same classes"
            )
        self.source, self._samples = spec.weak, samples
        source, part = spec.weak, spec.splits.get(split, split)
        place = source.folder or spec.folder()
        names = ClassNames(spec.label_space, source.aliases, source.ignore)
        background = names.background() if source.background is None else spec.label_space.index(source.background)
        options = Options(
            names=names,
            label_map=spec.label_map,
            raw=source.values == "raw",
            width=float(source.width),
            core=float(source.core),
            exhaustive=source.exhaustive,
            background=background,
            ids=None if source.ids is None else place / source.ids,
            order=source.order,
        )
        self.reader = READERS[source.format](options)
        self._files: list[dict[str, Path]] = []
        for pattern in source.path:
            if "{id}" in pattern:
                self._files.append(source._files(spec, pattern, part))
            else:
                path = place / pattern.replace("{split}", part)
                if not path.exists():
                    raise ValueError(f"file of weak labels not found: {path}")
                self._files.append(dict.fromkeys([sample.id for sample in samples], path))
        self._confidence = {}
        if source.confidence:
            pattern = source.confidence.replace("{split}", part)
            self._confidence = find_files(place, pattern, (".png", ".tif", ".tiff"))
            self._require("confidence", [s.id for s in samples if s.id not in self._confidence], place / pattern)
        if isinstance(self.reader, TableReader):
            self._check_tables(spec)

    def read(self, index: int, size: Size) -> WeakLabels:
        """Labels of a sample.

        Args:
            index: position in the split.
            size: (H, W) of the image as it is stored.

        Raises:
            ValueError: unreadable, of another size, outside the image, or with unknown classes; names file and fix.
        """
        sample = self._samples[index]
        paths = [files[sample.id] for files in self._files if sample.id in files]
        if not paths:
            return self.reader.build(sample.id, size, exhaustive=False)
        found = []
        for path in paths:
            weak = self.reader.read(path, sample.id, size)
            beyond = weak.outside()
            if beyond and self.source.outside == "error":
                raise ValueError(
                    f"{path}: {beyond} labels of image {sample.id!r} reach outside its {size[1]}x{size[0]} pixels; "
                    "correct them, or set 'outside: clip' under weak to move them onto the image"
                )
            found.append(weak.clipped())
        return reduce(WeakLabels.merged, found)

    def confidence(self, index: int, size: Size) -> np.ndarray | None:
        """Confidence float32 `[H, W]` in 0..1 of a sample; None if the labels have none."""
        path = self._confidence.get(self._samples[index].id)
        return None if path is None else load_confidence(path, size)

    def _check_tables(self, spec: DataSpec) -> None:
        assert isinstance(self.reader, TableReader)
        paths = {path for files in self._files for path in files.values()}
        named = {id for path in sorted(paths) for id in self.reader.table(path)}
        if self.source.unlabelled == "error":
            absent = [sample.id for sample in self._samples if sample.id not in named]
            self._require("entry", absent, ", ".join(map(str, sorted(paths))))
        images: set[str] = set()
        for part in set(spec.splits.values()) or {""}:
            images |= find_files(spec.folder(), spec.image.replace("{split}", part), IMAGE_SUFFIXES).keys()
        for path in sorted(paths):
            strange = sorted(set(self.reader.table(path)) - images)
            if strange:
                raise ValueError(
                    f"{path} names {len(strange)} images that are not in the data set, first: {strange[0]!r} (no file "
                    f"{spec.folder() / re.sub('{id}', strange[0], spec.image)}); remove these entries or add the images"
                )

    @staticmethod
    def _require(kind: str, absent: Sequence[str], place: object) -> None:
        if absent:
            raise ValueError(
                f"{len(absent)} images of the split have no {kind} in {place}, first: {absent[0]!r}; add them, take "
                "the images off the list, or set 'unlabelled: allow' under weak"
            )
