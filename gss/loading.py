"""Loading a pipeline for a command."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from gss import distributed
from gss.models.tags import TagClassifier
from gss.pipeline import GSSPipeline


def load_pipeline(folder: str | os.PathLike[str], *, device: str | torch.device | None = None) -> GSSPipeline:
    """Loads a pipeline folder with clear errors and without progress bars.

    Args:
        folder: what `GSSPipeline.save_pretrained` wrote.
        device: where to; this process's GPU when there is one, else the CPU.

    Raises:
        ValueError: `folder` is no saved pipeline, is of another pipeline class, or a file in it is missing or
            damaged.
    """
    path = Path(folder)
    if not (path / "model_index.json").is_file():
        raise ValueError(f"no pipeline at {path}: model_index.json is missing; give the folder training wrote")
    try:
        found = GSSPipeline.load_config(str(path)).get("_class_name")
        if found != GSSPipeline.__name__:
            raise ValueError(f"it holds a {found}, not a {GSSPipeline.__name__}")
        with without_bars():
            pipeline = GSSPipeline.from_pretrained(path, local_files_only=True)
    # diffusers, transformers and safetensors raise many types here; for the user they are all one thing.
    except Exception as error:
        raise ValueError(f"cannot load the pipeline at {path}: {' '.join(str(error).split())}") from error
    return pipeline.to(device or distributed.device())


def load_classifier(folder: str | os.PathLike[str], *, device: str | torch.device | None = None) -> TagClassifier:
    """Loads a tag classifier in evaluation mode, with clear errors.

    Args:
        folder: what `TagClassifier.save_pretrained` wrote.
        device: where to; this process's GPU when there is one, else the CPU.

    Raises:
        ValueError: `folder` holds no tag classifier, or a file in it is missing or damaged.
    """
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise ValueError(f"no tag classifier at {path}: config.json is missing; give the folder training wrote")
    try:
        found = TagClassifier.load_config(str(path)).get("_class_name")
        if found != TagClassifier.__name__:
            raise ValueError(f"it holds a {found}, not a {TagClassifier.__name__}")
        with without_bars():
            model = TagClassifier.from_pretrained(path, local_files_only=True)
    # As above, many types.
    except Exception as error:
        raise ValueError(f"cannot load the tag classifier at {path}: {' '.join(str(error).split())}") from error
    return model.eval().to(device or distributed.device())


@contextmanager
def without_bars() -> Iterator[None]:
    """Keeps diffusers and transformers from drawing progress bars."""
    loggings = [module for module in (diffusers_logging, transformers_logging) if module.is_progress_bar_enabled()]
    for module in loggings:
        module.disable_progress_bar()
    try:
        yield
    finally:
        for module in loggings:
            module.enable_progress_bar()
