"""Pseudo-masks from a pipeline trained on weak labels, or from a tag classifier."""

from __future__ import annotations

from pathlib import Path

from gss.config.agmm import ProduceConfig
from gss.config.tags import TagProduceConfig
from gss.data.specs.spec import DataSpec
from gss.pipeline.loading import load_classifier, load_pipeline
from gss.weak.agmm.produce import produce_from_pipeline
from gss.weak.manifest import Manifest
from gss.weak.tags.produce import is_classifier, produce_from_tags


def produce_settings(folder: str | Path) -> type[ProduceConfig] | type[TagProduceConfig]:
    """Return the class of the settings for the pipeline or classifier in a folder."""
    return TagProduceConfig if is_classifier(folder) else ProduceConfig


def produce_masks(
    folder: str | Path,
    spec: DataSpec,
    split: str,
    out: str | Path,
    cfg: ProduceConfig | TagProduceConfig,
    *,
    overwrite: bool = False,
) -> Manifest:
    """Write pseudo-masks for the images of a split.

    Args:
        folder: folder of a pipeline or tag classifier.
        spec: data set with weak labels, from files.
        split: split of it.
        out: output folder, see `PseudoMaskWriter`.
        cfg: settings of the class `produce_settings(folder)`.
        overwrite: accept an output folder that holds files.

    Returns:
        The manifest of the output folder.

    Raises:
        InputError: settings of the other kind, or what `produce_from_pipeline` and `produce_from_tags` refuse.
    """
    source = str(folder)
    if isinstance(cfg, TagProduceConfig):
        return produce_from_tags(load_classifier(folder), spec, split, out, cfg, source=source, overwrite=overwrite)
    return produce_from_pipeline(load_pipeline(folder), spec, split, out, cfg, source=source, overwrite=overwrite)
