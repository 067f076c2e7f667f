"""Full masks out of one file for many images: COCO instances, CVAT XML and Label Studio JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

import numpy as np

from gss.core.errors import InputError
from gss.core.json_value import JsonValue
from gss.data.weak.labels import Size, WeakLabels
from gss.data.weak.raster import check_pixels
from gss.data.weak.readers.base import check_size
from gss.data.weak.readers.brush import decode_brush
from gss.data.weak.readers.files import read_json_value, read_xml, shorten, to_number
from gss.data.weak.readers.shapes import Canvas, ShapeTable
from gss.data.weak.segmentation import Polygons, RunLengths, read_segmentation

_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the names of uploaded files."""


@dataclass
class _CocoImage:
    """One image of a COCO file: its size (H, W) if stated, and class, mask and place of its annotations."""

    size: Size | None
    shapes: list[tuple[int | None, Polygons | RunLengths, str]] = field(default_factory=list)


class CocoMaskReader(ShapeTable):
    """Reader of COCO instances: `images`, `annotations` with `segmentation`, and `categories`.

    Larger objects are painted first, so that small ones before them stay visible. Annotations that are boxes alone are
    refused, because what a box holds is no mask.
    """

    suffixes = (".json",)

    @classmethod
    def listed(cls, path: Path) -> list[str]:
        """See `ShapeTable.listed`."""
        return [item["file_name"].text() for item in read_json_value(path)["images"]]

    def parse(self, path: Path) -> dict[str, Any]:
        """See `TableReader.parse`."""
        content = read_json_value(path)
        names = {item["id"].integer(): item["name"] for item in content["categories"]}
        images: dict[int, _CocoImage] = {}
        files: dict[str, _CocoImage] = {}
        for item in content["images"]:
            height, width = item.get("height"), item.get("width")
            size = None if height is None or width is None else (height.integer(), width.integer())
            images[item["id"].integer()] = files[item["file_name"].text()] = _CocoImage(size)
        for item in content["annotations"]:
            image, category = images.get(item["image_id"].integer()), item["category_id"]
            if category.integer() not in names:
                raise category.error(f"is {category.integer()}, which 'categories' does not list")
            if image is None:
                continue
            mask = read_segmentation(item.get("segmentation"), image.size)
            if mask is None:
                raise item.error(
                    "has no outline (segmentation); boxes alone are no masks: remove it, or see coco_boxes"
                )
            name = names[category.integer()]
            image.shapes.append((self.names.find(str(name.name()), name.where()), mask, item.where()))
        return files

    def entry(self, path: Path, id: str, size: Size, entry: _CocoImage) -> WeakLabels:
        """See `TableReader.entry`."""
        if entry.size is not None:
            check_size(path, id, entry.size, size)
        canvas = self.canvas(size)
        for label, mask, where in sorted(entry.shapes, key=lambda shape: -shape[1].area()):
            try:
                canvas.mask(label, mask.mask(size))
            except InputError as error:
                raise InputError(f"{where}: {error}") from error
        return self.finish(id, canvas)


class CvatReader(ShapeTable):
    """Reader of "CVAT for images" XML: an `image` with `polygon`, `box` and `mask` elements, painted by `z_order`."""

    suffixes = (".xml",)

    @classmethod
    def listed(cls, path: Path) -> list[str]:
        """See `ShapeTable.listed`."""
        return list(cls._images(path))

    @staticmethod
    def _images(path: Path) -> dict[str, ElementTree.Element]:
        return {element.get("name", ""): element for element in read_xml(path).iter("image") if element.get("name")}

    def parse(self, path: Path) -> dict[str, Any]:
        """See `TableReader.parse`."""
        return self._images(path)

    def entry(self, path: Path, id: str, size: Size, entry: ElementTree.Element) -> WeakLabels:
        """See `TableReader.entry`."""
        height, width = to_number(entry.get("height", "")), to_number(entry.get("width", ""))
        if height is not None and width is not None:
            check_size(path, id, (height, width), size)
        canvas = self.canvas(size)
        for shape in sorted(entry, key=lambda shape: to_number(shape.get("z_order", "0")) or 0.0):
            if shape.tag in ("polygon", "box", "mask"):
                where = f"{path}: <{shape.tag}> of image {id!r}"
                name = shape.get("label")
                if name is None:
                    raise InputError(f"{where} has no label")
                self._paint(canvas, self.names.find(name, where), shape, where)
            elif shape.tag in ("polyline", "points", "ellipse", "cuboid", "skeleton"):
                raise InputError(
                    f"{path}: image {id!r} has a <{shape.tag}>, and full masks need polygons, boxes or masks; remove it"
                )
        return self.finish(id, canvas)

    @staticmethod
    def _paint(canvas: Canvas, label: int | None, shape: ElementTree.Element, where: str) -> None:
        def numbers(*keys: str) -> list[float]:
            values = [to_number(shape.get(key, "")) for key in keys]
            if None in values:
                raise InputError(f"{where} needs numbers in {', '.join(keys)}")
            return [value for value in values if value is not None]

        if shape.tag == "polygon":
            corners = [to_number(part) for part in re.split(r"[;,]", shape.get("points", ""))]
            values = [value for value in corners if value is not None]
            if len(values) < len(corners) or len(values) % 2:
                raise InputError(f"{where}: points is {shorten(shape.get('points', ''))!r}, not 'x,y;x,y;...'")
            check_pixels(where, values)
            canvas.polygon(label, values, where)
        elif shape.tag == "box":
            x0, y0, x1, y1 = numbers("xtl", "ytl", "xbr", "ybr")
            check_pixels(where, [x0, y0, x1, y1])
            canvas.polygon(label, [x0, y0, x1, y0, x1, y1, x0, y1], where)
        else:
            left, top, width, height = (int(value) for value in numbers("left", "top", "width", "height"))
            runs = [to_number(part) for part in shape.get("rle", "").split(",")]
            lengths = [int(value) for value in runs if value is not None and value >= 0]
            inside = left >= 0 and top >= 0 and top + height <= canvas.size[0] and left + width <= canvas.size[1]
            if len(lengths) < len(runs) or sum(lengths) != height * width or not inside:
                raise InputError(f"{where}: rle does not fill {width}x{height} pixels inside the image")
            pixels = np.zeros(canvas.size, bool)
            inner = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(height, width)
            pixels[top : top + height, left : left + width] = inner
            canvas.mask(label, pixels)


