"""Stage `density`: gives a trained pipeline a GMM density head and fitted out-of-distribution scores."""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gss import distributed
from gss.config import save_config
from gss.config_density import DensityConfig, DensityModelConfig, MixtureConfig
from gss.data.datasets import build_dataset
from gss.evaluation import check_classes, evaluate
from gss.files import atomic_path, write_json
from gss.loading import load_pipeline
from gss.models.density import GMMDensityHead
from gss.ood.features import inverse_root
from gss.ood.fitting import check_names, fit_scores, survey_images
from gss.ood.survey import Survey
from gss.pipeline import GSSPipeline
from gss.training.loop import fit
from gss.training.mixture_em import MixtureEM


def train_density(cfg: DensityConfig, out: str | Path, *, resume: bool = False) -> dict[str, float]:
    """Fits (or trains) a density head; the product is `out/pipeline`, a copy of `cfg.pipeline` with the head.

    Args:
        cfg: its configuration.
        out: run folder.
        resume: go on from the newest checkpoint of a hybrid run; the post-hoc fit takes minutes and starts again.

    Returns:
        mIoU of the mixture as a classifier and of the pipeline's own mode, and the fit's figures.

    Raises:
        ValueError: no pipeline, other classes, scores that do not exist, or data that no mixture can be fitted to.
    """
    if not cfg.pipeline:
        raise ValueError("pipeline='' is empty: set pipeline=FOLDER to the pipeline that 'gss train prior' wrote")
    out = Path(out)
    torch.manual_seed(cfg.train.seed)
    names = [name.strip() for name in cfg.posthoc.scores.split(",") if name.strip()]
    check_names(names)
    pipeline = load_pipeline(cfg.pipeline)
    # The pipeline resizes by itself, and masks are compared at their own size.
    whole = dataclasses.replace(cfg.data, size=None, cache=False)
    images = build_dataset(whole, cfg.data.train_split, train=False)
    val = build_dataset(whole, cfg.data.val_split, train=False)
    for dataset in (images, val):
        check_classes(list(pipeline.id2label.values()), dataset.label_space.names)
    figures: dict[str, float] = {}
    if cfg.mode == "hybrid":
        from gss.training.hybrid import HybridTask

        augmented = build_dataset(cfg.data, cfg.data.train_split, train=True, seed=cfg.train.seed)
        task = HybridTask(cfg, pipeline, val)
        fit(
            task,
            augmented,
            optim=cfg.optim,
            train=cfg.train,
            out=out,
            workers=cfg.data.workers,
            resume=resume,
            config=cfg,
        )
        pipeline = task.pipeline()
    elif distributed.is_main():
        save_config(cfg, out / "config.yaml")
    posthoc = cfg.posthoc
    survey = None
    if cfg.mode == "posthoc" or names:
        survey = survey_images(
            pipeline,
            images,
            images=posthoc.images,
            pixels_per_class=posthoc.pixels_per_class,
            pixels_per_image=posthoc.pixels_per_image,
            bank_size=posthoc.bank_size,
            per_class="ddu" in names,
            progress=True,
        )
    if cfg.mode == "posthoc":
        assert survey is not None
        head, history = fit_mixture(cfg, survey, class_names=list(pipeline.id2label.values()), device=pipeline.device)
        figures = {"log_likelihood": history[-1], "rounds": float(len(history))}
        pipeline = _with(pipeline, density=head)
    fitted = None
    if survey is not None and names:
        combine = [name.strip() for name in posthoc.combine.split(",") if name.strip()]
        fitted = fit_scores(pipeline, survey, images, names=names, combine=combine)
    pipeline = _with(pipeline, ood=fitted)
    result = evaluate(pipeline, val, modes=["density", pipeline.default_decode], pictures=0, throughput=False)
    figures |= {f"{mode}_miou": float(metrics["miou"] or 0.0) for mode, metrics in result.modes.items()}
    if distributed.is_main():
        export(pipeline, out / "pipeline", source=Path(cfg.pipeline))
        write_json(out / "density.json", figures)
        print("  ".join(f"{name} {value:.4f}" for name, value in figures.items()))
    distributed.barrier()
    return figures


def export(pipeline: GSSPipeline, folder: Path, *, source: Path) -> None:
    """Writes a pipeline with the model card of the one it came from, whose results still hold."""
    with atomic_path(folder) as temporary:
        pipeline.save_pretrained(temporary)
        if (source / "README.md").is_file():
            shutil.copyfile(source / "README.md", temporary / "README.md")


