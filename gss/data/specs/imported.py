"""Data sets as classes of the user's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from gss.core.errors import InputError
from gss.data.images import image_from_pil
from gss.data.sample import make_item
from gss.data.specs.source import find_source, source_labels
from gss.data.transforms import JointTransform, resize_pair
from gss.labels.space import IGNORE_INDEX


class ImportedDataset(Dataset[dict[str, Any]]):
    """Split of a data set of the user's own, with the interface of `gss.data.protocols.LabelledImages`.

    Args:
        name: `module:Name` of its class.
        split: name of the split.
        root: folder of the data.
        transform: augmentation applied by `__getitem__`, not by `read`.
        size: (H, W) that images and labels are resized to when read; None keeps their size.

    Raises:
        InputError: it has no image, or an id twice.
    """

    def __init__(
        self,
        name: str,
        split: str,
        *,
        root: str | None = None,
        transform: JointTransform | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        source = find_source(name)
        if source is None:
            raise InputError(f"there is no data set {name!r}")
        self.name, self.split, self.transform, self.size = name, split, transform, size
        self.source = source(split, root)
        self.label_space = source_labels(name, self.source)
        self.ids = [str(id) for id in self.source.ids]
        if not self.ids or len(set(self.ids)) < len(self.ids):
            raise InputError(f"{name}: split {split!r} has {len(self.ids)} images, and every id must be there once")
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.ids)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose augmentations `__getitem__` draws in this process."""
        self.epoch = epoch

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Return PIL RGB and labels uint8 `[H, W]` (255 = void).

        Raises:
            InputError: labels of another size than the image, or other values than class numbers and 255.
        """
        image, labels = self.source.read(index)
        picture = image_from_pil(image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image)))
        labels = np.asarray(labels)
        where = f"{self.name}: image {self.ids[index]!r}"
        if labels.shape != (picture.height, picture.width):
            raise InputError(f"{where} is {picture.width}x{picture.height}, its labels are {labels.shape} (H, W)")
        strange = labels[(labels != IGNORE_INDEX) & ~((labels >= 0) & (labels < self.label_space.num_classes))]
        if strange.size:
            raise InputError(f"{where} has the label {strange.flat[0]}; allowed are 0..K-1 and 255 for void")
        labels = labels.astype(np.uint8)
        if self.size is not None and self.size != labels.shape:
            picture, labels = resize_pair(picture, labels, self.size)
        return picture, labels

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read and augment one sample; see `gss.data.sample.make_item`."""
        image, labels = self.read(index)
        id, epoch = self.ids[index], self.epoch
        return make_item(image, labels, id=id, index=index, epoch=epoch, transform=self.transform)
