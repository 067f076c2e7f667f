"""Mixed precision: autocast in the forward pass and scaled gradients for fp16, on any device."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Numbers that a run computes with.

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
