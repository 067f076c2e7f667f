"""Out-of-distribution scores of a pipeline; see docs/density.md."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        # Also what `base` defines: the registry fills `SCORES`.
        "gss.ood.registry": ["SCORES", "OODScore", "available_scores", "build_score", "register"],
        "gss.ood.base": ["ScoreInputs"],
        "gss.ood.fitted": ["FittedScores"],
    },
)

if TYPE_CHECKING:
    from gss.ood.base import SCORES as SCORES
    from gss.ood.base import OODScore as OODScore
    from gss.ood.base import ScoreInputs as ScoreInputs
    from gss.ood.base import register as register
    from gss.ood.fitted import FittedScores as FittedScores
    from gss.ood.registry import available_scores as available_scores
    from gss.ood.registry import build_score as build_score
