"""Instances of COCO annotation files, of both kinds: `instances_*.json` and `panoptic_*.json`."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gss.core.errors import InputError, quoted, unknown_name
from gss.core.files import read_json
from gss.core.json_value import JsonValue, collection_paused
from gss.data.images import load_color_mask, load_image
from gss.data.outliers.cutout import cutout
from gss.data.weak.segmentation import Polygons, RunLengths, Size, read_segmentation
from gss.labels.space import IGNORE_INDEX, OUTLIER_LABEL

SPLITS = ("train", "val", "all")
"""Splits of a COCO file: the first four fifths of the pictures by id, the rest, and all."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One annotated object of a picture.

    Attributes:
        id: id of the annotation; of a panoptic segment the number in the mask.
        category: id of the category.
        crowd: whether the annotation covers a group of objects.
        area: area in pixels; None if the file does not state it.
        mask: polygons or run lengths; None for a panoptic segment.
        file_name: PNG that holds a panoptic segment.
    """

    id: int
    category: int
    crowd: bool
    area: float | None
    mask: Polygons | RunLengths | None = None
    file_name: str = ""


class CocoFile:
    """Pictures of an annotation file without an excluded category, and their instances.

    The whole file is checked when it is opened. Annotations without a mask (boxes alone) are left out with one
    warning that counts them.

    Args:
        path: instance file, or panoptic file beside the folder of its PNGs (same name without `.json`).
        split: one of `SPLITS`.
        images: folder of the pictures.
        exclude: categories; a picture with any instance of them, crowds included, is left out.

    Raises:
        InputError: not such a file (names the annotation), no folder of pictures, missing pictures, or an unknown
            split.
    """

    @collection_paused()
    def __init__(self, path: Path, split: str, *, images: str | Path | None, exclude: Collection[str]) -> None:
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS, where=str(path))
        if not images or not Path(images).is_dir():
            raise InputError(
                f"images={quoted(str(images or ''))} is not a folder; name the one with the pictures of {path}"
            )
        if not path.is_file():
            raise InputError(f"annotation file not found: {path}")
        self.path, self.folder = path, Path(images)
        content = JsonValue(read_json(path), path)
        categories = [(item["id"].integer(), item) for item in content["categories"]]
        _check_unique("category", [key for key, _ in categories], path)
        self.names = {key: item["name"].text() for key, item in categories}
        things = {key for key, item in categories if (thing := item.get("isthing")) is None or thing.flag()}
        pictures = [(item["id"].integer(), item) for item in content["images"]]
        _check_unique("image", [id for id, _ in pictures], path)
        self.files = {id: item["file_name"].text() for id, item in pictures}
        self._sizes = {id: _stated_size(item) for id, item in pictures}
        self.panoptic = any(item.get("segments_info") is not None for item in content["annotations"])
        annotations = [
            (owner, self._category(segment), segment, file_name)
            for owner, segment, file_name in _annotations(content, self.panoptic)
        ]
        excluded = {key for key, name in self.names.items() if name.lower() in {text.lower() for text in exclude}}
        known = {owner for owner, category, *_ in annotations if category in excluded}
        ids = sorted(self.files)
        cut = len(ids) - max(1, len(ids) // 5)
        part = {"train": ids[:cut], "val": ids[cut:], "all": ids}[split]
        self.images = [id for id in part if id not in known]
        self.instances: dict[int, list[Instance]] = {id: [] for id in self.images}
        bare = []
        for owner, category, segment, file_name in annotations:
            if owner in self.instances and category in things:
                instance = _instance(segment, category, self._sizes[owner], file_name)
                if instance.mask is None and not self.panoptic:
                    bare.append(instance.id)
                else:
                    self.instances[owner].append(instance)
        if bare:
            warnings.warn(
                f"{path}: {len(bare)} annotations have no mask (boxes alone) and are left out, first: id {bare[0]}",
                stacklevel=2,
            )
        self._require_files()

    def _category(self, segment: JsonValue) -> int:
        category = segment["category_id"].integer()
        if category not in self.names:
            raise segment.error(f"is of category {category}, which 'categories' does not list")
        return category

    def _require_files(self) -> None:
        missing = [path for id in self.images if not (path := self.folder / self.files[id]).is_file()]
        if missing:
            first = " ".join(str(missing[0]).split())
            raise InputError(f"{len(missing)} pictures of {self.path} are missing, first: {first}")
        names = {instance.file_name for id in self.images for instance in self.instances[id] if instance.file_name}
        absent = sorted(name for name in names if not self._panoptic_path(name).is_file())
        if absent:
            first = " ".join(str(self._panoptic_path(absent[0])).split())
            raise InputError(f"{len(absent)} panoptic masks of {self.path} are missing, first: {first}")

    def _panoptic_path(self, file_name: str) -> Path:
        return self.path.with_suffix("") / file_name

    def read(self, image: int) -> Image.Image:
        """Return one picture, RGB.

        Raises:
            InputError: unreadable, or of another size than the file states, so that masks would not fit.
        """
        path, stated = self.folder / self.files[image], self._sizes[image]
        picture = load_image(path)
        if stated is not None and stated != (picture.height, picture.width):
            raise InputError(
                f"{path} has {picture.width}x{picture.height} pixels, but {self.path} states {stated[1]}x{stated[0]} "
                f"for image {image}: give the pictures that were annotated"
            )
        return picture

    def masks(self, image: int, size: Size, instances: Sequence[Instance]) -> list[np.ndarray]:
        """Return the masks of instances of one picture, bool `[H, W]`.

        Args:
            image: id of the picture.
            size: (H, W) of the picture.
            instances: some of its instances.

        Raises:
            InputError: a mask does not fit the picture; names file and annotation.
        """
        if not instances:
            return []
        if self.panoptic:
            colors = load_color_mask(self._panoptic_path(instances[0].file_name)).astype(np.int64)
            ids = colors @ [1, 256, 65536]  # [H, W]
            if ids.shape != size:
                raise InputError(f"panoptic mask of {self.files[image]} is {ids.shape}, its picture {size} (H, W)")
            return [ids == instance.id for instance in instances]
        masks = []
        for instance in instances:
            assert instance.mask is not None
            try:
                masks.append(instance.mask.mask(size))
            except InputError as error:
                raise InputError(f"{self.path}: annotation {instance.id} of {self.files[image]}: {error}") from error
        return masks

    def area(self, image: int, instance: Instance) -> float:
        """Return the area of an instance in pixels, computed if the file does not state it."""
        if instance.area is not None:
            return instance.area
        if instance.mask is not None:
            return instance.mask.area()
        picture = self.read(image)
        (mask,) = self.masks(image, (picture.height, picture.width), [instance])
        return float(mask.sum())


def _check_unique(kind: str, ids: Sequence[int], path: Path) -> None:
    """Refuse ids that stand for several images or categories, of which only one would count."""
    if len({*ids}) < len(ids):
        seen: set[int] = set()
        twice = next(id for id in ids if id in seen or seen.add(id))  # type: ignore[func-returns-value]
        raise InputError(f"{path}: two entries have the {kind} id {twice}; give each its own")


def _stated_size(item: JsonValue) -> Size | None:
    """Return (H, W) of an image, if the file states it."""
    height, width = item.get("height"), item.get("width")
    return None if height is None or width is None else (height.integer(), width.integer())


def _annotations(content: JsonValue, panoptic: bool) -> Iterator[tuple[int, JsonValue, str]]:
    """Yield the picture's id, the annotation and the PNG (panoptic files) of every annotated object."""
    for item in content["annotations"]:
        image = item["image_id"].integer()
        if panoptic:
            file_name = item["file_name"].text()
            for segment in item["segments_info"]:
                yield image, segment, file_name
        else:
            yield image, item, ""


