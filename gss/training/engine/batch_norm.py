"""A clear error where batch normalisation has nothing to normalise over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from gss.core.errors import InputError


@contextmanager
def checked_batch_norm(task: nn.Module, images: int) -> Iterator[None]:
    """Refuse batches that leave a batch normalisation one value per channel, with the settings that decide it.

    Args:
        task: modules in training.
        images: images of a micro-batch of one process.
    """

    def check(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        # [B, C, ...]
        if module.training and inputs[0].numel() == inputs[0].shape[1]:
            raise InputError(
                f"train.batch_size gives each process and micro-batch {images} image, and data.crop is so small that "
                "batch normalisation sees a single value per channel: use a larger batch or crop, or set "
                "model.freeze_batch_norm=true"
            )

    norms = [module for module in task.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    hooks = [module.register_forward_pre_hook(check) for module in norms] if images == 1 else []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
