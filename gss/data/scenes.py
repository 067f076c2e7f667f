"""Built-in generated data set: street-like scenes with labels, depth and, on request, objects of no known class."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from gss.data.datasets import make_item
from gss.data.label_map import LabelMap
from gss.data.scene_canvas import Canvas
from gss.data.scene_domains import DOMAINS, Paint
from gss.data.scene_geometry import measure
from gss.data.scene_labels import LABELS
from gss.data.scene_layout import compose, make_camera, make_street
from gss.data.scene_shading import shade
from gss.data.scene_strangers import stranger_kinds
from gss.data.transforms import JointTransform
from gss.errors import did_you_mean
from gss.labels import LabelSpace

__all__ = ["LABELS", "TRAPS", "Scene", "ScenesDataset", "Trap", "render", "split_seed"]

Trap = Literal["off", "paired", "context"]
TRAPS: tuple[Trap, ...] = ("off", "paired", "context")
_SHADING = 1_000_000  # number of the shading's own colours; objects count from 0


@dataclass(frozen=True)
class Scene:
    """One generated scene; every array is `[H, W]`, the image `[H, W, 3]`."""

    image: np.ndarray  # uint8 RGB
    labels: np.ndarray  # uint8, 255 = void (own bonnet, unknown objects)
    depth: np.ndarray  # float32, metres along the road; the sky has 1000
    unknown: np.ndarray  # bool, pixels of objects of no known class


def render(
    seed: int,
    index: int,
    *,
    size: tuple[int, int] = (192, 256),
    domain: str = "clear",
    unknown: bool | Sequence[str] = False,
    trap: Trap = "off",
) -> Scene:
    """Generate one scene, a function of the arguments alone.

    Args:
        seed: seed of the series of scenes, at least 0.
        index: number in the series, at least 0.
        size: (H, W) of the picture, at least 16 each.
        domain: `clear`, `fog` or `night`; the labels do not depend on it.
        unknown: add one to three objects of no known class, of all kinds or of those named (`STRANGERS`);
            everything else stays as it is.
        trap: co-occurrence of cyclists and the painted cycle lane. `off`: independent. `paired`: half of the
            scenes have both, half neither; cyclists ride near, so that they are seen. `context`: the lane is always
            there, cyclists never.

    Raises:
        ValueError: an argument outside what is stated above.
    """
    if domain not in DOMAINS:
        raise ValueError(f"domain is {domain!r} {did_you_mean(domain, DOMAINS)}; choose from {', '.join(DOMAINS)}")
    if trap not in TRAPS:
        raise ValueError(f"trap is {trap!r} {did_you_mean(trap, TRAPS)}; choose from {', '.join(TRAPS)}")
    if len(size) != 2 or min(size) < 16:
        raise ValueError(f"size is {size}; it must be (height, width) of at least 16 pixels")
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index are {seed} and {index}; they must be 0 or more")
    plan, light = np.random.default_rng([seed, index, 0]), np.random.default_rng([seed, index, 1])
    chance = float(plan.random())
    cyclists = {"off": None, "paired": chance < 0.5, "context": False}[trap]
    lane = {"off": chance < 0.25, "paired": chance < 0.5, "context": True}[trap]
    camera, street = make_camera(plan, size), make_street(plan, cycle_lane=lane)

    azimuth, height = float(light.uniform(-math.pi, math.pi)), float(light.uniform(0.45, 1.0))
    sun = (math.sin(azimuth) * math.cos(height), math.sin(height), math.cos(azimuth) * math.cos(height))
    paint = Paint([seed, index, 2], DOMAINS[domain])
    canvas = Canvas(camera, sun if max(paint.domain.sun) > 0 else None)
    kinds = stranger_kinds(unknown)
    strange = np.random.default_rng([seed, index, 3]) if kinds else None
    compose(canvas, street, plan, paint, cyclists=cyclists, unknown=strange, kinds=kinds)
    geometry = measure(canvas, street)
    image = shade(canvas, geometry, paint.child(_SHADING), light)
    return Scene(image, geometry.labels, geometry.depth, geometry.unknown)


def split_seed(seed: int, split: str) -> int:
    """Seed of the scenes of a split: no two splits and no two seeds share a scene."""
    return (seed << 32) | zlib.crc32(split.encode())


class ScenesDataset(Dataset[dict[str, Any]]):
    """One split of the generated scenes, with the interface of `gss.data.datasets.LabelledImages`.

    The same seed, split and index show the same street in every domain, so transfer can be measured in pairs.

    Args:
        split: name of the split; every name is a different series of scenes.
        domain: `clear`, `fog` or `night`.
        length: number of scenes.
        size: (H, W) at which the scenes are generated.
        seed: seed of the whole data set.
        transform: augmentation applied by `__getitem__`, not by `read`.
        unknown: add objects of no known class, see `render`. The split `train` never has any.
        cache: keep generated pictures and labels in memory (H * W * 4 bytes a scene).
        trap: see `render`.
        label_space: classes that `read` gives.
        label_map: the generator's classes to those; None where they are the same.

    Raises:
        ValueError: length below 1, or arguments `render` refuses.
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
            raise ValueError(f"length is {length}; a split needs at least 1 scene")
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
            raise ValueError(f"size is {self.size}; it must be (height, width) of at least 16 pixels")

    def __len__(self) -> int:
        return len(self.ids)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentations `__getitem__` draws in this process."""
        self.epoch = epoch

    def read_full(self, index: int) -> Scene:
        """Scene with depth and unknown mask; always generated anew."""
        if not 0 <= index < len(self):
            raise IndexError(f"scene {index} of {len(self)}")
        seed = split_seed(self.seed, self.split)
        return render(seed, index, size=self.size, domain=self.domain, unknown=self.unknown, trap=self.trap)

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """PIL RGB and labels uint8 `[H, W]` (255 = void); cached labels must not be written to."""
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
        """Generate and augment one sample; see `gss.data.datasets.make_item`."""
        image, labels = self.read(index)
        id, epoch = self.ids[index], self.epoch
        return make_item(image, labels, id=id, index=index, epoch=epoch, transform=self.transform)
