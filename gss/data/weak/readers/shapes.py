"""Full masks drawn from outlines, one file per image: LabelMe and YOLO; and the base of those with one for all."""

from __future__ import annotations

import base64
import binascii
import io
import math
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from gss.core.errors import InputError
from gss.core.json_value import JsonValue
from gss.data.files.lists import ImageNames
from gss.data.weak.errors import LabelSettingError
from gss.data.weak.labels import Size, WeakLabels
from gss.data.weak.raster import check_pixels, fill_polygons
from gss.data.weak.readers.base import Options, Reader, TableReader, check_size
from gss.data.weak.readers.files import read_json_value, read_lines, shorten, to_number
from gss.labels.space import IGNORE_INDEX

_CIRCLE_CORNERS = 64


class Canvas:
    """A label map that shapes are painted on, later ones over earlier ones.

    Args:
        size: (H, W).
        background: class of what no shape covers; None leaves it void.
    """

    def __init__(self, size: Size, background: int | None) -> None:
        self.size = size
        self.labels = np.full(size, IGNORE_INDEX if background is None else background, np.uint8)

    def polygon(self, label: int | None, corners: list[float], where: str) -> None:
        """Paint a polygon `[x, y, x, y, ...]` in pixels; a label of None is void.

        Raises:
            InputError: it lies far outside the image; `where` opens the message.
        """
        try:
            self.mask(label, fill_polygons([corners], self.size))
        except InputError as error:
            raise InputError(f"{where}: {error}") from error

    def mask(self, label: int | None, pixels: np.ndarray) -> None:
        """Paint pixels, bool `[H, W]`."""
        self.labels[pixels] = IGNORE_INDEX if label is None else label


class ShapeReader(Reader):
    """Reader of full masks: what no shape covers is the background class, or void without one.

    Attributes:
        dense: the labels are full masks.
    """

    dense: ClassVar[bool] = True

    def canvas(self, size: Size) -> Canvas:
        """Return an empty canvas."""
        return Canvas(size, self.options.background)

    def finish(self, id: str, canvas: Canvas) -> WeakLabels:
        """Return the labels of a painted canvas."""
        return self.build(id, canvas.size, partial=canvas.labels)


