"""Pipelines that are extended by a component: what the stages `density` and `residual` have in common."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from gss.core.files import atomic_path
from gss.pipeline.pipeline import GSSPipeline


def with_components(pipeline: GSSPipeline, **parts: Any) -> GSSPipeline:
    """Return a pipeline of the same components except those named."""
    changed = GSSPipeline(**{**pipeline.components, **parts})
    changed.set_progress_bar_config(disable=True)
    return changed


def export(pipeline: GSSPipeline, folder: Path, *, source: Path) -> None:
    """Write a pipeline with the model card of the pipeline that it extends, whose results still hold.

    Args:
        pipeline: extended pipeline.
        folder: folder to write.
        source: folder of the pipeline that it extends.
    """
    with atomic_path(folder) as temporary:
        pipeline.save_pretrained(temporary)
        if (source / "README.md").is_file():
            shutil.copyfile(source / "README.md", temporary / "README.md")
