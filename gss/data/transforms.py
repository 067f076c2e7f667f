"""Joint image/label augmentation: random scale, crop, flip, shift and colour, reproducible per sample.

The geometry of a sample is a `Window` into the scaled, flipped image. Pixels are resampled only in `Window.image`
(bilinear, antialiased) and `Window.labels` (nearest), so image and labels stay aligned. Both sample the crop directly
from the source; the scaled image is never built.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from gss.config.limits import check_limits, limits
from gss.config.shared import DataConfig
from gss.data.shifts.apply import RandomShift
from gss.labels.counts import count_labels
from gss.labels.space import IGNORE_INDEX

PAD_COLOR = (124, 116, 104)
"""ImageNet mean colour: neutral padding for a pretrained backbone."""

_CROP_TRIES = 10
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE_DEGREES = 0.25, 0.4, 0.4, 18.0
_SHIFT_STREAM = 1  # random numbers of the shifts; those of the rest of the sample stay the same
_LUMA = torch.tensor([0.299, 0.587, 0.114])


def sample_generator(seed: int, epoch: int, index: int, *stream: int) -> torch.Generator:
    """Return a generator that depends on `(seed, epoch, index)` alone, so workers and resuming do not matter.

    Further numbers give independent generators of the same sample.
    """
    words = np.random.SeedSequence([seed, epoch, index, *stream]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0]))


def to_float(image: np.ndarray) -> torch.Tensor:
    """Convert uint8 RGB `[H, W, 3]` to float32 `[3, H, W]` in [0, 1]."""
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32)).div_(255)


def resize_pair(image: Image.Image, labels: np.ndarray, size: tuple[int, int]) -> tuple[Image.Image, np.ndarray]:
    """Resize an image and its labels to `size` (H, W); no copy if they have this size."""
    height, width = size
    if (image.height, image.width) == (height, width):
        return image, labels
    window = Window(top=0, left=0, size=size, scaled=size, flip=False)
    return Image.fromarray(window.image(image)), window.labels(labels)


@dataclass(frozen=True)
class Window:
    """Crop of the scaled, optionally mirrored source.

    Args:
        top: first row of the crop in the scaled source; negative if the crop begins with padding.
        left: first column, likewise.
        size: (H, W) of the crop.
        scaled: (H, W) of the whole source after scaling.
        flip: True mirrors the crop left to right.
    """

    top: int
    left: int
    size: tuple[int, int]
    scaled: tuple[int, int]
    flip: bool

    def _inside(self) -> tuple[int, int, int, int]:
        """Return the part of the scaled source in the crop: first and last + 1 row, first and last + 1 column."""
        bottom, right = (
            min(self.top + self.size[0], self.scaled[0]),
            min(self.left + self.size[1], self.scaled[1]),
        )
        return max(self.top, 0), bottom, max(self.left, 0), right

    def image(self, image: Image.Image) -> np.ndarray:
        """Return uint8 RGB `[H, W, 3]` of the crop, `PAD_COLOR` outside the source."""
        top, bottom, left, right = self._inside()
        step_y, step_x = image.height / self.scaled[0], image.width / self.scaled[1]
        box = (
            left * step_x,
            top * step_y,
            min(right * step_x, image.width),
            min(bottom * step_y, image.height),
        )
        pixels = np.asarray(image.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=box))
        return self._place(pixels, np.array(PAD_COLOR, np.uint8))

    def inside(self) -> np.ndarray:
        """Return bool `[H, W]`, False where the crop is padding."""
        top, bottom, left, right = self._inside()
        return self._place(np.ones((bottom - top, right - left), np.bool_), np.array(False))

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """Return labels `[H, W]` of the crop by nearest pixel centre, 255 outside the source; dtype is kept."""
        top, bottom, left, right = self._inside()
        rows = _nearest(top, bottom, self.scaled[0], labels.shape[0])
        columns = _nearest(left, right, self.scaled[1], labels.shape[1])
        return self._place(labels[rows[:, None], columns], np.array(IGNORE_INDEX, labels.dtype))

    def _place(self, pixels: np.ndarray, fill: np.ndarray) -> np.ndarray:
        if pixels.shape[:2] != self.size:
            canvas = np.empty(self.size + pixels.shape[2:], pixels.dtype)
            canvas[...] = fill
            row, column = max(-self.top, 0), max(-self.left, 0)
            canvas[row : row + pixels.shape[0], column : column + pixels.shape[1]] = pixels
            pixels = canvas
        return np.ascontiguousarray(pixels[:, ::-1] if self.flip else pixels)


def _nearest(start: int, stop: int, scaled: int, length: int) -> np.ndarray:
    """Return the source index whose pixel holds the centre of each scaled pixel `start..stop-1`."""
    return np.minimum(((np.arange(start, stop) + 0.5) * (length / scaled)).astype(np.int64), length - 1)


@dataclass(frozen=True)
class JointTransform:
    """Random scale, crop with a class-ratio limit, horizontal flip, shift and colour jitter.

    Args:
        crop: (H, W) of the result.
        scale: lowest and highest scale factor, drawn uniformly; the aspect ratio is kept.
        flip: probability of mirroring.
        photometric: probability of colour jitter (brightness, contrast, saturation and hue in one colour
            matrix).
        max_class_ratio: largest share of a class among the valid pixels of a crop (of every fourth row and column);
            crops above it are drawn again, at most ten times. 1 accepts the first crop.
        shift: probability of a random shift of `gss.data.shifts.apply` at a random severity, before the jitter.
        shifts: names of the shifts and groups drawn from; all if empty.
        seed: seed of every random choice, together with epoch and index.

    Raises:
        InputError: an argument outside its range.
    """

    crop: tuple[int, int] = limits(low=1, length=2)
    scale: tuple[float, float] = limits((0.5, 2.0), above=0, below=math.inf, length=2, ascending=True)
    flip: float = limits(0.5, low=0, high=1)
    photometric: float = limits(0.5, low=0, high=1)
    max_class_ratio: float = limits(0.75, above=0, high=1)
    shift: float = limits(0.0, low=0, high=1)
    shifts: tuple[str, ...] = ()
    seed: int = limits(0, low=0)

    def __post_init__(self) -> None:
        check_limits(self)
        RandomShift(self.shift, self.shifts)  # raises for an unknown name

    @classmethod
    def from_config(cls, cfg: DataConfig, seed: int) -> JointTransform:
        """Build the augmentation that the `data` section of a config describes."""
        return cls(
            crop=(cfg.crop[0], cfg.crop[1]),
            scale=(cfg.scale[0], cfg.scale[1]),
            flip=cfg.flip,
            photometric=cfg.photometric,
            max_class_ratio=cfg.max_class_ratio,
            shift=cfg.shift,
            shifts=tuple(cfg.shifts),
            seed=seed,
        )

    def __call__(
        self, image: Image.Image, labels: np.ndarray, *, epoch: int, index: int
    ) -> tuple[torch.Tensor, np.ndarray]:
        """Augment one sample.

        Args:
            image: PIL RGB of any size.
            labels: integer `[H, W]` of the same size, 255 where void. Never written to.
            epoch: training epoch; epochs have different augmentations.
            index: position of the sample in the data set.

        Returns:
            Image float32 `[3, h, w]` in [0, 1] and labels `[h, w]` at the crop size, 255 where void or padded.
        """
        pixels, cropped, _ = self.augment(image, labels, epoch=epoch, index=index)
        return pixels, cropped

    def augment(
        self, image: Image.Image, labels: np.ndarray, *, epoch: int, index: int
    ) -> tuple[torch.Tensor, np.ndarray, Window]:
        """Augment one sample as a call does, and also return the window, to transform other labels of the image."""
        rng = np.random.default_rng([self.seed, epoch, index, _SHIFT_STREAM]) if self.shift > 0 else None
        return self.draw(image, labels, sample_generator(self.seed, epoch, index), rng)

    def draw(
        self,
        image: Image.Image,
        labels: np.ndarray,
        generator: torch.Generator,
        rng: np.random.Generator | None = None,
    ) -> tuple[torch.Tensor, np.ndarray, Window]:
        """Augment one sample with given generators; `rng` draws the shifts, None draws none."""
        window, cropped = self.place(labels, generator)
        crop = window.image(image)
        if rng is not None:
            crop = RandomShift(self.shift, self.shifts)(crop, rng)
        pixels = to_float(crop)
        if _uniform(generator, 0, 1) < self.photometric:
            pixels = jitter_colors(pixels, generator)
        return pixels, cropped, window

    def place(self, labels: np.ndarray, generator: torch.Generator) -> tuple[Window, np.ndarray]:
        """Draw the window of a sample and cut its labels."""
        height, width = labels.shape
        factor = _uniform(generator, *self.scale)
        scaled = (max(round(height * factor), 1), max(round(width * factor), 1))
        flip = _uniform(generator, 0, 1) < self.flip
        for _ in range(_CROP_TRIES):
            top = _offset(generator, scaled[0] - self.crop[0])
            left = _offset(generator, scaled[1] - self.crop[1])
            window = Window(top=top, left=left, size=self.crop, scaled=scaled, flip=flip)
            cropped = window.labels(labels)
            if self.max_class_ratio >= 1 or _largest_share(cropped) <= self.max_class_ratio:
                break
        return window, cropped


def jitter_colors(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue of float RGB `[3, H, W]` in [0, 1].

    All four are affine maps of RGB, so they are multiplied into one 3x3 matrix. Hue is a rotation about the grey axis.
    """
    brightness = _uniform(generator, 1 - _BRIGHTNESS, 1 + _BRIGHTNESS)
    contrast = _uniform(generator, 1 - _CONTRAST, 1 + _CONTRAST)
    saturation = _uniform(generator, 1 - _SATURATION, 1 + _SATURATION)
    angle = math.radians(_uniform(generator, -_HUE_DEGREES, _HUE_DEGREES))

    grey = torch.ones(3, 1) * _LUMA  # every output channel = luma of the input
    matrix = saturation * torch.eye(3) + (1 - saturation) * grey
    axis = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    rotation = math.cos(angle) * torch.eye(3) + math.sin(angle) * axis + (1 - math.cos(angle)) / 3  # Rodrigues
    matrix = contrast * brightness * (rotation @ matrix)
    pivot = (1 - contrast) * brightness * float(_LUMA @ image.mean(dim=(1, 2)))  # contrast keeps the mean grey
    flat = torch.addmm(torch.full((3, 1), pivot), matrix, image.reshape(3, -1))
    return flat.clamp_(0, 1).reshape(image.shape)


def _largest_share(labels: np.ndarray) -> float:
    """Return the share of the most frequent class among the valid pixels of every fourth row and column, else 1."""
    counts = count_labels(labels[::4, ::4])[:IGNORE_INDEX]
    return float(counts.max() / counts.sum()) if counts.any() else 1.0


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _offset(generator: torch.Generator, room: int) -> int:
    """Draw the offset of the crop: 0..room, or room..0 (padding first) if the source is smaller."""
    return int(torch.randint(min(room, 0), max(room, 0) + 1, (), generator=generator))
