"""Loading a pipeline or a tag classifier for a command."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from gss.core import distributed
from gss.core.errors import InputError
from gss.models.tags import TagClassifier
from gss.pipeline.pipeline import GSSPipeline

_Saved = TypeVar("_Saved", GSSPipeline, TagClassifier)


def load_pipeline(folder: str | os.PathLike[str], *, device: str | torch.device | None = None) -> GSSPipeline:
    """Load a pipeline folder without progress bars.

    Args:
        folder: folder that `GSSPipeline.save_pretrained` wrote.
        device: device of the pipeline; None for this process's GPU if there is one, else the CPU.

    Raises:
        InputError: `folder` is not a saved pipeline, is of another pipeline class, or a file in it is missing or
            damaged.
    """
    return _load(GSSPipeline, folder, "pipeline", "model_index.json").to(device or distributed.device())


def load_classifier(folder: str | os.PathLike[str], *, device: str | torch.device | None = None) -> TagClassifier:
    """Load a tag classifier in evaluation mode.

    Args:
        folder: folder that `TagClassifier.save_pretrained` wrote.
        device: device of the classifier; None for this process's GPU if there is one, else the CPU.

    Raises:
        InputError: `folder` holds no tag classifier, or a file in it is missing or damaged.
    """
    return _load(TagClassifier, folder, "tag classifier", "config.json").eval().to(device or distributed.device())


def _load(cls: type[_Saved], folder: str | os.PathLike[str], what: str, config: str) -> _Saved:
    """Load an object of class `cls`, called `what` in messages, from a folder that has the file `config`."""
    path = Path(folder)
    if not (path / config).is_file():
        raise InputError(f"no {what} at {path}: {config} is missing; give the folder training wrote")
    try:
        found = cls.load_config(str(path)).get("_class_name")
        if found != cls.__name__:
            raise InputError(f"it holds a {found}, not a {cls.__name__}")
        with without_bars():
            return cls.from_pretrained(path, local_files_only=True)
    # diffusers, transformers and safetensors raise many types here; for the user they are all one thing.
    except Exception as error:
        raise InputError(f"cannot load the {what} at {path}: {' '.join(str(error).split())}") from error


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
