"""Files of weak labels beside the images of a split."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np

from gss.core.errors import InputError, quoted
from gss.data.files import Sample, find_files
from gss.data.files.lists import ImageNames
from gss.data.images import IMAGE_SUFFIXES
from gss.data.label_map import LabelMap
from gss.data.weak.errors import LabelSettingError
from gss.data.weak.labels import Size, WeakLabels
from gss.data.weak.names import ClassNames
from gss.data.weak.pictures import load_confidence
from gss.data.weak.readers import READERS, Options, ShapeTable, TableReader
from gss.data.weak.source import WeakSource
from gss.labels.space import LabelSpace


class WeakFiles:
    """Weak labels of the images of one split.

    Args:
        source: where the labels lie and how they are read.
        samples: images of the split.
        root: folder of the data set.
        part: text that replaces `{split}` in patterns.
        images: patterns of the images of all splits, to recognise names in tables that belong to no image.
        label_space: classes of the labels.
        label_map: meaning of raw mask values.
        name: name of the data set, for messages.

    Raises:
        InputError: a table names images that are not there, or lacks images of the split; the message names the
            file, how many and the first.
    """

    def __init__(
        self,
        source: WeakSource,
        samples: Sequence[Sample],
        *,
        root: Path,
        part: str,
        images: Sequence[str],
        label_space: LabelSpace,
        label_map: LabelMap,
        name: str,
    ) -> None:
        if label_space.names != source.classes:
            raise InputError(
                f"weak labels of data set {quoted(name)} are about its own classes and cannot be "
                "read in others; use it with data sets of the same classes"
            )
        self.source, self._samples = source, samples
        folder = source.folder or root
        names = ClassNames(label_space, source.aliases, source.ignore)
        background = names.background() if source.background is None else label_space.index(source.background)
        options = Options(
            names=names,
            label_map=label_map,
            raw=source.values == "raw",
            width=float(source.width),
            core=float(source.core),
            exhaustive=source.exhaustive,
            background=background,
            ids=None if source.ids is None else folder / source.ids,
            order=source.order,
        )
        self.reader = READERS[source.format](options)
        self._files: list[dict[str, Path]] = []
        for pattern in source.path:
            if "{id}" in pattern:
                self._files.append(source.files(root, pattern, part))
            else:
                path = folder / pattern.replace("{split}", part)
                if not path.exists():
                    raise InputError(f"file of weak labels not found: {path}")
                self._files.append(dict.fromkeys([sample.id for sample in samples], path))
        self._confidence = {}
        if source.confidence:
            pattern = source.confidence.replace("{split}", part)
            self._confidence = find_files(folder, pattern, (".png", ".tif", ".tiff"))
            self._require("confidence", [s.id for s in samples if s.id not in self._confidence], folder / pattern)
        if isinstance(self.reader, ShapeTable):
            found: dict[str, Path] = {}
            for pattern in images:
                found |= find_files(root, pattern, IMAGE_SUFFIXES)
            self.reader.known = ImageNames(found, root)
        if isinstance(self.reader, TableReader):
            self._check_tables(root, images)

    def read(self, index: int, size: Size) -> WeakLabels:
        """Return the labels of a sample.

        Args:
            index: position in the split.
            size: (H, W) of the image as stored.

        Raises:
            InputError: unreadable, of another size, outside the image, or with unknown classes; names file and fix.
        """
        sample = self._samples[index]
        paths = [files[sample.id] for files in self._files if sample.id in files]
        if not paths:
            return self.reader.build(sample.id, size, exhaustive=False)
        labels = []
        for path in paths:
            weak = self.reader.read(path, sample.id, size)
            beyond = weak.outside()
            if beyond and self.source.outside == "error":
                raise LabelSettingError(
                    f"{path}: {beyond} labels of image {quoted(sample.id)} reach outside its {size[1]}x{size[0]} "
                    "pixels; correct them, or set 'outside: clip' under weak to move them onto the image"
                )
            labels.append(weak.clipped())
        return reduce(WeakLabels.merged, labels)

    def confidence(self, index: int, size: Size) -> np.ndarray | None:
        """Return the confidence of a sample, float32 `[H, W]` in 0..1; None if the labels have none."""
        path = self._confidence.get(self._samples[index].id)
        return None if path is None else load_confidence(path, size)

    def _check_tables(self, root: Path, patterns: Sequence[str]) -> None:
        assert isinstance(self.reader, TableReader)
        paths = {path for files in self._files for path in files.values()}
        named = {id for path in sorted(paths) for id in self.reader.table(path)}
        if self.source.unlabelled == "error":
            absent = [sample.id for sample in self._samples if sample.id not in named]
            self._require("entry", absent, ", ".join(map(str, sorted(paths))))
        images: set[str] = set()
        for pattern in patterns:
            images |= find_files(root, pattern, IMAGE_SUFFIXES).keys()
        for path in sorted(paths):
            strange = sorted(set(self.reader.table(path)) - images)
            if strange and (not self.source.dense or len(strange) == len(self.reader.table(path))):
                raise InputError(
                    f"{path} names {len(strange)} images that are not in the data set, first: {quoted(strange[0])} "
                    f"(no file {root / patterns[0].replace('{id}', strange[0])}); remove these entries or add the "
                    "images"
                )

    @staticmethod
    def _require(kind: str, absent: Sequence[str], place: object) -> None:
        if absent:
            raise LabelSettingError(
                f"{len(absent)} images of the split have no {kind} in {place}, first: {quoted(absent[0])}; add them, "
                "take the images off the list, or set 'unlabelled: allow' under weak"
            )
