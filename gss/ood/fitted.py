"""The statistics of fitted scores, an optional component of a pipeline."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config

# A pipeline looks the base class of a component up in the component's own module when it loads it.
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from gss.core.errors import InputError
from gss.ood.alarms import ALARM_RATES, threshold_at
from gss.ood.combined import Combined


class FittedScores(ModelMixin, ConfigMixin):
    """Statistics of fitted scores by name; `gss.training.density.fit_scores.fit_scores` computes them.

    Args:
        shapes: score to name of the tensor to shape.
        parts: scores that "combined" adds up, in the order of its tensors.
        source: source of the features, see `GSSPriorModel.dense_features`.
        alarms: scores with thresholds of alarms, in the order of their tensor; also scores without statistics.

    Attributes:
        alarm_thresholds: float32 `[len(alarms), R]`, thresholds at the R shares of `ALARM_RATES`, if there are any.
    """

    @register_to_config
    def __init__(
        self,
        shapes: dict[str, dict[str, list[int]]] | None = None,
        parts: list[str] | None = None,
        source: str = "head",
        alarms: list[str] | None = None,
    ) -> None:
        super().__init__()
        for name, tensors in (shapes or {}).items():
            store = nn.Module()
            for key, shape in tensors.items():
                store.register_buffer(key, torch.zeros(shape, dtype=torch.float32))
            self.add_module(name, store)
        if alarms:
            self.register_buffer("alarm_thresholds", torch.zeros(len(alarms), len(ALARM_RATES), dtype=torch.float32))

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Mapping[str, Tensor]],
        parts: Sequence[str] = (),
        source: str = "head",
        alarms: Mapping[str, Sequence[float]] | None = None,
    ) -> FittedScores:
        """Return an object with these statistics.

        Args:
            tensors: score to name of the tensor to tensor.
            parts: scores that "combined" adds up.
            source: source of the features.
            alarms: score to its threshold at each of `ALARM_RATES`.
        """
        shapes = {name: {key: list(value.shape) for key, value in part.items()} for name, part in tensors.items()}
        scores = cls(shapes, list(parts), source, list(alarms or {}))
        for name, part in tensors.items():
            for key, value in part.items():
                scores.tensors(name)[key].copy_(value)
        for row, values in zip(scores.alarm_thresholds if alarms else (), (alarms or {}).values(), strict=True):
            row.copy_(torch.tensor(values))
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
        alarms = {n: values for n, values in {**self.alarms, **other.alarms}.items() if n not in without}
        parts = other.parts if Combined.name in other.names else self.parts
        return FittedScores.from_tensors(tensors, parts if Combined.name in tensors else (), other.source, alarms)

    @property
    def alarms(self) -> dict[str, list[float]]:
        """Score to its threshold at each of `ALARM_RATES`."""
        names = self.config.get("alarms")
        return dict(zip(names, self.alarm_thresholds.tolist(), strict=True)) if names else {}

    def alarm_threshold(self, name: str, rate: float) -> float:
        """Return the threshold of a score for a share of false alarms.

        Raises:
            InputError: no threshold was learned for the score, or the share is outside the known ones.
        """
        if name not in self.alarms:
            known = ", ".join(self.alarms) or "none"
            raise InputError(f"no threshold of alarms was learned for score {name!r}; those with one: {known}")
        return threshold_at(self.alarms[name], rate)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the statistics of a score by name of the tensor."""
        return dict(self.get_submodule(name).named_buffers())
