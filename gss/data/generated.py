"""Built-in generated data set: street-like scenes with labels, depth and optional objects of no known class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from gss.core.errors import InputError
from gss.data.label_map import LabelMap
from gss.data.sample import make_item
from gss.data.scenes.labels import LABELS
from gss.data.scenes.scene import Scene, Trap, render, split_seed
from gss.data.scenes.strangers import stranger_kinds
from gss.data.transforms import JointTransform
from gss.labels.space import LabelSpace


class ScenesDataset(Dataset[dict[str, Any]]):
    """Split of the generated scenes, with the interface of `gss.data.protocols.LabelledImages`.

    The same seed, split and index show the same street in every domain, so transfer can be measured in pairs.

    Args:
        split: name of the split; every name gives a different series of scenes.
        domain: `clear`, `fog` or `night`.
        length: number of scenes.
        size: (H, W) at which the scenes are generated.
        seed: seed of the whole data set.
        transform: augmentation applied by `__getitem__`, not by `read`.
        unknown: kinds of objects of no known class, see `render`. The split `train` never has any.
        cache: True keeps generated pictures and labels in memory (H * W * 4 bytes a scene).
        trap: see `render`.
        label_space: classes of the labels.
        label_map: map from the generator's classes to `label_space`; None if they are the same.

    Raises:
        InputError: length below 1, or arguments `render` refuses.
    """

    def __init__(
        self,
        split: str,
        *,
        domain: str = "clear",
        length: int = 400,
        size: tuple[int, int] = (192, 256),
        seed: int = 0,
        transform: JointTransform | None = None,
        unknown: bool | Sequence[str] = False,
        cache: bool = False,
        trap: Trap = "off",
        label_space: LabelSpace = LABELS,
        label_map: LabelMap | None = None,
    ) -> None:
        if length < 1:
            raise InputError(f"length is {length}; a split needs at least 1 scene")
        self.split, self.domain, self.transform, self.trap = split, domain, transform, trap
        self.size = (int(size[0]), int(size[1]))
        self.seed = seed
        self.unknown = () if split == "train" else stranger_kinds(unknown)
        self.label_space, self._label_map = label_space, label_map
        self.ids = [f"{split}_{index:05d}" for index in range(length)]
        self.epoch = 0
        self._cache: dict[int, tuple[np.ndarray, np.ndarray]] | None = {} if cache else None
        render(max(seed, -1), 0, size=(16, 16), domain=domain, trap=trap)  # bad arguments show here, not in a worker
        if min(self.size) < 16:
            raise InputError(f"size is {self.size}; it must be (height, width) of at least 16 pixels")

    def __repr__(self) -> str:
        """Return split, number and size of the scenes in one line."""
        size = "x".join(map(str, self.size))
        return f"ScenesDataset({self.split}, {self.domain}: {len(self.ids)} scenes of {size}, {self.label_space!r})"

    def __len__(self) -> int:
        return len(self.ids)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose augmentations `__getitem__` draws in this process."""
        self.epoch = epoch

    def read_full(self, index: int) -> Scene:
        """Generate the scene with depth and unknown mask; never cached."""
        if not 0 <= index < len(self):
            raise IndexError(f"scene {index} of {len(self)}")
        seed = split_seed(self.seed, self.split)
        return render(seed, index, size=self.size, domain=self.domain, unknown=self.unknown, trap=self.trap)

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Return PIL RGB and labels uint8 `[H, W]` (255 = void); cached labels must not be written to."""
        pair = None if self._cache is None else self._cache.get(index)
        if pair is None:
            scene = self.read_full(index)
            labels = scene.labels if self._label_map is None else self._label_map.apply(scene.labels)[0]
            pair = (scene.image, labels)
            if self._cache is not None:
                labels.setflags(write=False)
                self._cache[index] = pair
        return Image.fromarray(pair[0]), pair[1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Generate and augment one sample; see `gss.data.sample.make_item`."""
        image, labels = self.read(index)
        id, epoch = self.ids[index], self.epoch
        return make_item(image, labels, id=id, index=index, epoch=epoch, transform=self.transform)
