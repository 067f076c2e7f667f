"""What a run computes with: processes, precision and random numbers."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin
from torch import Tensor
from torch.optim import Optimizer

from gss.config.shared import TrainConfig
from gss.core.errors import InputError

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def build_accelerator(train: TrainConfig) -> Accelerator:
    """Build the accelerator of a run; it places and wraps the model, precision is up to `Precision`.

    Args:
        train: batch size and accumulation.

    Returns:
        Accelerator for the processes and devices that the launcher gave.

    Raises:
        InputError: the global batch does not split evenly over processes and micro-batches.
    """
    accelerator = Accelerator(
        mixed_precision="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=train.accumulate, sync_with_dataloader=False),
        # Loss terms come and go with the step and the configuration, and with them the parameters in use.
        # It also keeps the gradient buckets as they were built, so a resumed run adds in the same order.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    parts = accelerator.num_processes * train.accumulate
    if train.batch_size % parts:
        up = (train.batch_size // parts + 1) * parts
        raise InputError(
            f"train.batch_size={train.batch_size} does not split over {accelerator.num_processes} processes"
            f" x accumulate={train.accumulate}; use a multiple of {parts} such as {up}"
        )
    return accelerator


class Precision:
    """Mixed precision: autocast in the forward pass and scaled gradients for fp16, on any device.

    Weights, gradients and losses are float32. Targets and sums over labels leave autocast by themselves, see
    `gss.models.gaussians.full_precision`.

    Args:
        name: no, bf16 or fp16.
        device: where the run computes.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self._device, self._type = device.type, _TYPES.get(name)
        self.scaler = torch.amp.GradScaler(device.type) if name == "fp16" else None

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of the forward pass."""
        return torch.autocast(self._device, dtype=self._type or torch.bfloat16, enabled=self._type is not None)

    def scale(self, loss: Tensor) -> Tensor:
        """Return the loss to differentiate, large enough for gradients in fp16."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def unscale(self, optimizer: Optimizer) -> None:
        """Give gradients their own size, for clipping."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """Make the optimizer's step; with fp16 it is left out after an overflow, and the scale is lowered."""
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed every global generator for one optimizer step of one process.

    The random numbers of a step (dropout, revival of codes, ...) are thus a function of
    (seed, step, process) alone: validation, pictures, or a stop and a resume in between change nothing.

    Args:
        seed: seed of the run.
        step: optimizer step, counted from 0.
        process: number of the process.
    """
    low, high = np.random.SeedSequence([seed, step, process]).generate_state(2, np.uint32).tolist()
    random.seed(low)
    np.random.seed(low)
    torch.manual_seed((high << 31) + low)  # seeds the GPUs as well
