"""Image tags: text, CSV, JSON, NumPy arrays, VOC XML, and folders named after classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gss.core.errors import InputError, quoted
from gss.data.files import read_list
from gss.data.weak.errors import LabelSettingError
from gss.data.weak.labels import Size, WeakLabels
from gss.data.weak.readers.base import Reader, TableReader
from gss.data.weak.readers.files import read_array, read_csv, read_json_value, read_lines, read_xml


class NameReader(Reader):
    """Reader of class names: the background, if there is one, is in every image."""

    def tags(self, path: Path, id: str, size: Size, names: Iterable[int | str]) -> WeakLabels:
        """Return the weak labels of class names or numbers; `path` is for the message."""
        tags = np.zeros(len(self.names), bool)
        for name in names:
            label = self.names.find(name, path)
            if label is not None:
                tags[label] = True
        if self.options.background is not None:
            tags[self.options.background] = True
        return self.build(id, size, tags=tags)


class VocTagReader(NameReader):
    """Reader of one XML file per image: the names of its `object`s."""

    suffixes = (".xml",)

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        names = [(item.findtext("name") or "").strip() for item in read_xml(path).iter("object")]
        return self.tags(path, id, size, names)


class TagReader(NameReader, TableReader):
    """Reader of one file for all images.

    - `.txt`: one image per line, followed by its classes, separated by spaces, or by commas where names hold spaces;
    - `.csv`: a header of the image column and one column per class with 0 or 1, or of the image column and one column
      of class names separated by `;`;
    - `.json`: `{image: [classes]}`, or COCO instances;
    - `.npy`: numbers `[N, K]` (or K - 1 without the background), above 0.5 where a class is present; the images are
      named by the text file `ids`. Pickled arrays are refused: loading them runs code;
    - a folder with one sub-folder of images per class.
    """

    suffixes = (".txt", ".csv", ".json", ".npy")

    def parse(self, path: Path) -> dict[str, Any]:
        """See `TableReader.parse`."""
        if path.is_dir():
            return self._folders(path)
        parsers = {".txt": self._text, ".csv": self._csv, ".json": self._json, ".npy": self._array}
        if path.suffix.lower() not in parsers:
            raise InputError(f"tags {path}: the name must end in {', '.join(parsers)}, or be a folder")
        return parsers[path.suffix.lower()](path)

    def entry(self, path: Path, id: str, size: Size, entry: Any) -> WeakLabels:
        """See `TableReader.entry`."""
        return self.tags(path, id, size, entry)

    def _text(self, path: Path) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for _, line in read_lines(path):
            image, *names = [part.strip() for part in (line.split(",") if "," in line else line.split())]
            if image in table:
                raise InputError(f"{path}: image {quoted(image)} has two lines; keep one")
            if image:
                table[image] = [_name(name) for name in names if name]
        return table

    def _csv(self, path: Path) -> dict[str, Any]:
        header, *rows = [row for _, row in read_csv(path)] or [[]]
        if len(header) < 2 or not rows:
            raise InputError(
                f"{path} names no image with its classes: it needs a header 'image,CLASS,...' and a row of 0 and 1 for "
                "each image, or a header 'image,classes' and rows such as 'a.jpg,cat;dog'"
            )
        for row in rows:
            if len(row) != len(header):
                raise InputError(f"{path}: the row of {quoted(row[0])} has {len(row)} values for {len(header)} columns")
        if len(header) == 2 and not all(row[1].strip() in ("0", "1") for row in rows):
            return {row[0]: [_name(part.strip()) for part in row[1].split(";") if part.strip()] for row in rows}
        table = {}
        for image, *values in rows:
            if not all(value.strip() in ("0", "1") for value in values):
                raise InputError(f"{path}: the row of {quoted(image)} needs 0 or 1 for each of {len(values)} classes")
            table[image] = [name for name, value in zip(header[1:], values, strict=True) if value.strip() == "1"]
        return table

    def _json(self, path: Path) -> dict[str, Any]:
        content = read_json_value(path)
        if content.get("images") is None or content.get("annotations") is None:
            return {image: [name.name() for name in names] for image, names in content.items()}
        names = {item["id"].name(): item["name"].text() for item in content["categories"]}
        files = {item["id"].name(): item["file_name"].text() for item in content["images"]}
        table: dict[str, list] = {file: [] for file in files.values()}
        for item in content["annotations"]:
            category, image = item["category_id"], item["image_id"]
            if category.name() not in names:
                raise category.error(f"is {quoted(category.name())}, which 'categories' does not list")
            if image.name() not in files:
                raise image.error(f"is {quoted(image.name())}, which 'images' does not list")
            table[files[image.name()]].append(names[category.name()])
        return table

    def _array(self, path: Path) -> dict[str, Any]:
        values = read_array(path)
        if self.options.ids is None:
            raise LabelSettingError(
                f"tags {path} do not name their images; set 'ids' under weak to a text file, one id a line"
            )
        ids, K, background = read_list(self.options.ids), len(self.names), self.options.background
        if values.ndim != 2 or len(values) != len(ids) or values.shape[1] not in (K, K - (background is not None)):
            raise InputError(
                f"tags {path} have shape {list(values.shape)}; {len(ids)} ids and {K} classes were expected"
            )
        if not np.isfinite(values).all():
            raise InputError(f"tags {path} hold NaN or infinite values")
        classes = [k for k in range(K) if values.shape[1] == K or k != background]
        return {
            id: [classes[k] for k in np.flatnonzero(row > 0.5).tolist()] for id, row in zip(ids, values, strict=True)
        }

    def _folders(self, path: Path) -> dict[str, Any]:
        table: dict[str, Any] = defaultdict(list)
        for folder in sorted(entry for entry in path.iterdir() if entry.is_dir()):
            for image in folder.rglob("*.*"):
                table[image.relative_to(folder).as_posix()].append(folder.name)
        return dict(table)


def _name(text: str) -> int | str:
    """Return a class name, or the number that the text is."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
