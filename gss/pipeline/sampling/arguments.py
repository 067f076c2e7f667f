"""Checks of what a caller of the sampling methods gives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gss.core.errors import InputError
from gss.data.images import load_mask
from gss.labels.space import IGNORE_INDEX
from gss.models.joint import JointPriorModel
from gss.pipeline.index import joint_lacking
from gss.pipeline.outputs import OUTPUT_TYPES
from gss.pipeline.sampling.scheduler import TokenScheduler
from gss.posterior.likelihood import CellLikelihood

MaskInput = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor


def need_joint(joint: JointPriorModel | None, likelihood: CellLikelihood | None, what: str) -> JointPriorModel:
    """Return the joint prior of a pipeline.

    Raises:
        InputError: it has none, or its decoder is contextual.
    """
    if likelihood is None or joint is None:
        raise joint_lacking(what, local=likelihood is not None)
    return joint


def check_sampling(
    n: int, steps: int, overlap: float, output_type: str, scheduler: TokenScheduler, mask_token: int
) -> None:
    """Check the arguments that all sampling methods share.

    Raises:
        InputError: names the argument, its value and what is allowed.
    """
    for name, value in (("n", n), ("steps", steps)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name} is {value!r}; it must be a whole number of at least 1")
    if not 0 <= overlap < 1:
        raise InputError(f"overlap is {overlap!r}; it must be a number of at least 0 and below 1")
    if output_type not in OUTPUT_TYPES:
        raise InputError(f"output_type is {output_type!r}; allowed are {', '.join(OUTPUT_TYPES)}")
    if scheduler.config["mask_token_id"] != mask_token:
        found = scheduler.config["mask_token_id"]
        raise InputError(f"scheduler has mask_token_id {found}, this pipeline has {mask_token} codes; set it to that")


def read_masks(masks: MaskInput | Sequence[MaskInput], num_classes: int) -> list[Tensor]:
    """Read partial masks.

    Args:
        masks: label maps `[H, W]`, whole numbers 0..K-1 and 255 where unknown: arrays, tensors, PIL images of mode P
            or L, or files; one, a batch `[B, H, W]`, or a list of them.
        num_classes: K.

    Returns:
        int64 `[H_i, W_i]` each.

    Raises:
        InputError: an empty list, another type or shape, or labels of another label space; names the mask.
    """
    many = isinstance(masks, list | tuple)
    items: list[Any] = list(masks) if isinstance(masks, list | tuple) else [masks]
    if not items:
        raise InputError("masks is an empty list; pass at least one mask")
    result: list[Tensor] = []
    for number, item in enumerate(items):
        name = f"masks[{number}]" if many else "masks"
        if isinstance(item, str | os.PathLike):
            name, item = os.fspath(item), load_mask(item)
        elif isinstance(item, Image.Image):
            if item.mode not in ("P", "L"):
                raise InputError(f"{name} is an image of mode {item.mode}; masks have mode P or L, one label per pixel")
            item = np.array(item)
        values = torch.as_tensor(item)
        if values.is_floating_point() or values.is_complex() or values.ndim not in (2, 3) or not values.numel():
            kind = str(values.dtype).removeprefix("torch.")
            raise InputError(f"{name} is {kind} {list(values.shape)}; masks are whole numbers [H, W] or [B, H, W]")
        values = values.long()
        unknown = (values < 0) | ((values >= num_classes) & (values != IGNORE_INDEX))
        if unknown.any():
            raise InputError(
                f"{name} holds label {int(values[unknown][0])}, allowed are 0..{num_classes - 1} and {IGNORE_INDEX} "
                "where unknown; map the labels to the classes of the pipeline"
            )
        result += [values] if values.ndim == 2 else list(values)
    return result
