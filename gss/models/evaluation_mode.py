"""Modules in evaluation mode for a while."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(components: Iterable[object]) -> Iterator[None]:
    """Set modules to evaluation mode; afterwards each is as before, for previews in the middle of training."""
    modules = [part for part in components if isinstance(part, nn.Module)]
    training = [part for module in modules for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