class ShapeTable(ShapeReader, TableReader):
    """Reader of full masks with one file for many images, which may name images by paths of any depth."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.known: ImageNames | None = None

    @classmethod
    @abstractmethod
    def listed(cls, path: Path) -> list[str]:
        """Return the file names of the images that a file labels.

        Raises:
            InputError: unreadable or of another format; names the file and the place.
        """

    def table(self, path: Path) -> dict[str, Any]:
        """See `TableReader.table`; the keys are ids of the data set where the images are known."""
        if path not in self._tables:
            parsed = self.parse(path)
            ids = resolve_names(list(parsed), self.known)
            self._tables[path] = {id: parsed[name] for name, id in ids.items()}
        return self._tables[path]


def resolve_names(names: list[str], known: ImageNames | None) -> dict[str, str]:
    """Return each file name of a label file with the id of its image; names of no image keep their own.

    A path of another machine is shortened from the left until its end is that of one image.
    """
    ids = {}
    for name in names:
        ids[name] = name
        parts = name.replace("\\", "/").split("/")
        for start in range(len(parts) if known is not None else 0):
            tail = "/".join(parts[start:])
            found = known.resolve(tail)[0] if known is not None and tail else None
            if found and len(found) == 1:
                ids[name] = found[0]
                break
    return ids


class LabelMeReader(ShapeReader):
    """Reader of one LabelMe JSON file per image: `shapes` of `label`, `points` and `shape_type`.

    Polygons, rectangles, circles and masks are areas. Lines and points are not, and are refused.
    """

    suffixes = (".json",)

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        content, canvas = read_json_value(path), self.canvas(size)
        height, width = content.get("imageHeight"), content.get("imageWidth")
        if height is not None and width is not None:
            check_size(path, id, (height.number(), width.number()), size)
        for shape in content["shapes"]:
            name = shape["label"]
            label = self.names.find(str(name.name()), name.where())
            self._paint(canvas, label, shape)
        return self.finish(id, canvas)

    def _paint(self, canvas: Canvas, label: int | None, shape: JsonValue) -> None:
        given = shape.get("shape_type")
        kind = "polygon" if given is None else given.text()
        points = [corner.numbers(2) for corner in shape["points"]]
        check_pixels(shape.where(), points)
        if kind == "mask":
            canvas.mask(label, _stamp(shape, points, canvas.size))
            return
        if kind == "rectangle" and len(points) == 2:
            (x0, y0), (x1, y1) = points
            points = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
        elif kind == "circle" and len(points) == 2:
            (x0, y0), (x1, y1) = points
            radius, steps = math.hypot(x1 - x0, y1 - y0), np.arange(_CIRCLE_CORNERS) * 2 * math.pi / _CIRCLE_CORNERS
            points = np.stack([x0 + radius * np.cos(steps), y0 + radius * np.sin(steps)], 1).tolist()
        elif kind not in ("polygon", "rectangle", "circle"):
            raise shape.error(f"is a {kind}, which has no area; full masks need polygons, or remove the shape")
        canvas.polygon(label, [value for point in points for value in point], shape.where())


def _stamp(shape: JsonValue, points: list[list[float]], size: Size) -> np.ndarray:
    """Return the pixels, bool `[H, W]`, of a LabelMe shape of the type mask: a small image and its place."""
    text = shape["mask"]
    try:
        with Image.open(io.BytesIO(base64.b64decode(text.text(), validate=True))) as image:
            stamp = np.asarray(image.convert("L")) > 0  # [h, w]
    # Pillow raises many kinds of errors for damaged files.
    except (binascii.Error, OSError, ValueError, SyntaxError, EOFError) as error:
        raise text.wrong("an image in base64") from error
    if not points:
        raise shape["points"].wrong("the corners of the mask")
    left, top = (math.floor(min(values)) for values in zip(*points, strict=True))
    height, width = stamp.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise shape.error(f"is a mask of {width}x{height} pixels that reaches outside the image")
    pixels = np.zeros(size, bool)
    pixels[top : top + height, left : left + width] = stamp
    return pixels


class YoloPolygonReader(ShapeReader):
    """Reader of one text file per image: lines of class number and the corners x, y of a polygon.

    Coordinates are relative to the image. Class numbers follow `order`, or the classes without background.
    """

    suffixes = (".txt",)

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        names, canvas = self.names.space.names, self.canvas(size)
        order = self.options.order or [name for k, name in enumerate(names) if k != self.options.background]
        scale = np.array(size[::-1], np.float64)
        for count, line in read_lines(path):
            number, corners = yolo_polygon(path, count, line)
            if number >= len(order):
                raise LabelSettingError(
                    f"{path}, line {count}: class {number} is outside 0..{len(order) - 1}; set 'order' under weak to "
                    "the class names behind the numbers"
                )
            label = self.names.find(order[number], path)
            canvas.polygon(label, (corners * scale).ravel().tolist(), f"{path}, line {count}")
        return self.finish(id, canvas)


def yolo_polygon(path: Path, count: int, line: str) -> tuple[int, np.ndarray]:
    """Return the class number and the corners `[n, 2]`, in 0..1, of a line of YOLO's format for outlines.

    Raises:
        InputError: not such a line; names file and line.
    """
    values = [to_number(part) for part in line.split()]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values) or len(numbers) < 7 or not len(numbers) % 2 or numbers[0] != abs(int(numbers[0])):
        raise InputError(
            f"{path}, line {count}: {shorten(line)!r} is not 'class x y x y x y ...' with 3 corners or more"
        )
    corners = np.array(numbers[1:]).reshape(-1, 2)
    if corners.min() < -0.01 or corners.max() > 1.01:  # tools round a little beyond the border
        raise InputError(f"{path}, line {count}: {shorten(line)!r} must be relative to the image, in 0..1")
    return int(numbers[0]), corners
