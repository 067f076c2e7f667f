"""Images with tags for training a tag classifier, and folders of images without any label."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from gss.core.errors import InputError
from gss.data.datasets import SegmentationDataset
from gss.data.files import find_files
from gss.data.images import IMAGE_SUFFIXES, load_image
from gss.data.protocols import ReadableImages
from gss.data.transforms import JointTransform, sample_generator
from gss.labels.counts import count_labels
from gss.labels.space import IGNORE_INDEX

_OTHER_STREAM = 2  # random numbers of the other images; those of the samples stay the same


class ImageFolder:
    """Images of a folder and its sub-folders; of a folder with `images/`, only those in it.

    Args:
        folder: folder of the images.
        cache: True keeps decoded images in memory.

    Raises:
        InputError: no such folder, or no image in it.
    """

    def __init__(self, folder: str | Path, *, cache: bool = False) -> None:
        place = Path(folder).expanduser()
        if not place.is_dir():
            raise InputError(f"folder of images not found: {place}")
        if (place / "images").is_dir():
            place = place / "images"
        found = find_files(place, "{id}.*", IMAGE_SUFFIXES)
        self.ids = sorted(found)
        self.files = [found[id] for id in self.ids]
        if not self.files:
            raise InputError(f"{place} holds no picture: put some there, ending in {', '.join(IMAGE_SUFFIXES)}")
        self._cache: dict[int, Image.Image] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> Image.Image:
        """Return PIL RGB."""
        if self._cache is None:
            return load_image(self.files[index])
        if index not in self._cache:
            self._cache[index] = load_image(self.files[index])
        return self._cache[index]

    def check_apart(self, files: Collection[Path], what: str) -> None:
        """Raise an InputError that names an image if one of these images is among `files`."""
        shared = {path.resolve() for path in self.files} & {path.resolve() for path in files}
        if shared:
            raise InputError(f"{len(shared)} images are also among {what}, such as {min(shared)}: take them out")


def read_tags(dataset: ReadableImages, index: int) -> tuple[np.ndarray, bool]:
    """Return the classes known to be in an image, bool `[K]`, and True if there are no others (as with a full mask)."""
    weak = dataset.read_weak(index)[0] if isinstance(dataset, SegmentationDataset) else None
    if weak is not None:
        return weak.present(), weak.exhaustive
    counts = count_labels(dataset.read(index)[1])
    return counts[: dataset.label_space.num_classes] > 0, True


def fit_longer_side(image: Image.Image, size: int) -> Image.Image:
    """Resize to a longer side of `size` pixels, keeping the proportions."""
    factor = size / max(image.size)
    width, height = (max(round(side * factor), 1) for side in image.size)
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)


class TaggedImages(Dataset[dict[str, Any]]):
    """Augmented images with their tags, optionally each with a random image of another folder.

    Args:
        base: images with tags or masks.
        transform: augmentation; its scale is relative to an image whose longer side is that of the crop.
        others: images of another folder, one is drawn at random for each sample.
    """

    def __init__(self, base: ReadableImages, transform: JointTransform, *, others: ImageFolder | None = None) -> None:
        self.base, self.others, self.ids, self.epoch = base, others, base.ids, 0
        # Without pixel labels the share of a class in a crop cannot be limited.
        self.transform = dataclasses.replace(transform, max_class_ratio=1.0)
        # Tags are small, and reading them again would decode every image twice.
        self._tags: dict[int, tuple[np.ndarray, bool]] = {}

    def __len__(self) -> int:
        return len(self.base)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose augmentations `__getitem__` draws."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return `image` and any `other` float32 `[3, H, W]`, `tags` bool `[K]`, `exhaustive`, `id` and `index`."""
        if index not in self._tags:
            self._tags[index] = read_tags(self.base, index)
        tags, exhaustive = self._tags[index]
        item: dict[str, Any] = {
            "image": self._augment(self.base.read(index)[0], index),
            "tags": torch.from_numpy(tags),
            "exhaustive": torch.tensor(exhaustive),
            "id": self.ids[index],
            "index": index,
        }
        if self.others is not None:
            generator = sample_generator(self.transform.seed, self.epoch, index, _OTHER_STREAM)
            drawn = int(torch.randint(len(self.others), (), generator=generator))
            item["other"] = self._augment(self.others.read(drawn), index, _OTHER_STREAM)
        return item

    def _augment(self, image: Image.Image, index: int, *stream: int) -> torch.Tensor:
        transform, numbers = self.transform, (self.transform.seed, self.epoch, index, *stream)
        factor = max(transform.crop) / max(image.size)
        low, high = transform.scale
        sized = dataclasses.replace(transform, scale=(low * factor, high * factor))
        blank = np.full((image.height, image.width), IGNORE_INDEX, np.uint8)
        rng = np.random.default_rng([*numbers, 1]) if transform.shift > 0 else None
        return sized.draw(image, blank, sample_generator(*numbers), rng)[0]
