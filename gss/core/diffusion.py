"""`DiffusionPipeline` of diffusers, imported without its autoencoders, which would take seconds at every start.

diffusers' module of pipelines imports `AutoencoderKL` for one `isinstance` check, and with it come all of its
autoencoders, their networks and scipy.
"""

from __future__ import annotations

import sys
from typing import Any

import diffusers.models

_MODULE = "diffusers.pipelines.pipeline_utils"
_DEFINED_IN = "diffusers.models.autoencoders.autoencoder_kl"


class _Kind(type):
    """Metaclass of a class that stands for `AutoencoderKL`: the same objects are instances of both."""

    def __instancecheck__(cls, instance: Any) -> bool:
        # Where the module is not imported there is no such object.
        module = sys.modules.get(_DEFINED_IN)
        return module is not None and isinstance(instance, module.AutoencoderKL)


class _AutoencoderKL(metaclass=_Kind):
    """Stands for the class of this name while diffusers' pipelines are imported."""


_absent = _MODULE not in sys.modules and "AutoencoderKL" not in vars(diffusers.models)
if _absent:
    vars(diffusers.models)["AutoencoderKL"] = _AutoencoderKL
try:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline
finally:
    if _absent:
        # From now on the name means diffusers' own class again.
        del vars(diffusers.models)["AutoencoderKL"]

__all__ = ["DiffusionPipeline"]
