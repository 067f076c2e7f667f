"""The statistics of fitted scores, an optional component of a pipeline."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config

# A pipeline looks the base class of a component up in the component's own module when it loads it.
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from gss.ood.combined import Combined


class FittedScores(ModelMixin, ConfigMixin):
    """Statistics of fitted scores by name; `gss.training.density.fit_scores.fit_scores` computes them.

    Args:
        shapes: score to name of the tensor to shape.
        parts: scores that "combined" adds up, in the order of its tensors.
        source: source of the features, see `GSSPriorModel.dense_features`.
    """

    @register_to_config
    def __init__(
        self,
        shapes: dict[str, dict[str, list[int]]] | None = None,
        parts: list[str] | None = None,
        source: str = "head",
    ) -> None:
        super().__init__()
        for name, tensors in (shapes or {}).items():
            store = nn.Module()
            for key, shape in tensors.items():
                store.register_buffer(key, torch.zeros(shape))
            self.add_module(name, store)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Mapping[str, Tensor]], parts: Sequence[str] = (), source: str = "head"
    ) -> FittedScores:
        """Return an object with these statistics.

        Args:
            tensors: score to name of the tensor to tensor.
            parts: scores that "combined" adds up.
            source: source of the features.
        """
        shapes = {name: {key: list(value.shape) for key, value in part.items()} for name, part in tensors.items()}
        scores = cls(shapes, list(parts), source)
        for name, part in tensors.items():
            for key, value in part.items():
                scores.tensors(name)[key].copy_(value)
        return scores

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fitted scores."""
        return tuple(self.config["shapes"] or {})

    @property
    def source(self) -> str:
        """Source of the features, see `GSSPriorModel.dense_features`."""
        return self.config["source"]

    @property
    def parts(self) -> tuple[str, ...]:
        """Scores that "combined" adds up."""
        return tuple(self.config["parts"] or ())

    def merged(self, other: FittedScores, *, without: Collection[str] = ()) -> FittedScores:
        """Return a new object with the scores of both.

        Args:
            other: object whose statistics are taken where both have a score.
            without: names of scores that are left out.
        """
        tensors = {name: part.tensors(name) for part in (self, other) for name in part.names if name not in without}
        parts = other.parts if Combined.name in other.names else self.parts
        return FittedScores.from_tensors(tensors, parts if Combined.name in tensors else (), other.source)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the statistics of a score by name of the tensor."""
        return dict(self.get_submodule(name).named_buffers())
