"""A data set whose labels are ambiguous: classes turn into second ones, for a whole image at once.

This is the label-flip benchmark of the Probabilistic U-Net (Kohl et al., NeurIPS 2018) on any data set. Nothing in the
image tells whether a class flipped, so a model of masks can be right only about the probabilities, and about all pixels
of a class flipping together.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from gss.data.flips.label_flip import LabelFlip, flip_modes
from gss.data.protocols import LabelledImages
from gss.labels.space import LabelSpace


class FlippedDataset(Dataset[dict[str, Any]]):
    """Data set with flips.

    Whether a class flips is a function of seed, split, index and epoch: training samples are drawn again in every
    epoch, as annotators would be; `read` gives those of epoch 0.

    Args:
        dataset: labels before any flip.
        flips: classes that flip.
        label_space: classes with the second ones.
        split: name of the split.
        seed: seed of the flips.
    """

    def __init__(
        self,
        dataset: LabelledImages,
        flips: tuple[LabelFlip, ...],
        *,
        label_space: LabelSpace,
        split: str,
        seed: int = 0,
    ) -> None:
        self.dataset, self.flips, self.label_space, self.seed = dataset, flips, label_space, seed
        self.ids, self.split = dataset.ids, split
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the data set inside."""
        if name == "dataset" or name.startswith("__"):  # before it is there, as in unpickling
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose augmentations and flips `__getitem__` draws."""
        self.epoch = epoch
        self.dataset.set_epoch(epoch)

    def flipped(self, index: int, epoch: int = 0) -> tuple[bool, ...]:
        """Return which of the flips happen in an image."""
        seeds = [self.seed, zlib.crc32(self.split.encode()), index, epoch]
        draws = np.random.default_rng(seeds).random(len(self.flips))
        return tuple(bool(draw < flip.probability) for draw, flip in zip(draws, self.flips, strict=True))

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Return PIL RGB and labels uint8 `[H, W]`, 255 where void."""
        image, labels = self.dataset.read(index)
        return image, self._apply(labels, self.flipped(index))

    def read_labels(self, index: int) -> np.ndarray:
        """Return the labels that `read` does."""
        inner = getattr(self.dataset, "read_labels", None)
        labels = self.dataset.read(index)[1] if inner is None else inner(index)
        return self._apply(labels, self.flipped(index))

    def modes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return all masks that an image can have, uint8 `[2^F, H, W]`, and their probabilities; see `flip_modes`."""
        return flip_modes(self.dataset.read(index)[1], self.flips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a sample as `gss.data.sample.make_item` builds it."""
        item = self.dataset[index]
        happened = self.flipped(index, self.epoch)
        for name in ("labels", "filled"):
            if name in item:
                flipped = self._apply(item[name].numpy(), happened)
                item[name] = torch.from_numpy(np.ascontiguousarray(flipped))
        return item

    def _apply(self, labels: np.ndarray, happened: tuple[bool, ...]) -> np.ndarray:
        for flip, does in zip(self.flips, happened, strict=True):
            if does:
                labels = np.where(labels == flip.label, labels.dtype.type(flip.second), labels)
        return labels
