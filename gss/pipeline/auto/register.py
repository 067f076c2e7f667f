"""`gss.register`: pipelines of gss by the functions of transformers and diffusers."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForImageSegmentation, AutoModelForSemanticSegmentation
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.utils import cached_file

from gss.core.errors import InputError
from gss.core.lookup.run_folders import PIPELINE_INDEX, find_pipeline
from gss.models.config import GSSPriorConfig
from gss.pipeline.auto.segmentation import (
    HUB_OPTIONS,
    GSSSegmentationConfig,
    GSSSegmentationModel,
    GSSSegmentationPipeline,
)
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.processor import GSSImageProcessor

_TASK = "image-segmentation"


def register() -> None:
    """Let transformers and diffusers load what gss saves, by path or by name on the hub.

    Afterwards these work with the folder of a pipeline or of the run that holds it:

    - `transformers.pipeline("image-segmentation", model=FOLDER)`,
    - `diffusers.DiffusionPipeline.from_pretrained(FOLDER)`,
    - `AutoModel.from_pretrained(FOLDER + "/prior")`, `AutoImageProcessor.from_pretrained(FOLDER + "/processor")` and
      `AutoBackbone.from_pretrained` of a backbone's folder.

    Other models load as before. A second call changes nothing.
    """
    AutoConfig.register(GSSSegmentationConfig.model_type, GSSSegmentationConfig, exist_ok=True)
    for auto_class in (AutoModelForImageSegmentation, AutoModelForSemanticSegmentation):
        auto_class.register(GSSSegmentationConfig, GSSSegmentationModel, exist_ok=True)
    # `AutoImageProcessor.register` takes children of a base class that resizes and normalises in other ways.
    IMAGE_PROCESSOR_MAPPING.register(GSSPriorConfig, {"pil": GSSImageProcessor}, exist_ok=True)
    task = PIPELINE_REGISTRY.supported_tasks[_TASK]
    PIPELINE_REGISTRY.supported_tasks[_TASK] = {**task, "impl": GSSSegmentationPipeline}
    _read_pipeline_folders()


def _read_pipeline_folders() -> None:
    """Let `AutoConfig.from_pretrained` understand the folder of a pipeline, which has no config.json."""
    read_config = AutoConfig.from_pretrained.__func__
    if hasattr(read_config, "reads_pipelines"):
        return

    @functools.wraps(read_config)
    def from_pretrained(cls: type, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        try:
            return read_config(cls, pretrained_model_name_or_path, **kwargs)
        except (OSError, ValueError):
            folder = _pipeline_folder(pretrained_model_name_or_path, kwargs)
            if folder is None:
                raise
        config = GSSSegmentationConfig(folder=folder)
        read = (*HUB_OPTIONS, "code_revision", "trust_remote_code", "return_unused_kwargs")
        unused = {key: value for key, value in kwargs.items() if key not in read and not key.startswith("_")}
        return (config, unused) if kwargs.get("return_unused_kwargs") else config

    from_pretrained.reads_pipelines = True  # type: ignore[attr-defined]
    AutoConfig.from_pretrained = classmethod(from_pretrained)  # type: ignore[assignment]


def _pipeline_folder(name: str | os.PathLike[str], options: dict[str, Any]) -> str | None:
    """Return the folder or repository of a pipeline that a name means; None if it means something else."""
    if os.path.exists(name):
        try:
            folder = find_pipeline(name)
        except InputError:
            return None
        return str(folder) if _is_pipeline(folder / PIPELINE_INDEX) else None
    hub = {key: options[key] for key in HUB_OPTIONS if key in options}
    try:
        index = cached_file(str(name), PIPELINE_INDEX, _raise_exceptions_for_missing_entries=False, **hub)
    except (OSError, ValueError):
        return None
    return str(name) if index is not None and _is_pipeline(Path(index)) else None


def _is_pipeline(index: Path) -> bool:
    try:
        return bool(json.loads(index.read_text()).get("_class_name") == GSSPipeline.__name__)
    except (OSError, ValueError, AttributeError):
        return False
