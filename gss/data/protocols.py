"""Interfaces of data sets."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from PIL import Image

from gss.labels.space import LabelSpace


class ReadableImages(Protocol):
    """Data set for evaluation and display."""

    ids: list[str]
    label_space: LabelSpace

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Return PIL RGB image and labels uint8 `[H, W]`, 255 where void, before augmentation."""
        ...


class LabelledImages(ReadableImages, Protocol):
    """Data set for training."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a sample as `gss.data.sample.make_item` builds it."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose augmentations `__getitem__` draws."""
        ...
