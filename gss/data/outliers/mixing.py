"""Outlier mixing: objects of no class pasted into training images, with the label 254."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from gss.config.limits import check_limits, limits
from gss.core.errors import InputError
from gss.data.outliers.benchmarks import OOD_LABELS
from gss.data.outliers.objects import Objects
from gss.data.outliers.scenes import ForeignScenes
from gss.data.protocols import LabelledImages
from gss.data.transforms import JointTransform, jitter_colors, resize_pair, sample_generator, to_float
from gss.labels.space import IGNORE_INDEX, OUTLIER_LABEL, LabelSpace

# Cut-outs that are enlarged more would be blurred.
_MAX_ENLARGEMENT = 2.0
# Random stream of a sample for mixing; its augmentation uses the plain generator.
_STREAM = 254


@dataclass(frozen=True)
class Mixer:
    """Pasting of objects with random size, place, mirroring and color.

    Args:
        objects: source of objects.
        count: smallest and largest number of objects per image.
        size: smallest and largest length of the longer side of an object, relative to the shorter side of the image;
            uniform on a logarithmic scale. An object larger than the image is scaled down to fit; a cut-out is never
            enlarged more than twice.
        depth: decrease of size towards the top of the image, where things are far: 0 is none, at 1 objects vanish at
            the top.
        feather: width in pixels of the soft edge inside an object. Pixels with more object than image get the label
            254, the others void.
        probability: share of images with objects; the others stay as they are.
        flip: probability of mirroring an object.
        photometric: probability of changing the colors of an object.

    Raises:
        InputError: an argument out of range, or no objects.
    """

    objects: Objects
    count: tuple[int, int] = limits((1, 3), low=1, length=2, ascending=True)
    size: tuple[float, float] = limits((0.05, 0.6), above=0, length=2, ascending=True)
    depth: float = limits(0.0, low=0, high=1)
    feather: float = limits(0.0, low=0, below=math.inf)
    probability: float = limits(1.0, low=0, high=1)
    flip: float = limits(0.5, low=0, high=1)
    photometric: float = limits(0.5, low=0, high=1)

    def __post_init__(self) -> None:
        if not len(self.objects):
            raise InputError("objects is empty; nothing can be pasted")
        check_limits(self)

    def __call__(self, image: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mix one image.

        Args:
            image: float `[3, H, W]` in [0, 1].
            labels: int64 `[H, W]`.
            generator: source of all random choices.

        Returns:
            New tensors, or the given ones if nothing is pasted.
        """
        if not _uniform(generator) < self.probability:
            return image, labels
        image, labels = image.clone(), labels.clone()
        for _ in range(int(torch.randint(self.count[0], self.count[1] + 1, (), generator=generator))):
            self._paste(image, labels, generator)
        return image, labels

    def _paste(self, image: Tensor, labels: Tensor, generator: torch.Generator) -> None:
        height, width = labels.shape
        picture = self.objects.cut(int(torch.randint(len(self.objects), (), generator=generator)))
        down, across = _uniform(generator), _uniform(generator)
        share = self.size[0] * (self.size[1] / self.size[0]) ** _uniform(generator)
        wanted = share * min(height, width) * (1 - self.depth * (1 - down))
        longer = max(picture.size)
        factor = min(wanted / longer, height / picture.height, width / picture.width, _MAX_ENLARGEMENT)
        size = max(round(picture.width * factor), 1), max(round(picture.height * factor), 1)
        # Pillow weighs colors with alpha, so colors around the object do not bleed into it.
        pixels = np.array(picture.resize(size, Image.Resampling.BILINEAR))
        if _uniform(generator) < self.flip:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        patch = to_float(pixels[..., :3])
        if _uniform(generator) < self.photometric:
            patch = jitter_colors(patch, generator)
        # A thin object may have no pixel that it covers by half.
        solid = pixels[..., 3] >= min(128, int(pixels[..., 3].max()))
        alpha = torch.from_numpy(feathered(solid, self.feather))
        top, left = round(down * (height - size[1])), round(across * (width - size[0]))
        here = slice(top, top + size[1]), slice(left, left + size[0])
        image[:, *here] = torch.lerp(image[:, *here], patch, alpha)
        labels[here] = torch.where(alpha >= 0.5, OUTLIER_LABEL, torch.where(alpha > 0, IGNORE_INDEX, labels[here]))


def feathered(mask: np.ndarray, width: float) -> np.ndarray:
    """Return the opacity of a mask, float32 `[H, W]`, that rises to 1 over `width` pixels from the edge inwards.

    In masks thinner than that it rises over half their thickness, so some pixel is opaque.

    Args:
        mask: bool `[H, W]`.
        width: width of the soft edge in pixels.
    """
    if width <= 0:
        return mask.astype(np.float32)
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return np.clip(distance / min(width + 1, float(distance.max())), 0, 1).astype(np.float32)


