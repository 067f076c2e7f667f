"""Boxes: PASCAL VOC XML, COCO JSON, YOLO text files and CSV tables."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gss.core.errors import InputError, quoted, shorten
from gss.data.weak.errors import LabelSettingError
from gss.data.weak.labels import Size, WeakLabels
from gss.data.weak.raster import check_pixels
from gss.data.weak.readers.base import Reader, TableReader, check_size
from gss.data.weak.readers.files import read_csv, read_json_value, read_lines, read_xml, to_number, xml_number


class BoxReader(Reader):
    """Reader of boxes: what lies outside all boxes is background, if the labels are exhaustive."""

    def boxes(self, path: Path, id: str, size: Size, rows: list[tuple], exhaustive: bool | None = None) -> WeakLabels:
        """Return the weak labels of rows (x0, y0, x1, y1, class)."""
        chosen = self.options.exhaustive if self.options.exhaustive is not None else exhaustive is not False
        boxes = np.array(rows, dtype=np.float64).reshape(-1, 5)
        flat = boxes[(boxes[:, 2:4] <= boxes[:, :2]).any(1)]
        if len(flat):
            raise InputError(f"{path}: box {flat[0, :4].tolist()} of {quoted(id)} has no area; correct or remove it")
        return self.build(id, size, boxes=boxes, exhaustive=chosen, boxes_exhaustive=chosen)


class VocBoxReader(BoxReader):
    """Reader of one XML file per image: `object` with `name` and `bndbox`, corners counted from 1 and inclusive."""

    suffixes = (".xml",)

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        root = read_xml(path)
        stated = root.find("size")
        if stated is not None:
            check_size(path, id, (xml_number(stated, "height", path), xml_number(stated, "width", path)), size)
        rows = []
        for item in root.iter("object"):
            box = item.find("bndbox")
            label = self.names.find((item.findtext("name") or "").strip(), path)
            if box is None:
                raise InputError(f"{path}: an <object> has no <bndbox>")
            corners = [xml_number(box, tag, path) for tag in ("xmin", "ymin", "xmax", "ymax")]
            check_pixels(path, corners)
            if label is not None:
                rows.append((corners[0] - 1, corners[1] - 1, corners[2], corners[3], label))
        return self.boxes(path, id, size, rows)


@dataclass
class _CocoEntry:
    """Boxes of one image.

    Attributes:
        size: (H, W) that the file states.
        rows: (x0, y0, x1, y1, class) of the boxes of classes that are not ignored.
        crowd: whether a box covers a group of objects; such boxes are left out.
    """

    size: tuple[float, float] | None
    rows: list[tuple] = field(default_factory=list)
    crowd: bool = False


class CocoBoxReader(BoxReader, TableReader):
    """Reader of one JSON file with `images`, `annotations` (`bbox` as x, y, width, height) and `categories`.

    Boxes of crowds are left out, and what lies outside all boxes is then not known to be background.
    """

    suffixes = (".json",)

    def parse(self, path: Path) -> dict[str, Any]:
        """See `TableReader.parse`."""
        content = read_json_value(path)
        classes = {item["id"].name(): self.names.find(item["name"].text(), path) for item in content["categories"]}
        entries: dict[int | str, _CocoEntry] = {}
        names = {}
        for item in content["images"]:
            height, width = item.get("height"), item.get("width")
            stated = None if height is None or width is None else (height.number(), width.number())
            id = item["id"].name()
            entries[id], names[id] = _CocoEntry(stated), item["file_name"].text()
        for item in content["annotations"]:
            category, image = item["category_id"], item["image_id"].name()
            if category.name() not in classes:
                raise category.error(f"is {quoted(category.name())}, which 'categories' does not list")
            x, y, w, h = item["bbox"].numbers(4)
            label, crowd = classes[category.name()], item.get("iscrowd")
            if image not in entries:
                continue
            if crowd is not None and crowd.flag():
                entries[image].crowd = True
            elif label is not None:
                entries[image].rows.append((x, y, x + w, y + h, label))
        return {names[id]: entry for id, entry in entries.items()}

    def entry(self, path: Path, id: str, size: Size, entry: _CocoEntry) -> WeakLabels:
        """See `TableReader.entry`."""
        if entry.size is not None:
            check_size(path, id, entry.size, size)
        check_pixels(path, [row[:4] for row in entry.rows])
        return self.boxes(path, id, size, entry.rows, exhaustive=not entry.crowd)


class YoloBoxReader(BoxReader):
    """Reader of one text file per image: lines of class number, center x, center y, width, height.

    Coordinates are relative to the image. Class numbers follow `order`, or the classes without background.
    """

    suffixes = (".txt",)

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        background, names = self.options.background, self.names.space.names
        order = self.options.order or [name for k, name in enumerate(names) if k != background]
        rows = []
        for count, line in read_lines(path):
            values = [value for part in line.split()[:5] if (value := to_number(part)) is not None]
            if len(values) < 5 or values[0] not in range(len(order)):
                raise LabelSettingError(
                    f"{path}, line {count}: {quoted(shorten(line))} is not 'class x y width height' with classes "
                    f"0..{len(order) - 1}; set 'order' under weak to the class names behind the numbers"
                )
            x, y, w, h = values[1:]
            if not all(0 <= value <= 1 for value in values[1:]):
                raise InputError(
                    f"{path}, line {count}: {quoted(shorten(line))} must be relative to the image, in 0..1"
                )
            label = self.names.find(order[int(values[0])], path)
            if label is not None:
                left, top = (x - w / 2) * size[1], (y - h / 2) * size[0]
                rows.append((left, top, left + w * size[1], top + h * size[0], label))
        return self.boxes(path, id, size, rows)


class CsvBoxReader(BoxReader, TableReader):
    """Reader of a table with a header: `filename`, `class`, `xmin`, `ymin`, `xmax`, `ymax`, optionally the size.

    Corners are edges: the width of a box is xmax - xmin. The size of the image is in `width` and `height`. `image`
    and `id` stand for `filename` too, `label` for `class`.
    """

    suffixes = (".csv",)

    def parse(self, path: Path) -> dict[str, Any]:
        """See `TableReader.parse`."""
        (_, header), *rows = read_csv(path) or [(1, [""])]
        columns = {name.strip().lower(): column for column, name in enumerate(header)}
        image = next((columns[name] for name in ("filename", "image", "id") if name in columns), None)
        kind = next((columns[name] for name in ("class", "label") if name in columns), None)
        corners = [columns[name] for name in ("xmin", "ymin", "xmax", "ymax") if name in columns]
        stated = [columns[name] for name in ("height", "width") if name in columns]
        if image is None or kind is None or len(corners) < 4:
            raise InputError(
                f"{path}: needs the columns filename, class, xmin, ymin, xmax, ymax; "
                f"has {shorten(', '.join(columns)) or 'none'}"
            )
        table: dict[str, Any] = defaultdict(list)
        for line, row in rows:
            if len(row) != len(header):
                raise InputError(f"{path}, line {line}: {len(row)} values for {len(header)} columns")
            box, size = ([to_number(row[column]) for column in group] for group in (corners, stated))
            if None in box or None in size:
                raise InputError(f"{path}, line {line}: corners and sizes must be numbers")
            table[row[image]].append((box, row[kind].strip(), size))
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
        check_pixels(path, [row[:4] for row in rows])
        return self.boxes(path, id, size, rows)
