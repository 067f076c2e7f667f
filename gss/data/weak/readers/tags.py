"""Image tags: text, CSV, JSON, NumPy arrays, VOC XML, and folders named after classes."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from gss.core.errors import InputError
from gss.data.files import read_list
from gss.data.weak.labels import Size, WeakLabels
from gss.data.weak.readers.base import Reader, TableReader, parse_xml


class _Tags(Reader):
    """Readers of tags: the background, if there is one, is in every image."""

    def tags(self, id: str, size: Size, labels: list[int]) -> WeakLabels:
        """Weak labels of class numbers."""
        tags = np.zeros(len(self.names), bool)
        tags[labels] = True
        if self.options.background is not None:
            tags[self.options.background] = True
        return self.build(id, size, tags=tags)


class VocTagReader(_Tags):
    """One XML file an image: the names of its `object`s."""

    suffixes = (".xml",)

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        found = [
            self.names.find((item.findtext("name") or "").strip(), path) for item in parse_xml(path).iter("object")
        ]
        return self.tags(id, size, [label for label in found if label is not None])


class TagReader(_Tags, TableReader):
    """One file for all images.

    - `.txt`: an image a line, followed by its classes, apart by spaces, or by commas where names hold spaces;
    - `.csv`: a header of the image column and one column a class with 0 or 1, or of the image column and one column
      of class names apart by `;`;
    - `.json`: `{image: [classes]}`, or COCO instances;
    - `.npy`: numbers `[N, K]` (or K - 1 without the background), above 0.5 where a class is present; the images are
      named by the text file `ids`. Pickled arrays are refused: loading them runs code;
    - a folder with a sub-folder of images for each class.
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
        found = [self.names.find(name, path) for name in entry]
        return self.tags(id, size, [label for label in found if label is not None])

    def _text(self, path: Path) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for line in path.read_text(encoding="utf-8-sig").splitlines():
            parts = [part.strip() for part in (line.split(",") if "," in line else line.split())]
            if parts and parts[0]:
                if parts[0] in table:
                    raise InputError(f"{path}: image {parts[0]!r} has two lines; keep one")
                table[parts[0]] = [_number(part) for part in parts[1:] if part]
        return table

    def _csv(self, path: Path) -> dict[str, Any]:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
        if len(header) < 2 or not rows:
            raise InputError(
                f"{path} names no image with its classes: it needs a header 'image,CLASS,...' and a row of 0 and 1 for "
                "each image, or a header 'image,classes' and rows such as 'a.jpg,cat;dog'"
            )
        if len(header) == 2 and not all(row[1].strip() in ("0", "1") for row in rows):
            return {row[0]: [_number(part.strip()) for part in row[1].split(";") if part.strip()] for row in rows}
        table = {}
        for row in rows:
            if len(row) != len(header) or not all(value.strip() in ("0", "1") for value in row[1:]):
                raise InputError(f"{path}: the row of {row[0]!r} needs 0 or 1 for each of {len(header) - 1} classes")
            table[row[0]] = [name for name, value in zip(header[1:], row[1:], strict=True) if value.strip() == "1"]
        return table

    def _json(self, path: Path) -> dict[str, Any]:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not ("images" in data and "annotations" in data):
            return dict(data.items())
        names = {item["id"]: item["name"] for item in data["categories"]}
        table: dict[Any, list] = {item["id"]: [] for item in data["images"]}
        for item in data["annotations"]:
            table[item["image_id"]].append(names[item["category_id"]])
        return {item["file_name"]: table[item["id"]] for item in data["images"]}

    def _array(self, path: Path) -> dict[str, Any]:
        try:
            values = np.load(path, allow_pickle=False)
        except ValueError as error:
            if "pickle" not in str(error).lower():
                raise InputError(f"cannot read tags {path}: {error}") from error
            raise InputError(
                f"tags {path} are pickled Python objects, and loading those can run any code; "
                "save them as a plain array [N, K] with a text file of ids, or as CSV or JSON"
            ) from error
        if self.options.ids is None:
            raise InputError(
                f"tags {path} do not name their images; set 'ids' under weak to a text file, one id a line"
            )
        ids, K, background = read_list(self.options.ids), len(self.names), self.options.background
        if values.ndim != 2 or len(values) != len(ids) or values.shape[1] not in (K, K - (background is not None)):
            raise InputError(
                f"tags {path} have shape {list(values.shape)}; {len(ids)} ids and {K} classes were expected"
            )
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


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text
