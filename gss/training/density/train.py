"""The entry point of stage `density`: a GMM density head and fitted out-of-distribution scores for a pipeline."""

from __future__ import annotations

from pathlib import Path

from gss.config.density import DensityConfig
from gss.config.io import save_config
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.files import write_json
from gss.core.lookup.run_folders import find_pipeline
from gss.data.balanced import ClassBalanced
from gss.data.outliers.benchmarks import OODDataset
from gss.data.outliers.mixing import MixedTruth
from gss.evaluation.segmentation.evaluate import evaluate
from gss.ood.survey import Survey
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.training.density.alarms import with_alarms
from gss.training.density.fit_scores import check_names, fit_scores, survey_images
from gss.training.density.hybrid import HybridTask
from gss.training.density.outliers import fit_outliers, open_outliers, outlier_sources
from gss.training.density.posthoc import fit_mixture
from gss.training.engine.sources import Source
from gss.training.engine.stage import Say, quiet, report, seed_stage, train_task
from gss.training.extension import export, with_components
from gss.training.identity import pipeline_source, split_sources
from gss.training.splits import Splits, open_splits
from gss.weak.seeds import check_seeds


def train_density(cfg: DensityConfig, out: str | Path, *, resume: bool = False, say: Say = quiet) -> dict[str, float]:
    """Fit or train a density head; the product is `out/pipeline`, a copy of `cfg.pipeline` with the head.

    Args:
        cfg: settings of the stage.
        out: run folder.
        resume: continue from the newest checkpoint of a hybrid run; the post-hoc fit takes minutes and starts again.
        say: receives what the user is told.

    Returns:
        mIoU of the mixture as a classifier and of the default decode mode, and log-likelihoods of the fit.

    Raises:
        InputError: no pipeline, other classes, scores that do not exist, or data that no mixture can be fitted to.
    """
    if not cfg.pipeline:
        raise InputError("pipeline='' is empty: set pipeline=FOLDER to the pipeline that 'gss train prior' wrote")
    out = Path(out)
    seed_stage(cfg)
    names = _names(cfg.posthoc.scores)
    check_names(names)
    # 1. Pipeline and images.
    pipeline = load_pipeline(cfg.pipeline)
    classes = list(pipeline.id2label.values())
    splits = open_splits(cfg.data, seed=cfg.train.seed, plain_as_read=True, val_as_read=True, classes=classes)
    check_seeds(splits.plain, allow=True)
    outliers = open_outliers(cfg.outliers, splits.plain, seed=cfg.train.seed)
    figures: dict[str, float] = {}
    # 2. The mixture of the classes.
    survey = None
    if cfg.mode == "hybrid":
        pipeline = _train_hybrid(cfg, pipeline, splits, outliers, out, resume=resume)
    elif distributed.is_main():
        save_config(cfg, out / "config.yaml")
    if cfg.mode == "posthoc" or names:
        survey = _survey(cfg, pipeline, splits, per_class="ddu" in names)
    if cfg.mode == "posthoc":
        assert survey is not None
        head, history = fit_mixture(cfg, survey, class_names=classes, device=pipeline.device)
        figures = {"log_likelihood": history[-1], "rounds": float(len(history))}
        pipeline = with_components(pipeline, density=head)
    # 3. The mixture of outliers, scores with statistics, and thresholds of alarms.
    if outliers is not None:
        figures["outlier_log_likelihood"] = fit_outliers(cfg, pipeline, outliers, progress=True)
    fitted = None
    if survey is not None and names:
        fitted = fit_scores(pipeline, survey, splits.plain, names=names, combine=_names(cfg.posthoc.combine))
    pipeline = with_components(pipeline, ood=fitted)
    pipeline = with_components(pipeline, ood=with_alarms(pipeline, splits.plain, progress=True))
    # 4. Metrics and product.
    result = evaluate(pipeline, splits.val, modes=["density", pipeline.default_decode], pictures=0, throughput=False)
    figures |= result.figures()
    if distributed.is_main():
        export(pipeline, out / "pipeline", source=find_pipeline(cfg.pipeline))
        write_json(out / "density.json", {"schema_version": 1, **figures})
        report(say, figures)
    distributed.barrier()
    return figures


def _train_hybrid(
    cfg: DensityConfig,
    pipeline: GSSPipeline,
    splits: Splits,
    outliers: OODDataset | MixedTruth | None,
    out: Path,
    *,
    resume: bool,
) -> GSSPipeline:
    if cfg.hybrid.class_balanced and cfg.data.sampling != "equal":
        raise InputError(
            f"data.sampling={cfg.data.sampling} has no effect while hybrid.class_balanced=true draws images by "
            "class: turn that off, or leave the sampling out"
        )
    task = HybridTask(cfg, pipeline, splits.val)
    balanced = ClassBalanced(splits.augmented, seed=cfg.train.seed) if cfg.hybrid.class_balanced else None

    def sources() -> list[Source]:
        return [*split_sources(splits), pipeline_source(pipeline), *outlier_sources(outliers)]

    train_task(cfg, task, balanced or splits.augmented, out, sources=sources, resume=resume)
    return task.pipeline()


def _survey(cfg: DensityConfig, pipeline: GSSPipeline, splits: Splits, *, per_class: bool) -> Survey:
    posthoc = cfg.posthoc
    return survey_images(
        pipeline,
        splits.plain,
        source=cfg.model.source,
        images=posthoc.images,
        pixels_per_class=posthoc.pixels_per_class,
        pixels_per_image=posthoc.pixels_per_image,
        bank_size=posthoc.bank_size,
        per_class=per_class,
        seed=cfg.train.seed,
        progress=True,
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
