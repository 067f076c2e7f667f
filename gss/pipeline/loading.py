"""Loading a pipeline or a tag classifier for a command."""

import os
from pathlib import Path

import torch

from gss.core import distributed
from gss.core.errors import InputError
from gss.core.lookup.run_folders import find_pipeline
from gss.models.tags import TagClassifier
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.store.bars import without_bars
from gss.pipeline.store.saving import one_line


def load_pipeline(
    folder: str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    exact: bool = False,
    stage: str = "",
) -> GSSPipeline:
    """Load a pipeline folder without progress bars.

    Args:
        folder: folder that `GSSPipeline.save_pretrained` wrote, or the run or job that holds it, see `find_pipeline`.
        device: device of the pipeline; None for this process's GPU if there is one, else the CPU.
        dtype: precision of the prior, float32 if None; the other components stay in float32.
        exact: read every cell with all codes, see `gss.pipeline.tokens`.
        stage: see `find_pipeline`.

    Raises:
        InputError: `folder` is not a saved pipeline, is of another pipeline class, or a file in it is missing or
            damaged.
    """
    # A name of a command is a folder; without it, the hub would be asked.
    with without_bars():
        pipeline = GSSPipeline.from_pretrained(find_pipeline(folder, stage=stage)).to(device or distributed.device())
    pipeline.exact = True if exact else None
    return pipeline if dtype is None else pipeline.to(dtype)


def load_classifier(folder: str | os.PathLike[str], *, device: str | torch.device | None = None) -> TagClassifier:
    """Load a tag classifier in evaluation mode.

    Args:
        folder: folder that `TagClassifier.save_pretrained` wrote, or the run that holds it.
        device: device of the classifier; None for this process's GPU if there is one, else the CPU.

    Raises:
        InputError: `folder` holds no tag classifier, or a file in it is missing or damaged.
    """
    path, name = Path(folder).expanduser(), TagClassifier.__name__
    if not (path / "config.json").is_file() and (path / "classifier" / "config.json").is_file():
        path = path / "classifier"
    if not (path / "config.json").is_file():
        raise InputError(f"no tag classifier at {path}: config.json is missing; give the folder training wrote")
    try:
        found = TagClassifier.load_config(str(path)).get("_class_name")
        if found != name:
            raise InputError(f"it holds a {found}, not a {name}")
        with without_bars():
            classifier = TagClassifier.from_pretrained(path, local_files_only=True)
    # diffusers and safetensors raise many types here; for the user they are all one thing.
    except Exception as error:
        raise InputError(f"cannot load the tag classifier at {path}: {one_line(error)}") from error
    return classifier.eval().to(device or distributed.device())
