"""`GSSImageProcessor`: any image input to float tensors, and the resolution a model is run at."""

import base64
import binascii
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

# A pipeline looks the base class of a component up in the component's own module when it loads it.
from transformers.image_processing_base import BatchFeature, ImageProcessingMixin
from transformers.processing_utils import ImagesKwargs

from gss.core.errors import InputError, quoted
from gss.data.images import image_from_pil, load_image
from gss.models.inputs import pad_to_multiple
from gss.pipeline.scale import TrainScale, with_short_side

ImageInput = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
"""Path, address on the web, image in base64, PIL image, array or tensor."""
RunSize = tuple[int, int] | int | str | None
"""Size to run at: (H, W), a short side, "native" for that of the image, or None for the processor's choice."""
NATIVE = "native"
_LEAST_BASE64 = 64  # characters; shorter texts are paths


@dataclass(frozen=True)
class ProcessedImages:
    """Images ready for the model.

    Attributes:
        images: float32 `[3, h_i, w_i]` in [0, 1], at the size the model runs at, without padding.
        original_sizes: (H_i, W_i) of the inputs and of the results.
    """

    images: list[Tensor]
    original_sizes: list[tuple[int, int]]

    def batches(self, batch_size: int) -> Iterator[list[int]]:
        """Yield the indices of at most `batch_size` images of one size at a time."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(self.images):
            groups.setdefault(tuple(image.shape), []).append(index)
        for indices in groups.values():
            yield from (indices[first : first + batch_size] for first in range(0, len(indices), batch_size))


def resize_images(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize `[B, 3, H, W]` bilinearly with antialiasing (equal to Pillow up to its rounding to 8 bits)."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    resized = F.interpolate(images, size=tuple(size), mode="bilinear", align_corners=False, antialias=True)
    return resized.clamp(0, 1)


def list_images(inputs: Any) -> Any:
    """Return one image or a batch as it is; several in a tuple, generator, data set or other iterable as a list."""
    if isinstance(inputs, str | os.PathLike | Image.Image | np.ndarray | Tensor | list):
        return inputs
    if isinstance(inputs, Iterable):
        return list(inputs)
    if hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__"):  # a data set of torch
        return [inputs[index] for index in range(len(inputs))]
    return inputs


def load_images(inputs: ImageInput | Iterable[ImageInput], *, timeout: float = 30.0) -> list[Tensor]:
    """Read one image, a batch, or a mixed list of them.

    Args:
        inputs: path, web address or base64; PIL image of any mode; array `[H, W]`, `[H, W, 1|3|4]` or a batch
            `[B, H, W, 3]`; tensor `[3, H, W]` or `[B, 3, H, W]`; or a list, tuple, generator or data set of these.
            uint8 and uint16 are scaled from their full range, floats must lie in [0, 1]. Alpha is handled as in
            `gss.data.images`.
        timeout: seconds to wait for a server.

    Returns:
        float32 `[3, H_i, W_i]` in [0, 1] for each image.

    Raises:
        InputError: empty list or batch, missing or corrupt file, other shape, dtype or range, or NaN; names the item.
    """
    inputs = list_images(inputs)
    many = isinstance(inputs, list)
    items: Sequence[Any] = inputs if isinstance(inputs, list) else [inputs]
    if not items:
        raise InputError("images is an empty list; pass at least one image")
    loaded: list[Tensor] = []
    for number, item in enumerate(items):
        name = f"images[{number}]" if many else "images"
        if isinstance(item, str) and item.startswith(("http://", "https://")):
            loaded.append(_from_array(np.asarray(image_from_pil(_fetched(item, timeout))), item))
        elif isinstance(item, str) and (encoded := _base64(item)) is not None:
            loaded.append(_from_array(np.asarray(image_from_pil(_decoded(encoded, name))), name))
        elif isinstance(item, str | os.PathLike):
            loaded.append(_from_array(np.asarray(load_image(item)), os.fspath(item)))
        elif isinstance(item, Image.Image):
            try:
                loaded.append(_from_array(np.asarray(image_from_pil(item)), name))
            except InputError as error:
                raise InputError(f"{name}: {error}") from error
        elif isinstance(item, Tensor):
            loaded += _from_tensor(item, name)
        elif isinstance(item, np.ndarray):
            loaded += [_from_array(array, name) for array in _batch(item, name)]
        else:
            raise InputError(f"{name} is a {type(item).__name__}; give a path, PIL image, NumPy array or torch tensor")
    return loaded


def _base64(text: str) -> bytes | None:
    """Return the bytes of an image in base64, with or without `data:image/...;base64,`; None for a path."""
    if text.startswith("data:image/"):
        text = text.partition(",")[2]
    elif len(text) < _LEAST_BASE64 or not re.fullmatch(r"[A-Za-z0-9+/\s]+={0,2}\s*", text) or os.path.exists(text):
        return None
    try:
        return base64.b64decode(text, validate=False)
    except binascii.Error:
        return None


def _decoded(content: bytes, name: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
        return image
    except Exception as error:  # of the decoder of the format, in many types
        raise InputError(f"{name} is base64 of no image: {' '.join(str(error).split())[:200]}") from error


def _fetched(address: str, timeout: float) -> Image.Image:
    """Return the image at an address of the web."""
    from transformers.image_utils import load_image as load_from_web  # takes long, and is seldom needed

    try:
        return load_from_web(address, timeout=timeout)
    except Exception as error:  # of the connection, the server or the file, in many types
        raise InputError(f"{address} gives no image: {' '.join(str(error).split())[:200]}") from error


def _batch(images: np.ndarray, name: str) -> np.ndarray | list[np.ndarray]:
    """Return the images of a batch `[B, H, W, C]`, or the one image of another shape, in native byte order."""
    if images.dtype.kind not in "biuf" or images.dtype.itemsize > 8:
        raise InputError(f"{name} is an array of {images.dtype}; allowed are uint8, uint16 and floats in [0, 1]")
    if images.ndim == 4 and not len(images):
        raise InputError(f"{name} has shape {list(images.shape)}; pass at least one image")
    images = images.astype(images.dtype.newbyteorder("="), copy=False)
    return images if images.ndim == 4 else [images]


def _from_array(array: np.ndarray, name: str) -> Tensor:
    """Convert `[H, W]` or `[H, W, 1|3|4]` to float32 `[3, H, W]` in [0, 1]."""
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))):
        hint = "; move the channels last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise InputError(f"{name} has shape {list(array.shape)}; arrays must be [H, W], [H, W, 3] or [H, W, 4]{hint}")
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[-1] == 4:
        array = np.asarray(image_from_pil(Image.fromarray(array)))
    elif array.ndim == 3 and array.shape[-1] == 4:
        raise InputError(f"{name} has 4 channels of {array.dtype}; alpha is only understood in uint8 arrays")
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=-1)
    # The copy removes negative strides, which from_numpy refuses, and the warning about read-only memory.
    return _to_unit(torch.from_numpy(np.array(array, order="C")).movedim(-1, 0), name)


def _from_tensor(tensor: Tensor, name: str) -> list[Tensor]:
    """Convert `[3, H, W]` or `[B, 3, H, W]` to a list of float32 `[3, H, W]` in [0, 1]."""
    if tensor.ndim not in (3, 4) or tensor.shape[-3] != 3:
        hint = "; move the channels first" if tensor.ndim in (3, 4) and tensor.shape[-1] == 3 else ""
        raise InputError(f"{name} has shape {list(tensor.shape)}; tensors must be [3, H, W] or [B, 3, H, W]{hint}")
    if tensor.ndim == 4 and not len(tensor):
        raise InputError(f"{name} has shape {list(tensor.shape)}; pass at least one image")
    return [_to_unit(image, name) for image in (tensor if tensor.ndim == 4 else tensor[None])]


def _to_unit(image: Tensor, name: str) -> Tensor:
    """Convert `[3, H, W]` of any allowed dtype to contiguous float32 in [0, 1]."""
    if 0 in image.shape:
        raise InputError(f"{name} has shape {list(image.shape)}; an image needs at least one pixel")
    if image.dtype == torch.uint8:
        return image.contiguous().float().div_(255)  # planes of bytes move faster than planes of floats
    if image.dtype == torch.uint16:
        return image.to(torch.float32).div_(65535).contiguous()
    if not image.is_floating_point():
        raise InputError(f"{name} has dtype {image.dtype}; allowed are uint8, uint16 and floats in [0, 1]")
    if not torch.isfinite(image).all():
        raise InputError(f"{name} holds NaN or infinite values; clean the image first")
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        fix = "pass the image before its normalisation" if low < 0 else "divide by 255 or pass uint8"
        raise InputError(f"{name} holds floats from {low:g} to {high:g}, allowed is 0 to 1; {fix}")
    return image.detach().to(torch.float32, copy=True).contiguous()


class GSSImageProcessor(ImageProcessingMixin):
    """Input side of the pipeline: reads images and resizes them to the resolution of training.

    The prior normalises, not the processor.

    Args:
        size: (H, W) of every image after resizing, or None.
        short_side: length of the shorter side after resizing at constant aspect ratio, or None. At most one of `size`
            and `short_side`.
        train_scale: sizes of the training images, see `TrainScale`; without `size` and `short_side` images run at
            this scale, or at their own size if it is None.
        size_multiple: number of pixels that the padded H and W are multiples of.
        window_size: (H, W) of sliding windows by default, normally the training crop.
    """

    # ImageProcessingMixin.from_dict asks which keywords may override a loaded config.
    valid_kwargs = ImagesKwargs

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        short_side: int | None = None,
        size_multiple: int = 32,
        window_size: tuple[int, int] = (512, 512),
        train_scale: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # `to_dict` writes this key into preprocessor_config.json; every other unknown keyword is a mistake.
        kwargs.pop("image_processor_type", None)
        if kwargs:
            allowed = "size, short_side, size_multiple, window_size, train_scale"
            raise InputError(f"unknown processor options {sorted(kwargs)}; allowed are {allowed}")
        super().__init__()
        if size is not None and short_side is not None:
            raise InputError(f"size {size} and short_side {short_side} exclude each other; set one of them to None")
        self.size = None if size is None else check_size(size, "size")
        self.window_size = check_size(window_size, "window_size")
        for name, value in (("short_side", short_side), ("size_multiple", size_multiple)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise InputError(f"{name} is {quoted(value)}; it must be a positive whole number")
        self.short_side = short_side
        self.size_multiple = size_multiple
        self.train_scale = None if train_scale is None else TrainScale.from_json(train_scale).to_json()

    @property
    def scale(self) -> TrainScale | None:
        """Scale of the training images; None if it was not recorded."""
        return None if self.train_scale is None else TrainScale.from_json(self.train_scale)

    def target_size(self, height: int, width: int, size: RunSize = None) -> tuple[int, int]:
        """Return the size (h, w), before padding, at which the model runs for an image of `height` x `width`.

        Args:
            height: height of the image.
            width: width of the image.
            size: replaces the configured resolution, see `RunSize`.
        """
        size = self.size or self.short_side if size is None else size
        if size == NATIVE or (size is None and self.scale is None):
            return height, width
        if isinstance(size, tuple | list):
            return int(size[0]), int(size[1])
        if size is None:
            assert self.scale is not None
            size = self.scale.target_short_side(min(height, width))
        return with_short_side(height, width, int(size))

    def describe(self, size: RunSize = None) -> str:
        """Return the resolution that images run at in words; `size` as in `target_size`."""
        size = self.size or self.short_side if size is None else size
        if isinstance(size, tuple | list):
            return "resized to {}x{} (height x width)".format(*size)
        if isinstance(size, int):
            return f"shorter side resized to {size}"
        return self.scale.describe() if size is None and self.scale is not None else "as given"

    def preprocess(
        self,
        images: ImageInput | Iterable[ImageInput],
        *,
        size: RunSize = None,
        return_tensors: str | None = None,
    ) -> Any:
        """Load and resize images.

        Args:
            images: see `load_images`.
            size: replaces the configured resolution.
            return_tensors: "pt" or "np" for the input of the prior as one batch, in the form of transformers.

        Returns:
            `ProcessedImages`, or with `return_tensors` a `BatchFeature` with `pixel_values`, float32 `[B, 3, H, W]`:
            the images in the upper left, padded at the right and below by their last pixels to the largest of them.

        Raises:
            InputError: see `load_images`, or unknown `return_tensors`.
        """
        if return_tensors not in (None, "pt", "np"):
            raise InputError(f"return_tensors is {quoted(return_tensors)}; allowed are 'pt', 'np' and None")
        loaded = load_images(images)
        sizes = [(image.shape[-2], image.shape[-1]) for image in loaded]
        targets = [self.target_size(*original, size) for original in sizes]
        resized = [resize_images(image[None], target)[0] for image, target in zip(loaded, targets, strict=True)]
        if return_tensors is None:
            return ProcessedImages(resized, sizes)
        height, width = (max(image.shape[axis] for image in resized) for axis in (-2, -1))
        padded = [
            F.pad(image[None], (0, width - image.shape[-1], 0, height - image.shape[-2]), mode="replicate")
            for image in resized
        ]
        batch = pad_to_multiple(torch.cat(padded), self.size_multiple)  # [B, 3, H, W]
        return BatchFeature({"pixel_values": batch}, tensor_type=return_tensors)

    def __call__(self, images: ImageInput | Iterable[ImageInput], **options: Any) -> Any:
        """Call `preprocess`."""
        return self.preprocess(images, **options)


def check_run_size(size: RunSize) -> None:
    """Require a size to run at, see `RunSize`.

    Raises:
        InputError: it is none; names what is allowed.
    """
    if isinstance(size, str) and size != NATIVE:
        raise InputError(f"size is {size!r}; it must be (height, width), the length of the short side, or {NATIVE!r}")
    if isinstance(size, int):
        if isinstance(size, bool) or size < 1:
            raise InputError(f"size is {size!r}; a short side must be a whole number of at least 1")
    elif size is not None and size != NATIVE:
        check_size(size, "size")  # type: ignore[arg-type]


def check_size(size: Sequence[int], name: str) -> tuple[int, int]:
    """Return (H, W) as a tuple of positive ints, or raise an InputError that names the argument."""
    valid = (
        isinstance(size, list | tuple)
        and len(size) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in size)
    )
    if not valid:
        raise InputError(f"{name} is {quoted(size)}; it must be two positive whole numbers (height, width)")
    return int(size[0]), int(size[1])
