"""Devices and precision of the components of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import torch
from accelerate.hooks import remove_hook_from_module

_Base: Any = object
if TYPE_CHECKING:
    from gss.core.diffusion import DiffusionPipeline as _Base


def component_dtypes(dtype: Any) -> dict[str, torch.dtype]:
    """Return the precision that diffusers loads each component in.

    Args:
        dtype: precision of the prior, float32 if None or "auto"; or a mapping of components to precisions, in which
            "default" is that of the prior as well: all others hold colours, codes and likelihoods.
    """
    if isinstance(dtype, Mapping):
        given = dict(dtype)
        prior = given.pop("prior", given.pop("default", torch.float32))
        return {**{name: value for name, value in given.items() if name != "default"}, "prior": prior} | {
            "default": torch.float32
        }
    return {"prior": dtype if isinstance(dtype, torch.dtype) else torch.float32, "default": torch.float32}


class PlacingMethods(_Base):
    """Moving of the components of `GSSPipeline` between devices, and their precision."""

    # In the order of their use; only the prior moves, see `enable_model_cpu_offload`.
    model_cpu_offload_seq = "prior->joint->residual->density->ood->likelihood->vqvae->codec"
    _exclude_from_cpu_offload = ["joint", "residual", "density", "ood", "likelihood", "vqvae", "codec"]

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move all components; a dtype applies to the prior only."""
        dtypes = [arg for arg in (*args, kwargs.pop("dtype", None)) if isinstance(arg, torch.dtype)]
        places = [arg for arg in args if not isinstance(arg, torch.dtype)]
        if places or kwargs:
            super().to(*places, **kwargs)
        for dtype in dtypes:
            self.prior.to(dtype)
        return self

    def enable_model_cpu_offload(self, gpu_id: int | None = None, device: torch.device | str | None = None) -> None:
        """Keep the prior on the CPU between calls; see diffusers for the arguments.

        The other components are tables and small networks, most of which are read without their `forward`: they stay
        on the device.
        """
        super().enable_model_cpu_offload(gpu_id, device)
        for name in self._exclude_from_cpu_offload:
            component = getattr(self, name)
            if component is not None:
                remove_hook_from_module(component, recurse=True)
                component.to(self._offload_device)
