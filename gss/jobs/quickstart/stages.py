"""The stages of the quickstart: which there are, their settings, and training what is not trained yet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gss.config.density import DensityConfig
from gss.config.io import load_config
from gss.config.posterior import PosteriorConfig
from gss.config.prior import PriorConfig
from gss.config.residual import ResidualConfig
from gss.core.errors import InputError, unknown_name
from gss.core.outputs import prepare_output
from gss.training.run import train

STAGES = ("posterior", "prior", "twin", "density", "residual")
DEFAULT_STAGES = STAGES[:4]
Config = PosteriorConfig | PriorConfig | DensityConfig | ResidualConfig


def order_stages(names: Sequence[str]) -> tuple[str, ...]:
    """Return stages in the order they are run.

    Raises:
        InputError: an unknown stage, or one of the two is absent that all others and the report need.
    """
    for name in names:
        if name not in STAGES:
            raise unknown_name("stage", name, STAGES, where="--stages")
    for name in ("posterior", "prior"):
        if name not in names:
            raise InputError(f"--stages lacks {name}, which all other stages need; a finished stage is not repeated")
    return tuple(name for name in STAGES if name in names)


def stage_configs(stages: tuple[str, ...], common: list[str], out: Path, *, objects: str) -> dict[str, Config]:
    """Settings of the stages.

    Args:
        stages: those to run.
        common: overrides of all of them.
        out: folder of all runs.
        objects: what the residual head is trained to find.
    """
    prior = load_config(PriorConfig, ["quickstart/prior.yaml"], [*common, f"posterior={out / 'posterior'}"])
    configs: dict[str, Config] = {
        "posterior": load_config(PosteriorConfig, ["quickstart/posterior.yaml"], common),
        "prior": prior,
        "twin": prior,
    }
    if "density" in stages:
        configs["density"] = load_config(
            DensityConfig, ["quickstart/density.yaml"], [*common, f"pipeline={out / 'prior' / 'pipeline'}"]
        )
    if "residual" in stages:
        below = out / ("density" if "density" in stages else "prior") / "pipeline"
        overrides = [*common, f"pipeline={below}", f"outliers.objects={objects}"]
        configs["residual"] = load_config(ResidualConfig, ["quickstart/residual.yaml"], overrides)
    return configs


def train_once(stage: str, cfg: Config, folder: Path, *, again: bool) -> float:
    """Trains a stage unless `folder` holds its product; returns the seconds it took, 0 when it was there."""
    product = folder / ("posterior" if stage == "posterior" else "pipeline")
    if product.exists() and not again:
        trained = load_config(type(cfg), [str(folder / "config.yaml")], [])
        if isinstance(trained, PriorConfig) and isinstance(cfg, PriorConfig) and stage == "twin":
            trained = replace(trained, loss=cfg.loss)  # its own has the token losses off
        if isinstance(trained, ResidualConfig) and isinstance(cfg, ResidualConfig):
            # Its own says which objects were found.
            trained = replace(trained, outliers=replace(trained.outliers, ids=cfg.outliers.ids))
        if trained != cfg:
            raise InputError(f"{folder} was trained with other settings: choose another --out, or pass --overwrite")
        print(f"{stage}: already trained in {folder} (--overwrite trains it again)")
        return 0.0
    print(f"training {stage}")
    prepare_output(folder, overwrite=True)
    started = time.perf_counter()
    train(stage, cfg, folder, say=print)
    return time.perf_counter() - started
