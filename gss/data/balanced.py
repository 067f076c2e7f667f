"""Training images drawn by class, so that rare classes are seen as often as common ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from gss.core import distributed
from gss.core.errors import InputError
from gss.data.protocols import LabelledImages
from gss.labels.space import IGNORE_INDEX


class ClassBalanced:
    """Data set of the same length that draws a class uniformly for each item, then an image with this class.

    This is the sampling of GMMSeg. The image and the augmentation of an item are functions of (seed, epoch, index): an
    image drawn twice in an epoch is augmented in two ways, and resuming changes nothing.

    Args:
        dataset: augmented training images; their epoch is set here.
        presence: result of `class_presence`; None reads all masks.
        seed: seed of the draws.

    Raises:
        InputError: no image has a label.
    """

    def __init__(self, dataset: LabelledImages, *, presence: np.ndarray | None = None, seed: int = 0) -> None:
        presence = class_presence(dataset) if presence is None else presence
        self._images = [images for images in map(np.flatnonzero, presence.T) if len(images)]
        if not self._images:
            raise InputError("no training image has a label; check the split with 'gss data check'")
        self.dataset, self.seed, self.epoch = dataset, seed, 0
        self.ids, self.label_space = dataset.ids, dataset.label_space

    def __len__(self) -> int:
        return len(self.dataset)

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of the next reads."""
        self.epoch = epoch

    def source(self, epoch: int, index: int) -> int:
        """Return the index of the image that item `index` of an epoch shows."""
        rng = np.random.default_rng([self.seed, epoch, index])
        images = self._images[rng.integers(len(self._images))]
        return int(images[rng.integers(len(images))])

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Read the image and labels of item `index` of the current epoch, before augmentation."""
        return self.dataset.read(self.source(self.epoch, index))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read and augment item `index` of the current epoch; see `gss.data.sample.make_item`."""
        self.dataset.set_epoch(self.epoch * len(self) + index)
        return self.dataset[self.source(self.epoch, index)] | {"index": index}


def class_presence(dataset: LabelledImages) -> np.ndarray:
    """Return bool `[n, K]`, true where an image has pixels of a class; every process reads its share of the images."""
    presence = torch.zeros(len(dataset), dataset.label_space.num_classes, dtype=torch.long)
    shard, quiet = distributed.shard(len(dataset)), not distributed.is_main()
    for index in tqdm(shard, desc="classes of images", unit="image", disable=quiet, leave=False):
        labels = np.unique(dataset.read(index)[1])
        presence[index, torch.from_numpy(labels[labels != IGNORE_INDEX]).long()] = 1
    return (distributed.sum_across(presence) > 0).numpy()
