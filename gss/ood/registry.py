"""Which scores a pipeline can give, and building them by name."""

from __future__ import annotations

from typing import Any

# A pipeline looks the base class of a component up in the component's own module when it loads it.
# Imported for their registration.
from gss.core.errors import InputError, did_you_mean
from gss.models.density import GMMDensityHead
from gss.ood import features, generative, logits  # noqa: F401
from gss.ood import logits as _residual  # noqa: F401
from gss.ood.base import SCORES, DensityScore, FittedScore, OODScore
from gss.ood.fitted import Combined, FittedScores


def available_scores(
    *,
    density: GMMDensityHead | None = None,
    fitted: FittedScores | None = None,
    tokens: bool = False,
    residual: bool = False,
) -> tuple[str, ...]:
    """Names of the scores that a pipeline with these components can give, in a fixed order."""
    have: dict[str, Any] = {"density": density, "fitted": fitted, "tokens": tokens, "residual": residual}
    return tuple(name for name in SCORES if not _lacking(name, **have))


def _lacking(
    name: str, *, density: GMMDensityHead | None, fitted: FittedScores | None, tokens: bool, residual: bool
) -> frozenset[str]:
    """What a score needs and these components do not give."""
    have = {"density": density is not None, "tokens": tokens, "decoded": tokens, "residual": residual}
    have["outliers"] = density is not None and density.has_outliers
    have["fit"] = fitted is not None and name in fitted.names
    return SCORES[name].needs - {need for need, there in have.items() if there}


def build_score(
    name: str,
    *,
    density: GMMDensityHead | None = None,
    fitted: FittedScores | None = None,
    tokens: bool = False,
    residual: bool = False,
) -> OODScore:
    """The score of this name, ready to use.

    Args:
        name: one of `available_scores` with the same components.
        density: the pipeline's density head.
        fitted: its fitted scores.
        tokens: whether it predicts tokens.
        residual: whether it has a residual pattern head.

    Raises:
        ValueError: unknown, or in need of something this pipeline lacks.
    """
    if name not in SCORES:
        raise InputError(
            f"score {name!r} is unknown; there are {', '.join(SCORES)} {did_you_mean(name, SCORES)}".strip()
        )
    have: dict[str, Any] = {"density": density, "fitted": fitted, "tokens": tokens, "residual": residual}
    if lacking := _lacking(name, **have):
        allowed = available_scores(**have)
        lacks = {
            "residual": "a residual pattern head ('gss train residual' adds one)",
            "density": "a density head ('gss train density' adds one)",
            "outliers": "a mixture of outliers ('gss train density' with outliers.spec=FOLDER fits one)",
            "fit": "statistics of training data ('gss train density' with the score in posthoc.scores adds them)",
            "tokens": "predicted tokens, which a discriminative network does not have",
        }
        need = next(text for key, text in lacks.items() if key in lacking)
        raise InputError(f"score {name!r} needs {need}; this pipeline has {', '.join(allowed)}")
    score = SCORES[name]
    if issubclass(score, DensityScore):
        assert density is not None
        return score(density)
    if issubclass(score, FittedScore):
        assert fitted is not None
        return score(fitted.tensors(name))
    if issubclass(score, Combined):
        assert fitted is not None
        parts = [build_score(part, **have) for part in score.fixed_parts or fitted.parts]
        return score(parts, fitted.tensors(name))
    return score()
