"""Exponential moving average of the trainable parameters."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ParameterEMA:
    """Float32 running average of parameters, with a warm-up that forgets the first steps.

    Only parameters are averaged. Buffers (codebooks, batch-norm statistics) are averages already, or
    counters, and stay as they are: `applied` gives averaged parameters next to the live buffers, which is
    also what is validated and exported.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Start the average at the present values.

        Args:
            module: module whose trainable parameters are averaged.
            decay: weight of the past in [0, 1); the weight used is min(decay, (1 + step) / (10 + step)).
        """
        self.decay = decay
        self._live = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.average = {name: p.detach().float().clone() for name, p in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the parameters.

        Args:
            step: optimizer step just made, counted from 0.
        """
        weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
        live = [p.detach().float() for p in self._live.values()]
        torch._foreach_lerp_(list(self.average.values()), live, weight)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average into the module for the length of the context."""
        kept = {name: p.detach().clone() for name, p in self._live.items()}
        self._write(self.average)
        try:
            yield
        finally:
            self._write(kept)

    def load(self, average: Mapping[str, Tensor]) -> None:
        """Take over a saved average with the same names and shapes."""
        for name, value in self.average.items():
            value.copy_(average[name])

    @torch.no_grad()
    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._live.items():
            parameter.copy_(values[name])
