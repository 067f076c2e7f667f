"""What a data set offers to those that read images from it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from PIL import Image

from gss.labels.space import LabelSpace


class ReadableImages(Protocol):
    """What measuring and looking need of a data set."""

    ids: list[str]
    label_space: LabelSpace

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """PIL RGB image and labels uint8 `[H, W]`, 255 where void, before augmentation."""
        ...


class LabelledImages(ReadableImages, Protocol):
    """What training needs of a data set."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample as `make_item` gives it."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Choose the augmentation of the next reads."""
        ...
