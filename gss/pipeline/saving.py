"""Components of a saved pipeline, found by their class names."""

from __future__ import annotations

from typing import Any

from gss.models.density import GMMDensityHead
from gss.models.prior import GSSPriorModel
from gss.models.residual import ResidualPatternHead
from gss.ood import FittedScores
from gss.pipeline.processor import GSSImageProcessor
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from vqvae import MaskigeVQModel

# diffusers loads a component from its module only when that module is already imported.
COMPONENTS = {
    component.__name__: component
    for component in (
        CellLikelihood,
        FittedScores,
        GMMDensityHead,
        GSSImageProcessor,
        GSSPriorModel,
        MaskigeCodec,
        MaskigeVQModel,
        ResidualPatternHead,
    )
}


def current_modules(config: dict[str, Any]) -> None:
    """Replace the modules of components in a model_index.json by those of today, in place.

    diffusers stores the module of each component. With the class name alone, a pipeline saved before a module was moved
    stays loadable.
    """
    for name, saved in config.items():
        if isinstance(saved, list | tuple) and len(saved) == 2 and saved[1] in COMPONENTS:
            config[name] = [COMPONENTS[saved[1]].__module__, saved[1]]
