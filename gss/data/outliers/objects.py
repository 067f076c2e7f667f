"""Objects cut out of pictures, to be pasted into others: from folders, COCO files or generated scenes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from gss.core.errors import InputError, quoted
from gss.core.files import read_json
from gss.core.json_value import JsonValue
from gss.data.datasets import check_sizes
from gss.data.generated import ScenesDataset
from gss.data.images import load_image, load_mask
from gss.data.outliers.coco import CocoObjects
from gss.data.outliers.cutout import cutout
from gss.data.specs.load import load_spec
from gss.data.specs.spec import DataSpec
from gss.labels.space import IGNORE_INDEX


class Objects(Protocol):
    """Cut-outs with their names.

    Attributes:
        ids: ids, unique within the source.
        categories: category of each object; empty if unknown.
    """

    ids: list[str]
    categories: list[str]

    def __len__(self) -> int: ...

    def cut(self, index: int) -> Image.Image:
        """Return an RGBA picture of one object in its tight box; alpha is 255 on the object and 0 elsewhere."""
        ...


def open_objects(
    source: str | Path,
    split: str = "all",
    *,
    root: str | Path | None = None,
    images: str | Path | None = None,
    exclude: Collection[str] = (),
    min_pixels: int = 1,
) -> Objects:
    """Open a source of objects.

    Args:
        source: folder with `images/`, `masks/` and, to name categories, `objects.json`; COCO instance or panoptic
            file (`.json`); or spec of generated scenes, whose objects of no known class are taken.
        split: split of the folder or the spec. COCO files and folders without lists are divided by id: `train` is the
            first four fifths of the images, `val` the rest, `all` everything.
        root: folder of a data set, instead of the one in its spec.
        images: folder of the pictures that a COCO file names.
        exclude: categories that are classes and therefore not outliers, in upper or lower case. A COCO picture that
            shows one of them is left out.
        min_pixels: smallest area of an object, in pixels.

    Raises:
        InputError: no such source or split, no object in it, masks without an object, or unreadable files.
    """
    path = Path(source).expanduser()
    objects: Objects
    if path.suffix.lower() == ".json":
        objects = CocoObjects(path, split, images=images, exclude=exclude, min_pixels=min_pixels)
    elif (spec := load_spec(source, root).as_listed()).generator is not None:
        objects = SceneObjects(spec, split, min_pixels=min_pixels)
    else:
        objects = FolderObjects(spec, split, exclude=exclude, min_pixels=min_pixels)
    if not len(objects):
        raise InputError(
            f"{source} holds no object for split {split!r} that is not excluded and has {min_pixels} pixels or more"
        )
    return objects


def fingerprint(*ids: Iterable[str]) -> str:
    """Return a short name of lists of ids, the same for the same ids in the same order."""
    lists = [list(part) for part in ids]
    digest = hashlib.sha256(json.dumps(lists).encode()).hexdigest()
    return f"{'+'.join(str(len(part)) for part in lists)} ids, sha256 {digest[:12]}"


class FolderObjects:
    """Objects of a folder of images and masks, one per mask.

    The object is everything except void and the class "background" (the first class, if none has this name). All
    masks are read when the folder is opened, so that a mask without an object does not stop a training.

    Args:
        spec: data spec of the folder.
        split: split of the spec.
        exclude: categories to leave out.
        min_pixels: smallest area of an object, in pixels.

    Raises:
        InputError: masks without an object (with their number and the first), missing files, sizes that differ, or a
            damaged `objects.json`.
    """

    def __init__(self, spec: DataSpec, split: str, *, exclude: Collection[str] = (), min_pixels: int = 1) -> None:
        self._spec = spec
        names = spec.label_space.names
        self._background = names.index("background") if "background" in names else 0
        samples = spec.samples(split)
        absent = [sample for sample in samples if sample.missing]
        if absent:
            kind = absent[0].missing[0]
            path = absent[0].image if kind == "image" else absent[0].mask
            raise InputError(f"{len(absent)} objects of {spec.root} lack a file, first: {path}")
        category = _categories(spec.folder() / "objects.json")
        if category and not any(sample.id in category for sample in samples) and not _of_others(spec, category):
            raise InputError(
                f"{spec.folder() / 'objects.json'} names none of the {len(samples)} objects, such as "
                f"{quoted(samples[0].id)}, but {quoted(min(category))}: give names without the ending"
            )
        banned = {name.lower() for name in exclude}
        samples = [sample for sample in samples if category.get(sample.id, "").lower() not in banned]
        pixels = [
            int(self._mask(sample.mask).sum())
            for sample in tqdm(samples, desc="reading object masks", disable=len(samples) < 500, leave=False)
        ]
        empty = [sample.mask for sample, count in zip(samples, pixels, strict=True) if not count]
        if empty:
            raise InputError(
                f"{len(empty)} of {len(samples)} masks of {spec.root} show no object, first: {empty[0]}; take them "
                f"off the list of split {split!r}, or say in classes.json which value is the background"
            )
        self.samples = [sample for sample, count in zip(samples, pixels, strict=True) if count >= min_pixels]
        self.ids = [sample.id for sample in self.samples]
        self.categories = [category.get(id, "") for id in self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, index: int) -> Image.Image:
        """See `Objects.cut`."""
        sample = self.samples[index]
        image, mask = load_image(sample.image), self._mask(sample.mask)
        check_sizes(sample, image, mask)
        return cutout(image, mask)

    def _mask(self, path: Path) -> np.ndarray:
        labels, unknown = self._spec.label_map.apply(load_mask(path))
        if len(unknown):
            shown = ", ".join(map(str, unknown[:8].tolist()))
            raise InputError(f"mask {path} holds values that classes.json does not name: {shown}")
        return (labels != self._background) & (labels != IGNORE_INDEX)


def _of_others(spec: DataSpec, names: Collection[str]) -> bool:
    """Return whether names are those of objects of other splits, or of none."""
    files = spec if "{split}" in spec.image else replace(spec, list_file=None, splits={})
    return any(sample.id in names for part in files.available_splits() for sample in files.samples(part))


def _categories(path: Path) -> dict[str, str]:
    """Return the category by id from `objects.json`, a list of `{"name": id, "category": ...}`; empty without it."""
    if not path.is_file():
        return {}
    return {str(entry["name"].name()): entry["category"].text() for entry in JsonValue(read_json(path), path)}


class SceneObjects:
    """Objects of no known class from generated scenes: the largest object of each scene.

    Args:
        spec: spec of generated scenes; the length of the split is the number of objects.
        split: split of the spec. No two splits share a scene, and none shares one with the data set of the same name.
        min_pixels: smallest area of an object, in pixels; scenes without such an object are skipped.

    Raises:
        InputError: no such split.
    """

    def __init__(self, spec: DataSpec, split: str, *, min_pixels: int = 1) -> None:
        spec.check_split(split)
        options = spec.options
        self._count, self._min_pixels = int(options["length"][split]), min_pixels
        self._scenes = ScenesDataset(
            f"objects_{split}",
            domain=str(options.get("domain", "clear")),
            length=_TRIES * self._count,
            size=tuple(options.get("image_size", (192, 256))),
            seed=int(options.get("seed", 0)),
            unknown=options.get("unknown") or True,
        )
        # The ids name kinds and seed, so that a run is not resumed with other objects.
        series = f"{self._scenes.domain} {self._scenes.seed} {'+'.join(self._scenes.unknown)}"
        self.ids = [f"{series}/{split}_{index:05d}" for index in range(self._count)]
        self.categories = [""] * self._count
        self._cuts: dict[int, Image.Image] = {}  # small, and a scene takes long to draw

    def __len__(self) -> int:
        return self._count

    def cut(self, index: int) -> Image.Image:
        """See `Objects.cut`; each process generates the scene once."""
        if index not in self._cuts:
            self._cuts[index] = self._draw(index)
        return self._cuts[index]

    def _draw(self, index: int) -> Image.Image:
        for number in range(index, _TRIES * self._count, self._count):
            scene = self._scenes.read_full(number)
            parts, count = ndimage.label(scene.unknown)
            if count:
                sizes = np.bincount(parts.ravel())[1:]
                if sizes.max() >= self._min_pixels:
                    return cutout(Image.fromarray(scene.image), parts == sizes.argmax() + 1)
        raise InputError(f"{_TRIES} scenes show no object of {self._min_pixels} pixels: choose a smaller min_pixels")


_TRIES = 20  # scenes looked at for one object; most show one


def check_unknown(objects: Objects, class_names: Sequence[str]) -> None:
    """Require that no object is of a class of the segmenter.

    Raises:
        InputError: such an object; names the category and how to leave it out.
    """
    known = {name.lower(): name for name in class_names}
    shared = sorted({category for category in objects.categories if category.lower() in known})
    if shared:
        raise InputError(
            f"objects of the category {quoted(shared[0])} are no outliers, because {quoted(known[shared[0].lower()])} "
            f"is a class of the data set; add {', '.join(shared)} to outliers.exclude"
        )
