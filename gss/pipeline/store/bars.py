"""The progress bars of diffusers and transformers, which stand aside for those of gss."""

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep diffusers and transformers from drawing progress bars."""
    loggings = [module for module in (diffusers_logging, transformers_logging) if module.is_progress_bar_enabled()]
    for module in loggings:
        module.disable_progress_bar()
    try:
        yield
    finally:
        for module in loggings:
            module.enable_progress_bar()