def build_head(model: DensityModelConfig, *, num_classes: int, feature_dim: int) -> GMMDensityHead:
    """The head a configuration asks for, not fitted."""
    return GMMDensityHead(num_classes=num_classes, feature_dim=feature_dim, **vars(model))


def fit_mixture(
    cfg: DensityConfig, survey: Survey, *, class_names: list[str], device: torch.device
) -> tuple[GMMDensityHead, list[float]]:
    """EM on the sample of a survey.

    Args:
        cfg: `model`, `em` and `posthoc` are read.
        survey: of all processes; each holds its part of the sample.
        class_names: for messages.
        device: to compute on, and of the head.

    Returns:
        The head, and the mean log-likelihood log p(x | own class) in nats per pixel before each round.
    """
    head = build_head(cfg.model, num_classes=survey.num_classes, feature_dim=survey.dim).to(device).eval()
    if head.projection is not None:
        _discriminate(head, survey)
    sample = survey.sample
    classes = sample["labels"].to(device)
    keep = torch.ones(len(classes), dtype=torch.bool, device=device)
    if cfg.posthoc.correct_only:
        correct = sample["correct"].to(device)
        right = distributed.sum_across(torch.bincount(classes[correct], minlength=survey.num_classes))
        # A class that the prior hardly ever gets right is described by all its pixels rather than by none.
        keep = correct | (right < 10 * head.num_components)[classes]
    classes = classes[keep]
    with torch.no_grad():
        x = head.embed(sample["features"].to(device)[keep].t()[None, :, None])[0, 0]
    _warn(distributed.sum_across(torch.bincount(classes, minlength=survey.num_classes)), head, class_names)
    history = run_em(head, x, classes, cfg.em, iterations=cfg.posthoc.iterations, tolerance=cfg.posthoc.tolerance)
    return head, history


def run_em(
    head: GMMDensityHead, x: Tensor, classes: Tensor, cfg: MixtureConfig, *, iterations: int, tolerance: float
) -> list[float]:
    """EM over the same pixels in every round, without memory.

    Args:
        head: written to; components not in use are seeded.
        x: this process's embedded pixels `[N, E]`.
        classes: int64 `[N]`.
        cfg: of the E-step.
        iterations: most rounds.
        tolerance: least gain of the log-likelihood of a round that goes on, in nats per pixel.

    Returns:
        Mean log p(x | own class) before each round.
    """
    em = MixtureEM(head, dataclasses.replace(cfg, memory="ema", decay=0.0, interval=1)).to(x.device)
    em.seed(head, x, classes)
    everything = torch.ones_like(classes, dtype=torch.bool)
    history: list[float] = []
    for _ in range(iterations):
        own = head.own_log_density(x, classes)
        likelihood = (own + head.log_weights[classes]).logsumexp(1).double()
        total = distributed.sum_across(torch.stack([likelihood.sum(), likelihood.new_tensor(len(x))]))
        history.append(float(total[0] / total[1].clamp(min=1)))
        # The first rounds may lose: balancing moves pixels away from the components they fit best.
        if len(history) > 5 and history[-1] - max(history[:-1]) < tolerance:
            break
        em.update(head, x, classes, own, everything)
    return history


@torch.no_grad()
def _discriminate(head: GMMDensityHead, survey: Survey) -> None:
    """Sets the projection to the directions in which classes differ most, whitened within classes."""
    assert head.projection is not None
    whitening = inverse_root(survey.covariance(within=True))
    total = whitening.t() @ survey.covariance(within=False) @ whitening
    directions = torch.linalg.eigh(total).eigenvectors.flip(1)[:, : head.dim]
    weight = (whitening @ directions).t()
    mean = survey.first.sum(0) / survey.count.sum()
    head.projection.weight.copy_(weight)
    head.projection.bias.copy_(-(weight @ mean))


def _with(pipeline: GSSPipeline, **parts: Any) -> GSSPipeline:
    """A pipeline of the same components but those named."""
    changed = GSSPipeline(**{**pipeline.components, **parts})
    changed.set_progress_bar_config(disable=True)
    return changed


def _warn(pixels: Tensor, head: GMMDensityHead, class_names: list[str]) -> None:
    absent = [class_names[c] for c in (pixels == 0).nonzero()[:, 0].tolist()]
    few = [class_names[c] for c in ((pixels > 0) & (pixels < head.num_components)).nonzero()[:, 0].tolist()]
    if absent and distributed.is_main():
        warnings.warn(f"no training pixel shows {', '.join(absent)}: the mixture will never predict it", stacklevel=3)
    if few and distributed.is_main():
        warnings.warn(
            f"fewer pixels than the {head.num_components} components show {', '.join(few)}: it gets one component each",
            stacklevel=3,
        )
