"""The stages of `gss train`: settings, entry point and product of each. Imports nothing heavy."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingStage:
    """One value of `gss train STAGE`.

    Args:
        settings: dataclass of its settings, as "module:class".
        entry: function that trains it, as "module:function"; called with the settings, the run folder, `resume`
            and `say`, it returns validation metrics.
        product: sub-folder of the run folder that holds what was trained.
    """

    settings: str
    entry: str
    product: str = "pipeline"

    def config_class(self) -> type[Any]:
        """Import the class of the settings."""
        return _import_object(self.settings)

    def load_entry(self) -> Any:
        """Import the function that trains."""
        return _import_object(self.entry)


STAGES: Mapping[str, TrainingStage] = {
    "posterior": TrainingStage(
        "gss.config.posterior:PosteriorConfig", "gss.training.posterior.train:train_posterior", "posterior"
    ),
    "prior": TrainingStage("gss.config.prior:PriorConfig", "gss.training.prior.train:train_prior"),
    "twin": TrainingStage("gss.config.prior:PriorConfig", "gss.training.prior.train:train_twin"),
    "density": TrainingStage("gss.config.density:DensityConfig", "gss.training.density.train:train_density"),
    "residual": TrainingStage("gss.config.residual:ResidualConfig", "gss.training.residual.train:train_residual"),
    "joint": TrainingStage("gss.config.joint:JointConfig", "gss.training.joint.train:train_joint"),
    "weak-agmm": TrainingStage("gss.config.weak_agmm:WeakAgmmConfig", "gss.training.weak.agmm:train_weak_agmm"),
    "weak-tags": TrainingStage(
        "gss.config.tags:WeakTagsConfig", "gss.training.weak.tags:train_weak_tags", "classifier"
    ),
}


def _import_object(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
