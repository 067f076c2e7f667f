"""Data set of images and masks, or weak labels, in files that a spec describes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from gss.core.errors import InputError
from gss.data.files.panoptic import load_panoptic, require_segments
from gss.data.files.samples import Sample, require_files
from gss.data.images import image_size, is_rotated, load_color_mask, load_image, load_mask
from gss.data.sample import make_item
from gss.data.specs.spec import DataSpec
from gss.data.transforms import JointTransform, Window, resize_pair
from gss.data.weak.labels import WeakLabels


class _Loaded(NamedTuple):
    """Sample before augmentation; its arrays may be the cached ones."""

    pixels: np.ndarray
    labels: np.ndarray
    weak: WeakLabels | None
    confidence: np.ndarray | None


class SegmentationDataset(Dataset[dict[str, Any]]):
    """Images and masks, or weak labels, of one split of a spec.

    Args:
        spec: data spec with a root folder.
        split: name of the split.
        transform: augmentation applied by `__getitem__`, not by `read`.
        size: (H, W) that images and masks are resized to when read (bilinear and nearest); None keeps their
            size.
        cache: True keeps decoded, resized 8-bit arrays in memory (each loader worker has its own): H * W * 4 bytes a
            sample.

    Raises:
        InputError: unknown or empty split, no root folder, or files that are not there (with how many and
            the first).
    """

    def __init__(
        self,
        spec: DataSpec,
        split: str,
        *,
        transform: JointTransform | None = None,
        size: tuple[int, int] | None = None,
        cache: bool = False,
    ) -> None:
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise InputError(f"size is {size}; it must be (height, width) of at least 1 pixel")
        self.spec = spec
        self.split = split
        self.transform = transform
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.label_space = spec.label_space
        self.samples: list[Sample] = spec.samples(split)
        self.ids = [sample.id for sample in self.samples]
        require_files(self.samples, f"split {split!r} of data set {spec.name!r}", masks=not spec.weakly_labelled(split))
        require_segments(self.samples)
        self.weak = spec.weak_files(split, self.samples)
        self._cache: dict[int, _Loaded] | None = {} if cache else None
        # Belongs to this process alone: loader workers read samples of different epochs at the same time.
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        """Return data set, split and number of images in one line."""
        return f"SegmentationDataset({self.spec.name} {self.split}: {len(self)} images, {self.label_space!r})"

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose augmentations `__getitem__` draws in this process."""
        self.epoch = epoch

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Read image and labels of a sample before augmentation.

        Args:
            index: position in the split.

        Returns:
            PIL RGB and labels uint8 `[H, W]` in the label space of the spec, 255 where void or unlabelled; resized
            to `size`. The label array may be the cached one and must not be written to.

        Raises:
            InputError: unreadable file, image and mask of different size, or label values the spec does not
                know.
        """
        loaded = self._load(index)
        return Image.fromarray(loaded.pixels), loaded.labels

    @property
    def weakly_labelled(self) -> bool:
        """Whether the labels are weak ones, not full masks."""
        return self.spec.weakly_labelled(self.split)

    def read_labels(self, index: int) -> np.ndarray:
        """Return the labels of a sample as `read` does, at the size of its file and without decoding the image.

        The image is not decoded either where labels are drawn; only its size is read.

        Raises:
            InputError: see `read`.
        """
        sample = self.samples[index]
        if self.weak is not None:
            return self.weak.read(index, image_size(sample.image)).rasterize().labels
        return self._to_labels(sample, load_raw(self.spec, sample))

    def read_weak(self, index: int) -> tuple[WeakLabels | None, np.ndarray | None]:
        """Return weak labels and confidence float32 `[H, W]` of a sample at `size`; None for absent ones."""
        loaded = self._load(index)
        return loaded.weak, loaded.confidence

    def _load(self, index: int) -> _Loaded:
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        sample = self.samples[index]
        image, weak, confidence = load_image(sample.image), None, None
        if self.weak is None:
            labels = self._mask(sample, image)
        else:
            weak = self.weak.read(index, (image.height, image.width))
            confidence = self.weak.confidence(index, weak.size)
            labels = weak.rasterize().labels
            weak = None if self.weak.source.dense else weak  # full masks need no tags, and scale as masks do
        if self.size is not None and self.size != labels.shape:
            image, labels = resize_pair(image, labels, self.size)
            if weak is not None:
                window = Window(top=0, left=0, size=self.size, scaled=self.size, flip=False)
                weak = weak.transform(window)
                labels = weak.rasterize().labels
                confidence = None if confidence is None else window.labels(confidence)
        loaded = _Loaded(np.asarray(image), labels, weak, confidence)
        if self._cache is not None:
            labels.setflags(write=False)
            self._cache[index] = loaded
        return loaded

    def _mask(self, sample: Sample, image: Image.Image) -> np.ndarray:
        raw = load_raw(self.spec, sample)
        check_sizes(sample, image, raw)
        return self._to_labels(sample, raw)

    def _to_labels(self, sample: Sample, raw: np.ndarray) -> np.ndarray:
        labels, unknown = self.spec.label_map.apply(raw)
        if len(unknown):
            shown = ", ".join(map(self.spec.label_map.show, unknown[:8].tolist()))
            if len(unknown) > 8:
                shown += f" and {len(unknown) - 8} more, as after resizing with interpolation or lossy compression"
            raise InputError(
                f"mask {sample.mask} holds label values unknown to data set {self.spec.name!r}: {shown}; "
                "correct the mask, or add them to label_map or ignore in the spec"
            )
        return labels

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read and augment one sample; see `make_item`."""
        loaded = self._load(index)
        return make_item(
            Image.fromarray(loaded.pixels),
            loaded.labels,
            id=self.ids[index],
            index=index,
            epoch=self.epoch,
            transform=self.transform,
            weak=loaded.weak,
            confidence=loaded.confidence,
        )


def load_raw(spec: DataSpec, sample: Sample) -> np.ndarray:
    """Read the raw mask values of a sample: `[H, W]`, or `[H, W, 3]` for colour-coded specs."""
    if sample.segments is not None:
        return load_panoptic(sample.mask, sample.segments)
    return load_color_mask(sample.mask) if spec.label_map.color_coded else load_mask(sample.mask)


def check_sizes(sample: Sample, image: Image.Image, raw: np.ndarray) -> None:
    """Require image and mask of one size.

    Raises:
        InputError: they differ; the message names both files and the likely reason.
    """
    mask_size = raw.shape[1], raw.shape[0]
    if image.size != mask_size:
        turned = mask_size == image.size[::-1] and is_rotated(sample.image)
        fix = (
            "the image carries an EXIF rotation the mask lacks" if turned else "resize the mask with nearest neighbour"
        )
        raise InputError(
            f"image {sample.image} is {image.width}x{image.height} but its mask {sample.mask} is "
            f"{mask_size[0]}x{mask_size[1]}; {fix}"
        )
