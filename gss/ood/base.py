"""The protocol of out-of-distribution scores, and their registry.

A score turns what the network says about a batch into one float32 map, higher where a pixel is more likely to show
something that training did not. Maps have any resolution; the pipeline enlarges them bilinearly. Scores have no common
scale: a threshold belongs to one score of one pipeline.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeVar

from torch import Tensor, nn

if TYPE_CHECKING:
    from gss.models.density import GMMDensityHead
    from gss.ood.survey import Survey


@dataclass(frozen=True)
class ScoreInputs:
    """What scores read, for a batch of equally sized images.

    Attributes:
        logits: class logits of the auxiliary head `[B, K, h, w]`, float32.
        features: those the density head and fitted scores describe `[B, D, h, w]`, float32.
        size: H and W of the images.
        token_logits: `[B, V, h, w]`, float32; None unless a score needs tokens.
        decoded: class probabilities of the painted tokens `[B, K, H, W]`; None unless a score needs them.
        perturbed: logits under the residual pattern head, of classes `[B, K, h, w]` or of tokens `[B, V, h, w]`,
            float32; None unless a score needs them.
        found: scores already taken of these inputs, by name: combinations share their parts with those asked for.
    """

    logits: Tensor
    features: Tensor
    size: tuple[int, int]
    token_logits: Tensor | None = None
    decoded: Tensor | None = None
    perturbed: Tensor | None = None
    found: dict[str, Tensor] = field(default_factory=dict, compare=False, repr=False)


class OODScore(nn.Module, ABC):
    """One score. Sub-classes are registered with `register`.

    Attributes:
        name: what users write.
        needs: what it takes beyond logits and features: "tokens", "decoded", "density" (a density head), "outliers"
            (its mixture of outliers), "residual" (a residual pattern head) and "fit" (a pass over training data, see
            `gss.training.density.fit_scores`).
    """

    name: ClassVar[str]
    needs: frozenset[str] = frozenset()

    def forward(self, inputs: ScoreInputs) -> Tensor:
        """`score`, taken once of the same inputs; a pipeline has one score of a name."""
        if self.name not in inputs.found:
            inputs.found[self.name] = self.score(inputs)
        return inputs.found[self.name]

    @abstractmethod
    def score(self, inputs: ScoreInputs) -> Tensor:
        """Float32 map `[B, h, w]` or `[B, H, W]`, higher is more out-of-distribution."""


class DensityScore(OODScore):
    """A score read off the density head.

    Args:
        density: fitted head.
    """

    needs = frozenset({"density"})

    def __init__(self, density: GMMDensityHead) -> None:
        super().__init__()
        self.density = density


class FittedScore(OODScore):
    """A score with statistics of the training data, which are buffers of these names.

    Args:
        tensors: the statistics, from `fit` or from a file.
    """

    needs = frozenset({"fit"})

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    @classmethod
    @abstractmethod
    def fit(cls, survey: Survey) -> dict[str, Tensor]:
        """Statistics, float32, from one pass over the training data."""


SCORES: dict[str, type[OODScore]] = {}

S = TypeVar("S", bound=type[OODScore])


def register(score: S) -> S:
    """Class decorator: makes a score known under its `name`."""
    SCORES[score.name] = score
    return score
