"""Labels that are dense where they are known: partial masks as images, and polygons (Cityscapes JSON)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from gss.core.errors import InputError
from gss.data.images import MASK_SUFFIXES, load_color_mask, load_mask
from gss.data.weak.errors import LabelSettingError
from gss.data.weak.labels import Size, WeakLabels
from gss.data.weak.raster import check_pixels, polygon_fits
from gss.data.weak.readers.base import Options, Reader, check_size
from gss.data.weak.readers.files import read_json_value
from gss.labels.space import IGNORE_INDEX

# Labels of Cityscapes polygons that belong to none of its training classes.
_CITYSCAPES_VOID = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "parking"),
    *("rail track", "guard rail", "bridge", "tunnel", "polegroup", "caravan", "trailer", "license plate"),
)


class MaskReader(Reader):
    """Reader of one image file per image: class numbers, unlabelled pixels 255 or K.

    Some published label sets write the number of classes K for unlabelled pixels and keep 255 for padding and object
    borders. A file that holds K can only be one of these; both values are read as unlabelled, with one warning.
    """

    exhaustive = False
    suffixes = MASK_SUFFIXES

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.coding: str | None = None  # value of unlabelled pixels, once a file that holds K was read

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        colors = self.options.raw and self.options.label_map.color_coded
        raw = load_color_mask(path) if colors else load_mask(path)
        check_size(path, id, (raw.shape[0], raw.shape[1]), size)
        if self.options.raw:
            labels, unknown = self.options.label_map.apply(raw)
            if len(unknown):
                shown = ", ".join(map(self.options.label_map.show, unknown[:8].tolist()))
                raise InputError(
                    f"mask {path} holds values unknown to the data spec: {shown}; add them to label_map or ignore"
                )
        else:
            labels, by_count = decode_mask(raw, len(self.names), path)
            if by_count and self.coding is None:
                self.coding = f"{len(self.names)} (the number of classes)"
                state_coding(raw, len(self.names), path)
        return self.build(id, size, partial=labels)


def decode_mask(raw: np.ndarray, num_classes: int, path: Path) -> tuple[np.ndarray, bool]:
    """Return the class numbers of a partial mask.

    Args:
        raw: values `[H, W]` as stored.
        num_classes: K.
        path: file, for the message.

    Returns:
        uint8 `[H, W]`, 255 where unlabelled, and whether the file marks unlabelled pixels with K.

    Raises:
        InputError: other values than 0..K and 255.
    """
    strange = np.unique(raw[(raw > num_classes) & (raw != IGNORE_INDEX)])
    if len(strange):
        shown = ", ".join(map(str, strange[:8].tolist()))
        raise LabelSettingError(
            f"mask {path} holds {shown}; allowed are classes 0..{num_classes - 1} and "
            f"255 or {num_classes} for unlabelled; set 'values: raw' under weak to read it with the spec's label_map"
        )
    by_count = bool((raw == num_classes).any())
    return np.where(raw == num_classes, IGNORE_INDEX, raw).astype(np.uint8), by_count


def state_coding(raw: np.ndarray, num_classes: int, path: Path) -> None:
    """Warn that the value K of a mask `[H, W]` is read as unlabelled."""
    count = int((raw == num_classes).sum())
    warnings.warn(
        f"{path} marks {count} unlabelled pixels with {num_classes} (the number of classes); read as 255 is. "
        f"If {num_classes} is a class, its name is missing among the classes",
        stacklevel=2,
    )


class PolygonReader(Reader):
    """Reader of one JSON file per image with `imgHeight`, `imgWidth` and `objects` of `label` and `polygon`.

    This is the format of Cityscapes. Later polygons lie over earlier ones. Labels of Cityscapes outside its training
    classes are void; other names must be classes. Corners are pixels, and pixels on the outline belong to the polygon:
    Pillow draws them as the label images of Cityscapes were drawn, so both are equal.
    """

    exhaustive = False
    suffixes = (".json",)

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        names = self.names.extended({}, _CITYSCAPES_VOID)
        content = read_json_value(path)
        check_size(path, id, (content["imgHeight"].number(), content["imgWidth"].number()), size)
        canvas = Image.new("L", size[::-1], IGNORE_INDEX)
        draw = ImageDraw.Draw(canvas)
        for item in content["objects"]:
            deleted = item.get("deleted")
            if deleted is not None and deleted.flag():
                continue
            name = item["label"].text()
            # "cargroup" is a number of cars that could not be told apart.
            single = name.removesuffix("group")
            label = names.find(single if single != name and name.lower() != "polegroup" else name, item.where())
            corners = [tuple(corner.numbers(2)) for corner in item["polygon"]]
            check_pixels(item.where(), corners)
            if not polygon_fits([value for corner in corners for value in corner], size):
                raise item.error(f"lies far outside the image of {size[1]}x{size[0]} pixels")
            if len(corners) > 1:
                draw.polygon(corners, fill=IGNORE_INDEX if label is None else label)
        return self.build(id, size, partial=np.array(canvas))
