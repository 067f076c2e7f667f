"""Stages `prior` and `twin`: how images become tokens, or classes without tokens."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gss.config.prior import PriorConfig
from gss.core.errors import InputError
from gss.data.protocols import LabelledImages
from gss.evaluation import reconstruction as recon
from gss.posterior.bundle import Posterior
from gss.training.engine.sources import Source
from gss.training.engine.stage import Say, quiet, report, seed_stage, train_task
from gss.training.identity import module_source, split_sources
from gss.training.prior.task import PriorTask
from gss.training.prior.warm_start import model_sources
from gss.training.splits import open_splits, report_domains
from gss.weak.seeds import check_seeds


def train_prior(
    cfg: PriorConfig, out: str | Path, *, twin: bool = False, resume: bool = False, say: Say = quiet
) -> dict[str, float]:
    """Train a prior under a frozen posterior; the product is `out/pipeline`.

    Args:
        cfg: settings of the stage.
        out: run folder.
        twin: leave out token and pixel loss: a discriminative pixel classifier of the same architecture.
        resume: continue from the newest checkpoint.
        say: receives what the user is told.

    Returns:
        Figures of the last validation.
    """
    if twin:
        cfg = dataclasses.replace(cfg, loss=dataclasses.replace(cfg.loss, token=0.0, pixel=0.0))
    seed_stage(cfg)
    splits = open_splits(cfg.data, seed=cfg.train.seed, val_as_read=True)
    check_seeds(splits.plain, allow=cfg.weak.allow_missing)
    report_domains(splits.augmented, say)
    posterior = load_posterior(cfg, splits.plain, twin=twin)
    task = PriorTask(cfg, posterior, splits.plain, splits.val)

    def sources() -> list[Source]:
        frozen = []
        if cfg.posterior:
            parts = posterior.codec, posterior.vqvae, posterior.likelihood
            frozen.append(module_source("posterior", ("posterior",), *parts))
        return [*split_sources(splits), *frozen, *model_sources(cfg.model)]

    figures = train_task(cfg, task, splits.augmented, out, sources=sources, resume=resume)
    report(say, figures)
    return figures


def train_twin(cfg: PriorConfig, out: str | Path, *, resume: bool = False, say: Say = quiet) -> dict[str, float]:
    """Train the discriminative twin of a prior; arguments as for `train_prior`."""
    return train_prior(cfg, out, twin=True, resume=resume, say=say)


def load_posterior(cfg: PriorConfig, train: LabelledImages, *, twin: bool) -> Posterior:
    """Return the frozen posterior; a twin can do without one, it takes only the grid and the palette.

    Raises:
        InputError: no posterior is named, or it is of other classes.
    """
    if not cfg.posterior:
        if not twin:
            raise InputError("posterior='' is empty: set posterior=FOLDER to the --out of 'gss train posterior'")
        return Posterior.placeholder(train.label_space)
    posterior = Posterior.from_pretrained(cfg.posterior)
    recon.check_classes(posterior, train, cfg.posterior)
    return posterior
