"""The scores of a pipeline, by name."""

from __future__ import annotations

from dataclasses import dataclass

from gss.core.lookup.plugins import find_class
from gss.models.density import GMMDensityHead
from gss.ood.base import SCORES, DensityScore, FittedScore, OODScore, register
from gss.ood.combined import Combined, ResidualDensity, ResidualRatio
from gss.ood.density import MixtureClass, MixtureMarginal, MixtureMax, MixtureRatio
from gss.ood.distances import Mahalanobis, MahalanobisUnit, NearestNeighbors, OneGaussian, VirtualLogit
from gss.ood.fitted import FittedScores
from gss.ood.logits import Energy, Entropy, MaxLogit, MaxSoftmax
from gss.ood.names import lacking_error, unknown_score, unmet
from gss.ood.residual import ResidualEnergy, SmoothResidualEnergy
from gss.ood.standardized import StandardizedMaxLogit
from gss.ood.tokens import Disagreement, TokenEntropy, TokenSurprise

# In the order of tables.
for _score in (
    *(Mahalanobis, MahalanobisUnit, NearestNeighbors, VirtualLogit, OneGaussian),
    *(MaxSoftmax, MaxLogit, Energy, Entropy, StandardizedMaxLogit),
    *(ResidualEnergy, SmoothResidualEnergy),
    *(MixtureMax, MixtureMarginal, MixtureClass, MixtureRatio),
    *(TokenEntropy, TokenSurprise, Disagreement),
    *(Combined, ResidualDensity, ResidualRatio),
):
    register(_score)


def find_score(name: str) -> type[OODScore]:
    """Return the class of a score by its name, or by `module:Name` or the name of an entry point (docs/extending).

    Raises:
        InputError: there is none, or it is no `OODScore`.
    """
    if name not in SCORES:
        found = find_class(name, "scores", OODScore)
        if found is None:
            raise unknown_score(name, SCORES)
        SCORES[name] = found
    return SCORES[name]


@dataclass(frozen=True)
class _Parts:
    """Components of a pipeline that scores need."""

    density: GMMDensityHead | None = None
    fitted: FittedScores | None = None
    tokens: bool = False
    residual: bool = False

    def lacking(self, name: str) -> frozenset[str]:
        """Return the needs of a score that these components do not meet."""
        met = {
            "density": self.density is not None,
            "outliers": self.density is not None and self.density.has_outliers,
            "fit": self.fitted is not None and name in self.fitted.names,
            "tokens": self.tokens,
            "decoded": self.tokens,
            "residual": self.residual,
        }
        return unmet(SCORES[name].needs, met)

    def available(self) -> tuple[str, ...]:
        return tuple(name for name in SCORES if not self.lacking(name))

    def build(self, name: str) -> OODScore:
        find_score(name)
        if lacking := self.lacking(name):
            raise lacking_error(name, lacking, self.available())
        score = SCORES[name]
        if issubclass(score, DensityScore):
            assert self.density is not None
            return score(self.density)
        if issubclass(score, FittedScore):
            assert self.fitted is not None
            return score(self.fitted.tensors(name))
        if issubclass(score, Combined):
            assert self.fitted is not None
            parts = [self.build(part) for part in score.fixed_parts or self.fitted.parts]
            return score(parts, self.fitted.tensors(name))
        return score()


def available_scores(
    *,
    density: GMMDensityHead | None = None,
    fitted: FittedScores | None = None,
    tokens: bool = False,
    residual: bool = False,
) -> tuple[str, ...]:
    """Return the names of the scores that a pipeline with these components has, in a fixed order.

    Args:
        density: density head.
        fitted: statistics of fitted scores.
        tokens: whether the pipeline predicts tokens.
        residual: whether it has a residual pattern head.
    """
    return _Parts(density, fitted, tokens, residual).available()


def build_score(
    name: str,
    *,
    density: GMMDensityHead | None = None,
    fitted: FittedScores | None = None,
    tokens: bool = False,
    residual: bool = False,
) -> OODScore:
    """Return the score of a name, ready to use.

    Args:
        name: one of `available_scores` with the same components.
        density: density head.
        fitted: statistics of fitted scores.
        tokens: whether the pipeline predicts tokens.
        residual: whether it has a residual pattern head.

    Raises:
        InputError: the score is unknown, or needs something that this pipeline lacks.
    """
    return _Parts(density, fitted, tokens, residual).build(name)
