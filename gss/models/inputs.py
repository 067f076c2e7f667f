"""Images as a backbone takes them: normalised, padded, channels last."""

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedConfig

from gss.models.efficientnet_lite import EfficientNetLiteConfig

_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_SYMMETRIC = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])


def usual_normalisation(config: PreTrainedConfig) -> tuple[list[float], list[float]]:
    """Return the RGB mean and standard deviation of images in 0..1 that weights of this backbone expect."""
    mean, std = _SYMMETRIC if isinstance(config, EfficientNetLiteConfig) else _IMAGENET
    return list(mean), list(std)


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Replicate the last row and column of `[B, C, H, W]` until H and W are multiples of `multiple`."""
    below, right = (-images.shape[-2] % multiple, -images.shape[-1] % multiple)
    # Replication, unlike reflection, also works when the image is thinner than the padding.
    return F.pad(images, (0, right, 0, below), mode="replicate") if below or right else images


def backbone_input(
    images: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    dtype: torch.dtype,
    multiple: int,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Normalise and pad images, so that all maps of the backbone cover them exactly.

    Args:
        images: float `[B, 3, H, W]` in 0..1.
        mean: `[1, 3, 1, 1]`.
        std: `[1, 3, 1, 1]`.
        dtype: type of the result.
        multiple: pixels that the padded height and width are multiples of.
        size: height and width to resize to after the padding; None keeps them.

    Returns:
        `[B, 3, H', W']` in channels-last memory.
    """
    x = ((images - mean) / std).to(dtype)
    x = pad_to_multiple(x, multiple).contiguous(memory_format=torch.channels_last)  # [B, 3, H', W']
    return x if size is None else F.interpolate(x, size=size, mode="bilinear", antialias=True)
