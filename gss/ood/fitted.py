"""`FittedScores`: the statistics that scores took from training data, as an optional component of a pipeline."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config

# A pipeline looks the base class of a component up in the component's own module when it loads it.
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

# Imported for their registration.
from gss.ood import features, generative, logits  # noqa: F401
from gss.ood import logits as _residual  # noqa: F401
from gss.ood.base import OODScore, ScoreInputs, register


class FittedScores(ModelMixin, ConfigMixin):
    """Tensors of fitted scores by name; built by `gss.training.density.fit_scores.fit_scores`.

    Args:
        shapes: score to tensor name to shape.
        parts: the scores that "combined" puts together, in the order of its tensors.
        source: of the features, see `GSSPriorModel.dense_features`.
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
        """Wraps statistics, score to tensor name to tensor, of features of `source`."""
        shapes = {name: {key: list(value.shape) for key, value in found.items()} for name, found in tensors.items()}
        scores = cls(shapes, list(parts), source)
        for name, found in tensors.items():
            for key, value in found.items():
                scores.tensors(name)[key].copy_(value)
        return scores

    @property
    def names(self) -> tuple[str, ...]:
        """Scores that were fitted."""
        return tuple(self.config["shapes"] or {})

    @property
    def source(self) -> str:
        """Which features of the prior the statistics describe."""
        return self.config["source"]

    @property
    def parts(self) -> tuple[str, ...]:
        """What "combined" consists of."""
        return tuple(self.config["parts"] or ())

    def merged(self, other: FittedScores, *, without: Collection[str] = ()) -> FittedScores:
        """A new object with the scores of both but those named; `other` wins where both have one."""
        tensors = {name: part.tensors(name) for part in (self, other) for name in part.names if name not in without}
        parts = other.parts if Combined.name in other.names else self.parts
        return FittedScores.from_tensors(tensors, parts if Combined.name in tensors else (), other.source)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The statistics of one score."""
        return dict(self.get_submodule(name).named_buffers())


@register
class Combined(OODScore):
    """Weighted sum of scores, each in standard deviations of the training data.

    The weights are those of the best linear detector of a shift that moves every score by equally many standard
    deviations: R^-1 1 with R the correlations on training data, negative ones set to 0. Scores that say the same share
    their weight. No outlier is needed or used.

    Args:
        parts: the scores.
        tensors: `mean`, `deviation` and `weight` of each.
    """

    name = "combined"
    needs = frozenset({"fit"})
    fixed_parts: ClassVar[tuple[str, ...]] = ()  # of sub-classes, whatever `parts` were fitted
    mean: Tensor
    deviation: Tensor
    weight: Tensor

    def __init__(self, parts: Sequence[OODScore], tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.scores = nn.ModuleList(parts)
        self.needs = frozenset().union(*(part.needs for part in parts)) | {"fit"}
        for key, value in tensors.items():
            self.register_buffer(key, value)

    def score(self, inputs: ScoreInputs) -> Tensor:
        """In standard deviations, on the grid of the logits."""
        z = (stack_scores(list(self.scores), inputs) - self.mean) / self.deviation
        return (z * self.weight).sum(-1)


@register
class ResidualDensity(Combined):
    """The residual energy and the density head's score together: one was shown outliers, the other never."""

    name = "residual_gmm"
    needs = frozenset({"fit", "residual", "density"})
    fixed_parts = ("residual_energy", "gmm_class")


@register
class ResidualRatio(Combined):
    """The residual energy and the likelihood ratio of the mixtures of outliers and inliers together."""

    name = "residual_ratio"
    needs = frozenset({"fit", "residual", "density", "outliers"})
    fixed_parts = ("residual_energy", "gmm_ratio")


def stack_scores(scores: Sequence[OODScore] | Sequence[nn.Module], inputs: ScoreInputs) -> Tensor:
    """Several scores on the grid of the logits: `[B, h, w, S]`."""
    grid = inputs.logits.shape[-2:]
    maps = []
    for part in scores:
        assert isinstance(part, OODScore)
        found = part(inputs)
        if found.shape[-2:] != grid:
            found = F.interpolate(found[:, None], size=grid, mode="bilinear", antialias=True)[:, 0]
        maps.append(found)
    return torch.stack(maps, -1)


def combination_weights(mean: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Tensors of `Combined` from the mean `[S]` and mean outer product `[S, S]` of scores on training data."""
    covariance = second - mean[:, None] * mean
    deviation = covariance.diagonal().clamp(min=0).sqrt()
    usable = deviation > 1e-9 * mean.abs().clamp(min=1e-9)
    scale = torch.where(usable, deviation, 1)
    correlation = covariance / (scale[:, None] * scale)
    # A little of the identity: two copies of one score have no inverse.
    correlation = torch.where(usable[:, None] & usable, correlation, 0) + 1e-3 * torch.eye(len(mean)).to(mean)
    correlation.diagonal().clamp_(min=1)
    weight = torch.linalg.solve(correlation, usable.to(mean)).clamp(min=0) * usable
    weight = weight / weight.sum().clamp(min=1e-12)
    return {"mean": mean.float(), "deviation": scale.float(), "weight": weight.float()}
