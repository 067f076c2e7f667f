"""Components as `DiffusionPipeline.from_pretrained` of diffusers loads them: a precision is that of the prior only.

diffusers hands one precision to the loader of every component before any code of the pipeline runs. In the place of the
classes that a folder names it is therefore given the classes below, which load those of the same names.
"""

from __future__ import annotations

from typing import Any

import torch

# diffusers looks the base classes of a component up in the component's own module.
from diffusers.models.modeling_utils import ModelMixin as ModelMixin
from transformers import PreTrainedModel as PreTrainedModel

_loaders: dict[str, Any] = {}


def loaders(components: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return module and name of the class that loads each component.

    Args:
        components: classes of components by name.
    """
    for name, component in components.items():
        if issubclass(component, PreTrainedModel | ModelMixin) and name not in _loaders:
            _loaders[name] = _loader(component)
    return {name: (__name__, name) if name in _loaders else (one.__module__, name) for name, one in components.items()}


def __getattr__(name: str) -> Any:
    """Return the loader of a component."""
    if name in _loaders:
        return _loaders[name]
    raise AttributeError(f"module {__name__} has no attribute {name}")


def _loader(component: Any) -> Any:
    class Loader(component):
        @classmethod
        def from_pretrained(cls, *args: Any, torch_dtype: Any = None, dtype: Any = None, **kwargs: Any) -> Any:
            kwargs["use_safetensors"] = True  # no file is unpickled
            if issubclass(component, PreTrainedModel):
                # Weights may be stored in half precision, see `gss.pipeline.store.zoo`.
                return component.from_pretrained(*args, dtype=dtype or torch_dtype or torch.float32, **kwargs)
            return component.from_pretrained(*args, torch_dtype=torch.float32, **kwargs)

    return Loader