class MixedImages(Dataset[dict[str, Any]]):
    """Training images with objects pasted in, each optionally with a foreign scene.

    Args:
        base: augmented training images; with foreign scenes all must have the size of the crop.
        mixer: pasting of objects.
        scenes: foreign scenes; a scene without an object gets some pasted. None: no scenes.
        crop: (H, W) of the crops of foreign scenes, which are first scaled to cover it.
        seed: seed of every random choice, together with epoch and index.

    Raises:
        InputError: the data set has 255 classes, so the label 254 is a class.
    """

    def __init__(
        self,
        base: LabelledImages,
        mixer: Mixer,
        *,
        scenes: ForeignScenes | None = None,
        crop: tuple[int, int] = (192, 256),
        seed: int = 0,
    ) -> None:
        check_label_free(base.label_space)
        self.base, self.mixer, self.scenes, self.seed = base, mixer, scenes, seed
        self.ids, self.label_space = base.ids, base.label_space
        self._transform = JointTransform(
            crop=crop, scale=(1.0, 1.5), flip=mixer.flip, photometric=mixer.photometric, max_class_ratio=1.0
        )
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.ids)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the random choices of `__getitem__` in this process."""
        self.epoch = epoch
        self.base.set_epoch(epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read, augment and mix one sample.

        Returns:
            `image` float32 `[3, H, W]` in [0, 1], `labels` int64 `[H, W]` with 254 for pasted objects and 255 for
            void, `id`, `index`; with scenes also `context_image` and `context_labels` (0, 254, 255) of crop size.
        """
        generator = sample_generator(self.seed, self.epoch, index, _STREAM)
        sample = self.base[index]
        image, labels = self.mixer(sample["image"], sample["labels"], generator)
        mixed = {"image": image, "labels": labels, "id": sample["id"], "index": index}
        if self.scenes is not None:
            mixed["context_image"], mixed["context_labels"] = self._foreign(self.scenes, generator)
        return mixed

    def _foreign(self, scenes: ForeignScenes, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        picture, labels = scenes.read(int(torch.randint(len(scenes), (), generator=generator)))
        has_objects = bool((labels == OUTLIER_LABEL).any())
        crop = self._transform.crop
        factor = max(crop[0] / picture.height, crop[1] / picture.width)
        size = max(crop[0], round(picture.height * factor)), max(crop[1], round(picture.width * factor))
        image, cropped, _ = self._transform.draw(*resize_pair(picture, labels, size), generator)
        foreign = torch.from_numpy(cropped.astype(np.int64))
        return (image, foreign) if has_objects else self.mixer(image, foreign, generator)


class MixedTruth:
    """Images with objects pasted in and outlier labels, the same at every reading; see `OODDataset`.

    Args:
        base: labelled images; void stays void.
        mixer: pasting of objects.
        seed: seed of every random choice, together with the index.
        length: number of mixed images, evenly spaced over `base`; a number above its length repeats images with other
            objects. None: one per image.

    Raises:
        InputError: as `MixedImages`.
    """

    label_space = OOD_LABELS

    def __init__(self, base: LabelledImages, mixer: Mixer, *, seed: int = 0, length: int | None = None) -> None:
        check_label_free(base.label_space)
        self.base, self.mixer, self.seed = base, mixer, seed
        count = len(base) if length is None else length
        self._places = [index * len(base) // count for index in range(count)]
        self.ids = [base.ids[place] for place in self._places]

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Return PIL RGB and truth uint8 `[H, W]`: 0 in, 1 pasted, 255 void."""
        picture, labels = self.base.read(self._places[index])
        given = torch.from_numpy(labels.astype(np.int64))
        generator = sample_generator(self.seed, 0, index, _STREAM)
        image, mixed = self.mixer(to_float(np.asarray(picture)), given, generator)
        truth = torch.where(mixed == OUTLIER_LABEL, 1, torch.where(mixed == IGNORE_INDEX, IGNORE_INDEX, 0))
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0)
        return Image.fromarray(pixels.numpy()), truth.to(torch.uint8).numpy()


def check_label_free(space: LabelSpace) -> None:
    """Require a label space without the label of pasted objects.

    Raises:
        InputError: it has 255 classes.
    """
    if space.num_classes > OUTLIER_LABEL:
        raise InputError(
            f"the data set has {space.num_classes} classes, so label {OUTLIER_LABEL} is {space.names[OUTLIER_LABEL]!r} "
            "and cannot mark pasted objects; merge two classes in the data spec"
        )


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))
