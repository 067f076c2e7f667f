"""From a configuration to a trained stage."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from gss.config.density import DensityConfig
from gss.config.posterior import PosteriorConfig
from gss.config.prior import PriorConfig
from gss.config.residual import ResidualConfig
from gss.config.tags import WeakTagsConfig
from gss.config.weak_agmm import WeakAgmmConfig
from gss.core.distributed import barrier, is_main, num_processes
from gss.core.errors import InputError
from gss.core.files import write_json
from gss.data.domains import DomainDataset, describe
from gss.data.protocols import LabelledImages
from gss.evaluation import reconstruction as recon
from gss.metrics.domains import domain_figures
from gss.posterior.bundle import Posterior
from gss.training.engine.loop import Task, fit
from gss.training.posterior.task import PosteriorTask
from gss.training.splits import open_splits
from gss.weak.trust import check_seeds


def train(
    stage: str,
    cfg: PosteriorConfig | PriorConfig | DensityConfig | ResidualConfig | WeakAgmmConfig | WeakTagsConfig,
    out: str | Path,
    *,
    resume: bool = False,
) -> dict[str, Any]:
    """Trains one stage into a folder.

    Args:
        stage: "posterior", "prior", "twin" (a prior without token and pixel loss), "density", "residual",
            "weak-agmm" or "weak-tags".
        cfg: its configuration.
        out: run folder; the product is `out/posterior`, `out/pipeline` or, of tags, `out/classifier`.
        resume: go on from the newest checkpoint.

    Returns:
        Final validation figures.
    """
    out = Path(out)
    if isinstance(cfg, DensityConfig):
        from gss.training.density.train import train_density  # as below

        return train_density(cfg, out, resume=resume)
    if isinstance(cfg, ResidualConfig):
        from gss.training.residual import train_residual

        return train_residual(cfg, out, resume=resume)
    if isinstance(cfg, WeakAgmmConfig):
        from gss.training.weak.agmm import train_weak_agmm

        return train_weak_agmm(cfg, out, resume=resume)
    if isinstance(cfg, WeakTagsConfig):
        from gss.training.weak.tags import train_weak_tags

        return train_weak_tags(cfg, out, resume=resume)
    # Quantisers ask when they are built whether there are other processes to share their codebook with.
    num_processes()
    torch.manual_seed(cfg.train.seed)
    splits = open_splits(cfg.data, seed=cfg.train.seed, val_as_read=not isinstance(cfg, PosteriorConfig))
    plain, val = splits.plain, splits.val
    check_seeds(plain, allow=cfg.weak.allow_missing)
    if isinstance(splits.augmented, DomainDataset) and is_main():
        print(describe(splits.augmented))
    if isinstance(cfg, PosteriorConfig):
        task: Task = PosteriorTask(cfg, plain, val)
    else:
        from gss.training.prior.task import PriorTask  # the pipeline it validates with takes seconds to import

        if stage == "twin":
            cfg = dataclasses.replace(cfg, loss=dataclasses.replace(cfg.loss, token=0.0, pixel=0.0))
        task = PriorTask(cfg, _load_posterior(cfg, plain, twin=stage == "twin"), plain, val)
    metrics = fit(
        task,
        splits.augmented,
        optim=cfg.optim,
        train=cfg.train,
        out=out,
        workers=cfg.data.workers,
        resume=resume,
        config=cfg,
    )
    if isinstance(cfg, PosteriorConfig):
        barrier()  # the main process has written the product
        result = recon.reconstruct(Posterior.from_pretrained(out), val, progress=True)
        for way in result:
            metrics[f"{way}_miou"] = float(result[way]["miou"] or 0.0)
            metrics |= domain_figures(f"{way}_miou", result[way].get("domains", {}), "miou")
        if is_main():
            write_json(out / "recon.json", result)
            rows = [{"posterior": str(out), "downsample": cfg.vq.downsample, **result}]
            print(recon.format_table(rows, val.label_space.names))
    elif is_main():
        print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    return metrics


def _load_posterior(cfg: PriorConfig, train: LabelledImages, *, twin: bool) -> Posterior:
    """The frozen posterior; a twin may do without one and only takes its grid and palette."""
    if not cfg.posterior:
        if not twin:
            raise InputError("posterior='' is empty: set posterior=FOLDER to the --out of 'gss train posterior'")
        return Posterior.placeholder(train.label_space)
    posterior = Posterior.from_pretrained(cfg.posterior)
    recon.check_classes(posterior, train, cfg.posterior)
    return posterior
