"""Boxes: PASCAL VOC XML, COCO JSON, YOLO text files and CSV tables."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from gss.core.errors import InputError
from gss.data.weak.labels import Size, WeakLabels
from gss.data.weak.readers.base import Reader, TableReader, check_size, number, parse_xml


class _Boxes(Reader):
    """Readers of boxes: the background is what boxes leave over, if the labels are exhaustive."""

    def boxes(self, path: Path, id: str, size: Size, rows: list[tuple], exhaustive: bool | None = None) -> WeakLabels:
        """Weak labels of rows (x0, y0, x1, y1, class)."""
        chosen = self.options.exhaustive if self.options.exhaustive is not None else exhaustive is not False
        boxes = np.array(rows, dtype=np.float64).reshape(-1, 5)
        flat = boxes[(boxes[:, 2:4] <= boxes[:, :2]).any(1)]
        if len(flat):
            raise InputError(f"{path}: box {flat[0, :4].tolist()} of {id!r} has no area; correct or remove it")
        return self.build(id, size, boxes=boxes, exhaustive=chosen, boxes_exhaustive=chosen)


class VocBoxReader(_Boxes):
    """One XML file an image: `object` with `name` and `bndbox`, corners counted from 1 and inclusive."""

    suffixes = (".xml",)

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        root = parse_xml(path)
        stated = root.find("size")
        if stated is not None:
            check_size(path, id, (int(number(stated, "height", path)), int(number(stated, "width", path))), size)
        rows = []
        for item in root.iter("object"):
            box = item.find("bndbox")
            label = self.names.find((item.findtext("name") or "").strip(), path)
            if box is None:
                raise InputError(f"{path}: an <object> has no <bndbox>")
            corners = [number(box, tag, path) for tag in ("xmin", "ymin", "xmax", "ymax")]
            if label is not None:
                rows.append((corners[0] - 1, corners[1] - 1, corners[2], corners[3], label))
        return self.boxes(path, id, size, rows)


class CocoBoxReader(_Boxes, TableReader):
    """One JSON file with `images`, `annotations` (`bbox` as x, y, width, height) and `categories`.

    Boxes of crowds are left out, and what they leave over is then not known to be background.
    """

    suffixes = (".json",)

    def parse(self, path: Path) -> dict[str, Any]:
        """See `TableReader.parse`."""
        data = json.loads(path.read_text(encoding="utf-8"))
        classes = {item["id"]: self.names.find(item["name"], path) for item in data["categories"]}
        boxes = defaultdict(list)
        for item in data["annotations"]:
            boxes[item["image_id"]].append((item["bbox"], classes[item["category_id"]], bool(item.get("iscrowd"))))
        return {
            item["file_name"]: {"size": (item.get("height"), item.get("width")), "boxes": boxes[item["id"]]}
            for item in data["images"]
        }

    def entry(self, path: Path, id: str, size: Size, entry: Any) -> WeakLabels:
        """See `TableReader.entry`."""
        if None not in entry["size"]:
            check_size(path, id, entry["size"], size)
        rows = [
            (x, y, x + w, y + h, label)
            for (x, y, w, h), label, crowd in entry["boxes"]
            if label is not None and not crowd
        ]
        return self.boxes(path, id, size, rows, exhaustive=not any(crowd for _, _, crowd in entry["boxes"]))


class YoloBoxReader(_Boxes):
    """One text file an image: lines of class number, centre x, centre y, width, height, all relative to the image.

    Class numbers follow `order`, or the classes without background.
    """

    suffixes = (".txt",)

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        background, names = self.options.background, self.names.space.names
        order = self.options.order or [name for k, name in enumerate(names) if k != background]
        rows = []
        for count, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                kind, x, y, w, h = (float(part) for part in line.split()[:5])
                name = order[int(kind)] if kind >= 0 else ""
            except (ValueError, IndexError):
                raise InputError(
                    f"{path}, line {count}: {line.strip()!r} is not 'class x y width height' with classes "
                    f"0..{len(order) - 1}; set 'order' under weak to the class names behind the numbers"
                ) from None
            if not all(0 <= value <= 1 for value in (x, y, w, h)):
                raise InputError(f"{path}, line {count}: {line.strip()!r} must be relative to the image, in 0..1")
            label = self.names.find(name, path)
            if label is not None:
                left, top = (x - w / 2) * size[1], (y - h / 2) * size[0]
                rows.append((left, top, left + w * size[1], top + h * size[0], label))
        return self.boxes(path, id, size, rows)


class CsvBoxReader(_Boxes, TableReader):
    """One table with a header: `filename`, `class`, `xmin`, `ymin`, `xmax`, `ymax`, optionally `width` and `height`.

    Corners are edges: the width of a box is xmax - xmin. `image`, `id` and `label` are understood too.
    """

    suffixes = (".csv",)

    def parse(self, path: Path) -> dict[str, Any]:
        """See `TableReader.parse`."""
        table: dict[str, Any] = defaultdict(list)
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = {name.strip().lower(): name for name in reader.fieldnames or ()}
            image = next((columns[n] for n in ("filename", "image", "id") if n in columns), None)
            kind = next((columns[n] for n in ("class", "label") if n in columns), None)
            corners = [columns.get(n) for n in ("xmin", "ymin", "xmax", "ymax")]
            if image is None or kind is None or None in corners:
                raise InputError(
                    f"{path}: needs the columns filename, class, xmin, ymin, xmax, ymax; has {list(columns)}"
                )
            for row in reader:
                try:
                    box = [float(row[name]) for name in corners if name]
                    stated = [int(row[columns[name]]) for name in ("height", "width") if name in columns]
                except (TypeError, ValueError):
                    raise InputError(f"{path}, line {reader.line_num}: corners and sizes must be numbers") from None
                table[row[image]].append((box, row[kind].strip(), stated))
        return dict(table)

    def entry(self, path: Path, id: str, size: Size, entry: Any) -> WeakLabels:
        """See `TableReader.entry`."""
        rows = []
        for box, name, stated in entry:
            if len(stated) == 2:
                check_size(path, id, (stated[0], stated[1]), size)
            label = self.names.find(name, path)
            if label is not None:
                rows.append((*box, label))
        return self.boxes(path, id, size, rows)
