"""The entry point of stage `joint`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gss.config.joint import JointConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.files import write_json
from gss.data.open import build_dataset
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.training.engine.sources import Source
from gss.training.engine.stage import Say, quiet, report, seed_stage, train_task
from gss.training.identity import pipeline_source, split_sources
from gss.training.joint.build import check_local
from gss.training.joint.measure import matching_shift
from gss.training.joint.task import JointTask
from gss.training.splits import Splits, open_splits
from gss.weak.seeds import check_seeds


def train_joint(cfg: JointConfig, out: str | Path, *, resume: bool = False, say: Say = quiet) -> dict[str, float]:
    """Train a joint prior; the product is `out/pipeline`, a copy of `cfg.pipeline` with it.

    Args:
        cfg: settings of the stage.
        out: run folder.
        resume: continue from the newest checkpoint.
        say: receives what the user is told.

    Returns:
        Figures of `gss.training.joint.measure.measure`, as `joint.json` holds them.

    Raises:
        InputError: no pipeline, one without a local decoder, other classes, or a crop that is no multiple of a cell.
    """
    if not cfg.pipeline:
        raise InputError("pipeline='' is empty: set pipeline=FOLDER to the pipeline that 'gss train prior' wrote")
    if not cfg.loss.token and not cfg.loss.pixel:
        raise InputError("loss.token and loss.pixel are both 0: nothing is learnt; set one of them")
    out = Path(out)
    seed_stage(cfg)
    # 1. Pipeline and images.
    pipeline = load_pipeline(cfg.pipeline)
    stride = pipeline.prior.config.token_stride
    if any(side % stride for side in cfg.data.crop):
        raise InputError(f"data.crop={list(cfg.data.crop)} must be multiples of {stride}, the cell of {cfg.pipeline}")
    classes = list(pipeline.id2label.values())
    splits = open_splits(cfg.data, seed=cfg.train.seed, classes=classes)
    check_seeds(splits.plain, allow=True)
    check_local(cfg, pipeline)
    if cfg.loss.match_evidence:
        splits = _matched(cfg, pipeline, splits, say)
    # 2. Training.
    task = JointTask(cfg, pipeline, splits.plain, splits.val)

    def sources() -> list[Source]:
        return [*split_sources(splits), pipeline_source(pipeline)]

    figures = train_task(cfg, task, splits.augmented, out, sources=sources, resume=resume)
    # 3. Metrics.
    if distributed.is_main():
        write_json(out / "joint.json", {"schema_version": 1, **figures})
        report(say, figures)
    distributed.barrier()
    return figures


def _matched(cfg: JointConfig, pipeline: GSSPipeline, splits: Splits, say: Say) -> Splits:
    """Return the splits with as many shifted training images as `matching_shift` says."""
    images, seed = cfg.validation.images, cfg.train.seed
    share = matching_shift(pipeline, splits.plain, splits.val, images, shifts=cfg.data.shifts, seed=seed)
    report(say, f"{share:.0%} of the training images get an effect: they then leave as much open as validation images")
    if share == cfg.data.shift:
        return splits
    data = dataclasses.replace(cfg.data, shift=share)
    augmented = build_dataset(data, data.train_split, train=True, seed=seed)
    return dataclasses.replace(splits, augmented=augmented)