def _instance(segment: JsonValue, category: int, size: Size | None, file_name: str) -> Instance:
    id, crowd, area = segment["id"], segment.get("iscrowd"), segment.get("area")
    if file_name and not 0 <= id.integer() < 1 << 24:
        raise id.wrong("a number that fits the three bytes of a color")
    return Instance(
        id.integer(),
        category,
        crowd is not None and crowd.flag(),
        None if area is None or area.number() <= 0 else area.number(),
        None if file_name else read_segmentation(segment.get("segmentation"), size),
        file_name,
    )


class CocoObjects:
    """Objects of a COCO file, one per instance; crowds are left out.

    Args:
        path, split, images, exclude: see `CocoFile`.
        min_pixels: smallest area of an object, in pixels.

    Raises:
        InputError: see `CocoFile`.
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
            (image, instance)
            for image, instances in self._file.instances.items()
            for instance in instances
            if not instance.crowd and self._file.area(image, instance) >= min_pixels
        ]
        self.ids = [f"{image}:{instance.id}" for image, instance in self._items]
        self.categories = [self._file.names[instance.category] for _, instance in self._items]

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, index: int) -> Image.Image:
        """See `gss.data.outliers.objects.Objects.cut`.

        Raises:
            InputError: the instance has no pixel, although the file gives it an area.
        """
        image, instance = self._items[index]
        picture = self._file.read(image)
        (mask,) = self._file.masks(image, (picture.height, picture.width), [instance])
        if not mask.any():
            raise InputError(f"instance {self.ids[index]} of {self._file.path} has no pixel; correct the file")
        return cutout(picture, mask)


def foreign_labels(file: CocoFile, image: int, size: Size) -> np.ndarray:
    """Return the labels of a whole picture, uint8 `[H, W]`: its instances 254, crowds 255, the rest 0."""
    labels = np.zeros(size, np.uint8)
    instances = file.instances[image]
    for instance, mask in zip(instances, file.masks(image, size, instances), strict=True):
        labels[mask] = IGNORE_INDEX if instance.crowd else OUTLIER_LABEL
    return labels