class LabelStudioReader(ShapeTable):
    """Reader of a Label Studio export, JSON or JSON-MIN: polygons, rectangles and brush masks of each task.

    Coordinates are percent of the image. Of several annotations of one task the first that was not cancelled counts.
    """

    suffixes = (".json",)

    @classmethod
    def listed(cls, path: Path) -> list[str]:
        """See `ShapeTable.listed`."""
        return [name for name, _ in cls._tasks(path)]

    @staticmethod
    def _tasks(path: Path) -> Iterator[tuple[str, list[JsonValue]]]:
        """Yield the file name of the image and the shapes of every task that is annotated."""
        for task in read_json_value(path):
            data = task.get("data")
            place = next((text for _, text in (data or task).items() if _is_place(text.value)), None)
            if place is None:
                raise task.error("names no image file")
            results: list[JsonValue] = []
            annotations = task.get("annotations")
            if annotations is not None:
                kept = [one for one in annotations if not ((flag := one.get("was_cancelled")) and flag.flag())]
                if not kept:
                    continue
                results = list(kept[0]["result"])
            else:  # JSON-MIN: the shapes under the name of each control
                for _, value in task.items():
                    if isinstance(value.value, list):
                        results += [item for item in value if isinstance(item.value, dict)]
            yield file_name(place.text()), results

    def parse(self, path: Path) -> dict[str, Any]:
        """See `TableReader.parse`."""
        return dict(self._tasks(path))

    def entry(self, path: Path, id: str, size: Size, entry: list[JsonValue]) -> WeakLabels:
        """See `TableReader.entry`."""
        canvas = self.canvas(size)
        for result in entry:
            value = result.get("value") or result
            label_key = next((key for key, _ in value.items() if key.endswith("labels")), None)
            if label_key is None:
                continue  # ratings, texts and relations
            height, width = result.get("original_height"), result.get("original_width")
            if height is not None and width is not None:
                check_size(path, id, (height.number(), width.number()), size)
            for name in value[label_key]:
                self._paint(canvas, self.names.find(str(name.name()), name.where()), value, size)
        return self.finish(id, canvas)

    @staticmethod
    def _paint(canvas: Canvas, label: int | None, value: JsonValue, size: Size) -> None:
        height, width = size
        if value.get("points") is not None:
            corners = [corner.numbers(2) for corner in value["points"]]
            flat = [part for x, y in corners for part in (x * width / 100, y * height / 100)]
            canvas.polygon(label, flat, value.where())
        elif value.get("rle") is not None:
            canvas.mask(label, decode_brush(value["rle"], size))
        elif value.get("width") is not None:
            turned = value.get("rotation")
            if turned is not None and turned.number() != 0:
                raise value.error("is a turned rectangle; draw a polygon in its place")
            x, y, w, h = (value[key].number() / 100 for key in ("x", "y", "width", "height"))
            x0, y0, x1, y1 = x * width, y * height, (x + w) * width, (y + h) * height
            canvas.polygon(label, [x0, y0, x1, y0, x1, y1, x0, y1], value.where())
        else:
            raise value.error("is no polygon, rectangle or brush mask, and full masks need areas; remove it")


def _is_place(value: object) -> bool:
    return (
        isinstance(value, str) and re.search(r"\.(jpe?g|png|bmp|tiff?|webp|p[gp]m)$", value, re.IGNORECASE) is not None
    )


def file_name(place: str) -> str:
    """Return the file name that the address of an image in a Label Studio task stands for."""
    parts = urlsplit(place)
    local = parse_qs(parts.query).get("d")
    if local:  # /data/local-files/?d=folder/a.jpg
        return local[0]
    name = unquote(parts.path if parts.scheme else place)
    return _UPLOAD.sub("", name.rpartition("/")[2]) if "/data/upload/" in name else name
