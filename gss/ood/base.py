"""The protocol of out-of-distribution scores.

A score turns the outputs of the network for a batch into one float32 map, higher where a pixel is more likely to show
something that the training data did not contain. Maps have any resolution; the pipeline resizes them bilinearly. The
scores have no common scale: a threshold belongs to one score of one pipeline.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from gss.models.density import GMMDensityHead
    from gss.ood.survey import Survey


@dataclass(frozen=True)
class ScoreInputs:
    """Inputs of the scores for a batch of images of one size.

    Attributes:
        logits: float32 [B, K, h, w], class logits of the auxiliary head.
        features: float32 [B, D, h, w], features of the density head and of the fitted scores.
        size: (H, W) of the images.
        token_logits: float32 [B, V, h, w]; `None` unless a score needs tokens, or if the next two are given instead.
        token_entropy: float32 [B, h, w], entropy of the tokens relative to log V.
        token_surprise: float32 [B, h, w], in nats, negative log-probability of the most probable token.
        decoded: float32 [B, K, H, W], class probabilities of the painted tokens; `None` unless a score needs them.
        perturbed: float32 [B, K, h, w] or [B, V, h, w], class or token logits under the residual pattern head; `None`
            unless a score needs them.
        coarse: float32 [B, D, h', w'], the features before they were enlarged, for scores of nothing else; `None` if
            these read `features` too.
        ratio: cells of `features` per cell of `coarse` and side.
        wanted: names of the scores that are wanted of these inputs, so that they share their work.
        likelihoods: log-likelihoods of the density head by kind, once one of several scores has computed them.
        computed: scores of these inputs by name, so that combinations share their parts with the other scores.
    """

    logits: Tensor
    features: Tensor
    size: tuple[int, int]
    token_logits: Tensor | None = None
    token_entropy: Tensor | None = None
    token_surprise: Tensor | None = None
    decoded: Tensor | None = None
    perturbed: Tensor | None = None
    coarse: Tensor | None = None
    ratio: int = 1
    wanted: frozenset[str] = frozenset()
    likelihoods: dict[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    computed: dict[str, Tensor] = field(default_factory=dict, compare=False, repr=False)


class OODScore(nn.Module, ABC):
    """Base of all scores; sub-classes are listed in `gss.ood.registry` or registered with `register`.

    Attributes:
        name: name of the score for users.
        needs: inputs beyond logits and features: "tokens", "decoded", "density" (a density head), "outliers" (its
            mixture of outliers), "residual" (a residual pattern head) and "fit" (a pass over training data, see
            `gss.training.density.fit_scores`).
        cellwise: True if the score reads features alone, and can be computed on a coarser grid and enlarged.
    """

    name: ClassVar[str]
    needs: frozenset[str] = frozenset()
    cellwise: ClassVar[bool] = False

    def forward(self, inputs: ScoreInputs) -> Tensor:
        """Return `score`, computed once for the same inputs."""
        if self.name not in inputs.computed:
            coarse = inputs.coarse if self.cellwise else None
            inputs.computed[self.name] = self.score(inputs) if coarse is None else self._enlarged(inputs, coarse)
        return inputs.computed[self.name]

    def _enlarged(self, inputs: ScoreInputs, coarse: Tensor) -> Tensor:
        """Return the score of the coarse features, enlarged bilinearly to [B, h, w]."""
        values = self.score(dataclasses.replace(inputs, features=coarse, coarse=None))
        fine = F.interpolate(values[:, None], scale_factor=inputs.ratio, mode="bilinear")[:, 0]
        return fine[:, : inputs.features.shape[-2], : inputs.features.shape[-1]]

    @abstractmethod
    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return float32 [B, h, w] or [B, H, W], higher where a pixel is more out-of-distribution."""


class DensityScore(OODScore):
    """Base of the scores of the density head.

    Args:
        density: fitted density head.
    """

    needs = frozenset({"density"})

    def __init__(self, density: GMMDensityHead) -> None:
        super().__init__()
        self.density = density


class FittedScore(OODScore):
    """Base of the scores with statistics of the training data, which are buffers.

    Args:
        tensors: statistics by name of the buffer, from `fit` or from a file.
    """

    needs = frozenset({"fit"})

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    @classmethod
    @abstractmethod
    def fit(cls, survey: Survey) -> dict[str, Tensor]:
        """Return the statistics, float32, from one pass over the training data."""


SCORES: dict[str, type[OODScore]] = {}
"""Scores by name, in the order of tables."""

S = TypeVar("S", bound=type[OODScore])


def register(score: S) -> S:
    """Add a score to `SCORES`; usable as a class decorator."""
    SCORES[score.name] = score
    return score
