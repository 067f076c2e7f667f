"""The entry point of stage `residual`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gss.config.io import load_config
from gss.config.residual import ResidualConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.files import write_json
from gss.core.lookup.run_folders import find_pipeline
from gss.data.open import build_dataset
from gss.data.outliers.mixing import MixedTruth
from gss.data.outliers.sources import build_mixed, build_mixer, open_sources
from gss.data.protocols import LabelledImages
from gss.evaluation.checks import check_classes
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.training.density.alarms import with_alarms
from gss.training.density.fit_scores import fit_scores
from gss.training.engine.sources import Source
from gss.training.engine.stage import Say, figures_line, quiet, report, seed_stage, train_task
from gss.training.extension import export
from gss.training.identity import data_source, objects_source, pipeline_source, scenes_source
from gss.training.residual.measure import measure, same_masks
from gss.training.residual.task import ResidualTask
from gss.weak.seeds import check_seeds


def train_residual(cfg: ResidualConfig, out: str | Path, *, resume: bool = False, say: Say = quiet) -> dict[str, Any]:
    """Train a residual pattern head; the product is `out/pipeline`, a copy of `cfg.pipeline` with the head.

    Args:
        cfg: settings of the stage.
        out: run folder.
        resume: continue from the newest checkpoint.
        say: receives what the user is told.

    Returns:
        `scores`, the metrics of every score on the validation images with pasted objects, and `masks_unchanged`, as
        `residual.json` holds them.

    Raises:
        InputError: no pipeline, other classes, objects that cannot be pasted, another set of objects on a resume, or
            what `ResidualTask` refuses.
    """
    _check_settings(cfg)
    out = Path(out)
    # 1. Objects to paste, the same as when the run began.
    sources = open_sources(cfg)
    _check_ids(cfg, out, sources.ids, resume=resume)
    cfg = dataclasses.replace(cfg, outliers=dataclasses.replace(cfg.outliers, ids=sources.ids))
    seed_stage(cfg)
    # 2. Pipeline and images.
    pipeline = load_pipeline(cfg.pipeline)
    mixed = build_mixed(cfg, sources)
    as_read = dataclasses.replace(cfg.data, size=None, cache=False)
    plain = build_dataset(as_read, cfg.data.train_split, train=False)
    val = build_dataset(as_read, cfg.data.val_split, train=False)
    for dataset in (plain, val):
        check_classes(list(pipeline.id2label.values()), dataset.label_space.names)
    check_seeds(plain, allow=True)
    truth = MixedTruth(val, build_mixer(cfg, sources.val, train=False), seed=cfg.train.seed)
    # 3. Training.
    task = ResidualTask(cfg, pipeline, truth)

    def inputs() -> list[Source]:
        read = [
            data_source("training images", ("data.spec", "data.root", "data.train_split"), plain),
            data_source("validation images", ("data.val_split",), val),
            objects_source("training objects", ("outliers.objects", "outliers.images"), sources.train),
            objects_source("validation objects", ("outliers.val_objects", "outliers.val_images"), sources.val),
            pipeline_source(pipeline),
        ]
        if sources.scenes is not None:
            read.append(scenes_source("foreign scenes", ("context.source", "context.images"), sources.scenes))
        return read

    train_task(cfg, task, mixed, out, sources=inputs, resume=resume)
    # 4. The pipeline with the best head, and its metrics.
    extended = task.pipeline(task.best)
    _fit_combinations(extended, plain)
    extended.register_modules(ood=with_alarms(extended, plain))
    figures: dict[str, Any] = {"scores": measure(extended, truth, extended.score_names, cfg.val_images)}
    figures["masks_unchanged"] = same_masks(load_pipeline(cfg.pipeline), extended, truth)
    if distributed.is_main():
        export(extended, out / "pipeline", source=find_pipeline(cfg.pipeline))
        write_json(out / "residual.json", {"schema_version": 1, **figures})
        for name, values in figures["scores"].items():
            report(say, f"{name:16} " + figures_line(values))
        unchanged = "what they were, bit for bit" if figures["masks_unchanged"] else "NOT what they were"
        report(say, f"masks are {unchanged}")
    distributed.barrier()
    return figures


def _check_settings(cfg: ResidualConfig) -> None:
    if not cfg.pipeline:
        raise InputError("pipeline='' is empty: set pipeline=FOLDER to the pipeline that 'gss train prior' wrote")
    if cfg.loss.contrast > 0 and not cfg.context.source:
        raise InputError("loss.contrast needs foreign scenes: set context.source=FOLDER, or loss.contrast=0")
    if cfg.loss.contrast == 0 and cfg.context.source:
        raise InputError("context.source is of no use with loss.contrast=0: set one of them")


def _check_ids(cfg: ResidualConfig, out: Path, ids: str, *, resume: bool) -> None:
    """Require the objects that the run began with."""
    expected = cfg.outliers.ids
    if resume and (out / "config.yaml").is_file():
        expected = load_config(ResidualConfig, [str(out / "config.yaml")], []).outliers.ids
    if expected and expected != ids:
        raise InputError(
            f"the outlier set is another one: {ids} now (training, validation, scenes), {expected} when {out} was "
            "begun; name the same objects and scenes, or start anew in another folder with outliers.ids=''"
        )


def _fit_combinations(pipeline: GSSPipeline, plain: LabelledImages) -> None:
    """Fit the sums of residual and density scores, in place, on training images without pasted objects."""
    if pipeline.density is None:
        return
    names = ["residual_gmm", *(["residual_ratio"] if pipeline.density.has_outliers else [])]
    combined = fit_scores(pipeline, None, plain, names=names)
    fitted = combined if pipeline.ood is None else pipeline.ood.merged(combined)
    pipeline.register_modules(ood=fitted.to(pipeline.device))
