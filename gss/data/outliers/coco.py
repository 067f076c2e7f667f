"""Instances of COCO annotation files, of both kinds: `instances_*.json` and `panoptic_*.json`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from gss.core.errors import InputError
from gss.data.images import load_color_mask, load_image
from gss.data.outliers.cutout import cutout
from gss.labels.space import IGNORE_INDEX, OUTLIER_LABEL


class CocoFile:
    """The pictures of an annotation file that show nothing known, and their instances.

    Args:
        path: instance file, or panoptic file beside the folder of its PNGs (same name without `.json`).
        split: `train` (the first four fifths of the pictures by id), `val` (the rest) or `all`.
        images: folder of the pictures.
        exclude: categories; a picture with any instance of them, crowds included, is left out.

    Raises:
        ValueError: not such a file, no folder of pictures, missing pictures, unknown split or category.
    """

    def __init__(self, path: Path, split: str, *, images: str | Path | None, exclude: Collection[str]) -> None:
        if split not in ("train", "val", "all"):
            raise InputError(f"split {split!r} of {path} does not exist; a COCO file has train, val and all")
        if not images or not Path(images).is_dir():
            raise InputError(f"images={str(images or '')!r} is no folder; name the one with the pictures of {path}")
        self.path, self.folder = path, Path(images)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            names = {int(c["id"]): str(c["name"]) for c in content["categories"]}
            things = {int(c["id"]) for c in content["categories"] if c.get("isthing", 1)}
            self.files = {int(image["id"]): str(image["file_name"]) for image in content["images"]}
            self.panoptic = any("segments_info" in entry for entry in content["annotations"][:1])
            entries = [_segments(entry) for entry in content["annotations"]]
            found = [segment for part in entries for segment in part]
            categories = [int(segment["category_id"]) for segment in found]
            owners = [int(segment["image_id"]) for segment in found]
        except FileNotFoundError:
            raise InputError(f"annotation file not found: {path}") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no COCO instance or panoptic file: {error!r}") from error
        self.names = names
        banned = {key for key, name in names.items() if name.lower() in {text.lower() for text in exclude}}
        known = {owner for owner, category in zip(owners, categories, strict=True) if category in banned}
        ids = sorted(self.files)
        cut = len(ids) - max(1, len(ids) // 5)
        part = {"train": ids[:cut], "val": ids[cut:], "all": ids}[split]
        self.images = [id for id in part if id not in known]
        chosen = set(self.images)
        self.instances: dict[int, list[dict[str, Any]]] = {id: [] for id in self.images}
        for owner, category, segment in zip(owners, categories, found, strict=True):
            if owner in chosen and category in things:
                self.instances[owner].append(segment)
        missing = [self.files[id] for id in self.images if not (self.folder / self.files[id]).is_file()]
        if missing:
            raise InputError(f"{len(missing)} pictures of {path} are missing, first: {self.folder / missing[0]}")

    def read(self, image: int) -> Image.Image:
        """One picture, RGB."""
        return load_image(self.folder / self.files[image])

    def masks(self, image: int, size: tuple[int, int], segments: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
        """Masks of instances of one picture, bool `[H, W]`, at its size (H, W)."""
        if not self.panoptic:
            return [instance_mask(segment["segmentation"], size) for segment in segments]
        if not segments:
            return []
        colors = load_color_mask(self.path.with_suffix("") / segments[0]["file_name"]).astype(np.int64)
        ids = colors @ [1, 256, 65536]
        if ids.shape != size:
            raise InputError(f"panoptic mask of {self.files[image]} is {ids.shape}, its picture {size} (H, W)")
        return [ids == int(segment["id"]) for segment in segments]


def _segments(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Segments of an annotation, which is one itself or, in panoptic files, has a list of them."""
    shared = {key: entry[key] for key in ("image_id", "file_name") if key in entry}
    return [{**part, **shared} for part in entry.get("segments_info", [entry])]


class CocoObjects:
    """Objects of a COCO file, one an instance; crowds are none.

    Args:
        path, split, images, exclude: see `CocoFile`.
        min_pixels: smaller objects are left out.

    Raises:
        ValueError: see `CocoFile`.
    """

    def __init__(
        self,
        path: Path,
        split: str,
        *,
        images: str | Path | None = None,
        exclude: Collection[str] = (),
        min_pixels: int = 1,
    ) -> None:
        self._file = CocoFile(path, split, images=images, exclude=exclude)
        self._items = [
            (image, segment)
            for image, segments in self._file.instances.items()
            for segment in segments
            if not segment.get("iscrowd") and segment["area"] >= min_pixels
        ]
        self.ids = [f"{image}:{segment['id']}" for image, segment in self._items]
        self.categories = [self._file.names[int(segment["category_id"])] for _, segment in self._items]

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, index: int) -> Image.Image:
        """See `gss.data.outliers.objects.Objects.cut`.

        Raises:
            ValueError: the instance has no pixel, although the file gives it an area.
        """
        image, segment = self._items[index]
        picture = self._file.read(image)
        (mask,) = self._file.masks(image, (picture.height, picture.width), [segment])
        if not mask.any():
            raise InputError(f"instance {self.ids[index]} of {self._file.path} has no pixel; correct the file")
        return cutout(picture, mask)


def instance_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Mask of polygons `[[x, y, x, y, ...], ...]` or of run lengths `{"size": [H, W], "counts": ...}`.

    Args:
        segmentation: as in an instance file.
        size: (H, W) of the picture.

    Returns:
        Bool `[H, W]`.

    Raises:
        ValueError: run lengths of another size.
    """
    if isinstance(segmentation, Mapping):
        if list(segmentation["size"]) != list(size):
            raise InputError(f"run lengths are of size {segmentation['size']}, the picture has {list(size)}")
        counts = segmentation["counts"]
        return decode_runs(_unpack(counts) if isinstance(counts, str) else counts, size)
    canvas = Image.new("1", (size[1], size[0]))
    draw = ImageDraw.Draw(canvas)
    for polygon in segmentation:
        if len(polygon) >= 6:
            # COCO counts from pixel corners, Pillow from pixel centres.
            draw.polygon([(x - 0.5, y - 0.5) for x, y in zip(polygon[::2], polygon[1::2], strict=True)], fill=1)
    return np.array(canvas)


def decode_runs(counts: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Mask of run lengths, background first, column by column: bool `[H, W]`.

    Raises:
        ValueError: the runs do not add up to H W pixels.
    """
    if sum(counts) != size[0] * size[1]:
        raise InputError(f"run lengths cover {sum(counts)} pixels, the picture has {size[0] * size[1]}")
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return values.reshape(size[1], size[0]).T


def _unpack(text: str) -> list[int]:
    """Run lengths of COCO's compressed form: six bits a character, each count relative to the one before the last."""
    counts: list[int] = []
    value = shift = 0
    for character in text.encode():
        bits = character - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    return counts


def foreign_labels(file: CocoFile, image: int, size: tuple[int, int]) -> np.ndarray:
    """Labels of a whole picture: its instances 254, crowds void, the rest 0; uint8 `[H, W]`."""
    labels = np.zeros(size, np.uint8)
    segments = file.instances[image]
    for segment, mask in zip(segments, file.masks(image, size, segments), strict=True):
        labels[mask] = IGNORE_INDEX if segment.get("iscrowd") else OUTLIER_LABEL
    return labels
