"""From a configuration to a trained stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gss.config.density import DensityConfig
from gss.config.posterior import PosteriorConfig
from gss.config.prior import PriorConfig
from gss.config.residual import ResidualConfig
from gss.config.tags import WeakTagsConfig
from gss.config.weak_agmm import WeakAgmmConfig
from gss.training.engine.stage import Say


def train(
    stage: str,
    cfg: PosteriorConfig | PriorConfig | DensityConfig | ResidualConfig | WeakAgmmConfig | WeakTagsConfig,
    out: str | Path,
    *,
    resume: bool = False,
    say: Say = print,
) -> dict[str, Any]:
    """Train one stage into a folder.

    Args:
        stage: "posterior", "prior", "twin" (a prior without token and pixel loss), "density", "residual",
            "weak-agmm" or "weak-tags".
        cfg: settings of the stage.
        out: run folder; the product is `out/posterior`, `out/pipeline` or, of tags, `out/classifier`.
        resume: continue from the newest checkpoint.
        say: receives what the user is told.

    Returns:
        Final validation figures.
    """
    out = Path(out)
    if isinstance(cfg, DensityConfig):
        from gss.training.density.train import train_density  # as below

        return train_density(cfg, out, resume=resume, say=say)
    if isinstance(cfg, ResidualConfig):
        from gss.training.residual import train_residual

        return train_residual(cfg, out, resume=resume, say=say)
    if isinstance(cfg, WeakAgmmConfig):
        from gss.training.weak.agmm import train_weak_agmm

        return train_weak_agmm(cfg, out, resume=resume, say=say)
    if isinstance(cfg, WeakTagsConfig):
        from gss.training.weak.tags import train_weak_tags

        return train_weak_tags(cfg, out, resume=resume, say=say)
    if isinstance(cfg, PosteriorConfig):
        from gss.training.posterior.train import train_posterior

        return train_posterior(cfg, out, resume=resume, say=say)
    from gss.training.prior.train import train_prior  # the pipeline it validates with takes seconds to import

    return train_prior(cfg, out, twin=stage == "twin", resume=resume, say=say)
