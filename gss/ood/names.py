"""Names of the built-in scores and what each needs; imports nothing heavy, so that a wrong name shows at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gss.core.errors import InputError, unknown_name

NEEDS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("mahalanobis", "mahalanobis++", "knn", "vim", "ddu"), frozenset({"fit"})),
    **dict.fromkeys(("msp", "max_logit", "energy", "entropy"), frozenset()),
    "sml": frozenset({"fit"}),
    **dict.fromkeys(("residual_energy", "residual_smooth"), frozenset({"residual"})),
    **dict.fromkeys(("gmm_max", "gmm_marginal", "gmm_class"), frozenset({"density"})),
    "gmm_ratio": frozenset({"density", "outliers"}),
    **dict.fromkeys(("token_entropy", "token_nll"), frozenset({"tokens"})),
    "disagreement": frozenset({"tokens", "decoded"}),
    "combined": frozenset({"fit"}),
    "residual_gmm": frozenset({"fit", "residual", "density"}),
    "residual_ratio": frozenset({"fit", "residual", "density", "outliers"}),
}
"""Built-in score to its needs, see `gss.ood.base.OODScore.needs`; in the order of tables."""

# A need that a pipeline does not meet -> remedy, in the order in which they are reported.
_REMEDIES = {
    "residual": "a residual pattern head ('gss train residual' adds one)",
    "density": "a density head ('gss train density' adds one)",
    "outliers": "a mixture of outliers ('gss train density' with outliers.spec=FOLDER fits one)",
    "fit": "statistics of training data ('gss train density' with the score in posthoc.scores adds them)",
    "tokens": "predicted tokens, which a discriminative network does not have",
}


def unmet(needs: Collection[str], met: Mapping[str, bool]) -> frozenset[str]:
    """Return the needs of a score that a pipeline does not meet; a need that it says nothing about counts as unmet."""
    return frozenset(need for need in needs if not met.get(need))


def lacking_error(name: str, lacking: Collection[str], available: Collection[str]) -> InputError:
    """Build the error for a score that needs what a pipeline lacks.

    Args:
        name: the score.
        lacking: its needs that are not met.
        available: scores that the pipeline has.
    """
    remedy = next((text for need, text in _REMEDIES.items() if need in lacking), ", ".join(sorted(lacking)))
    return InputError(f"score {name!r} needs {remedy}; this pipeline has {', '.join(available)}")


def unknown_score(name: str, known: Collection[str] = tuple(NEEDS), *, where: str = "") -> InputError:
    """Build the error for a name of no score, which says how one of the user's own is named.

    Args:
        name: what the user wrote.
        known: names of scores.
        where: option that it was given to.
    """
    error = unknown_name("score", name, known, where=where)
    return InputError(f"{error}; one of your own is written module:Name (docs/extending/score.md)")
