"""Out-of-distribution scores of a pipeline; see docs/density.md."""

from gss.ood.base import SCORES, OODScore, ScoreInputs, register
from gss.ood.fitted import FittedScores
from gss.ood.registry import available_scores, build_score

__all__ = ["SCORES", "FittedScores", "OODScore", "ScoreInputs", "available_scores", "build_score", "register"]
