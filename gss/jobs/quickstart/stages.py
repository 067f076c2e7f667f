"""The stages of the quickstart and their settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gss.config.density import DensityConfig
from gss.config.io import load_config
from gss.config.joint import JointConfig
from gss.config.posterior import PosteriorConfig
from gss.config.prior import PriorConfig
from gss.config.residual import ResidualConfig
from gss.jobs.stages import Stage, training_stage


def training_stages(
    names: Sequence[str], common: list[str], out: Path, *, objects: str
) -> tuple[list[Stage], PriorConfig]:
    """Return the stages that train, and the settings of the prior.

    Args:
        names: stages to run, in order.
        common: overrides of all of them.
        out: folder of the job.
        objects: what the residual head is trained to find.
    """
    prior = load_config(PriorConfig, ["quickstart/prior.yaml"], [*common, f"posterior={out / 'posterior'}"])
    stages = [
        training_stage(
            "posterior", "posterior", load_config(PosteriorConfig, ["quickstart/posterior.yaml"], common), out
        ),
        training_stage("prior", "prior", prior, out, after=["posterior"]),
    ]
    if "twin" in names:
        stages.append(training_stage("twin", "twin", prior, out, after=["posterior"]))
    below = ["prior"]
    if "density" in names:
        overrides = [*common, f"pipeline={out / 'prior' / 'pipeline'}"]
        density = load_config(DensityConfig, ["quickstart/density.yaml"], overrides)
        stages.append(training_stage("density", "density", density, out, after=below))
        below = ["prior", "density"]
    if "residual" in names:
        overrides = [*common, f"pipeline={out / below[-1] / 'pipeline'}", f"outliers.objects={objects}"]
        residual = load_config(ResidualConfig, ["quickstart/residual.yaml"], overrides)
        stages.append(training_stage("residual", "residual", residual, out, after=below))
    if "joint" in names:  # on the prior alone, so that heads come and go without training it again
        overrides = [*common, f"pipeline={out / 'prior' / 'pipeline'}"]
        joint = load_config(JointConfig, ["quickstart/joint.yaml"], overrides)
        stages.append(training_stage("joint", "joint", joint, out, after=["prior"]))
    return stages, prior
