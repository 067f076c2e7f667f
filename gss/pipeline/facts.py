"""Facts about a pipeline: classes, colours, decode modes, scores and the thresholds of their alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gss.core.errors import InputError
from gss.data.specs.known import known_colors
from gss.labels.colors import background_classes
from gss.labels.space import first_names
from gss.ood import available_scores
from gss.ood.alarms import check_rate
from gss.pipeline.modes import available_modes


class PipelineFacts:
    """Properties of `GSSPipeline` that follow from its components."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a component of the pipeline."""

    def __repr__(self) -> str:
        """Return what matters of a pipeline in one line."""
        parts = ", ".join(name for name, part in self.components.items() if part is not None)
        return (
            f"{type(self).__name__}({first_names(list(self.id2label.values()))}; decode {self.default_decode}; "
            f"images {self.processor.describe()}; {parts}; {self.prior.device}, {str(self.dtype).split('.')[-1]})"
        )

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the prior."""
        return self.prior.dtype

    @property
    def id2label(self) -> dict[int, str]:
        """Class names by index."""
        return {int(index): name for index, name in self.prior.config.id2label.items()}

    @property
    def colors(self) -> np.ndarray:
        """uint8 `[K, 3]`, colours in which pictures show the classes; the maskige has others (`codec.palette`)."""
        names, saved = tuple(self.id2label.values()), self.prior.config.label_colors
        # Those of a known data set for pipelines that were saved without colours.
        colors = saved if saved is not None and len(saved) == len(names) else known_colors(names)
        return np.array(colors, dtype=np.uint8)

    @property
    def background(self) -> tuple[int, ...]:
        """Numbers of the classes that an overlay leaves unpainted, see `gss.labels.colors.background_classes`."""
        return background_classes(list(self.id2label.values()))

    @property
    def decode_modes(self) -> tuple[str, ...]:
        """Decode modes of this pipeline."""
        there = {name: getattr(self, name) is not None for name in ("vqvae", "density", "joint")}
        return available_modes(self.likelihood, tokens=there["vqvae"], density=there["density"], joint=there["joint"])

    @property
    def has_maskiges(self) -> bool:
        """Whether results may have maskiges: tokens are found and painted."""
        return self.vqvae is not None

    @property
    def score_names(self) -> tuple[str, ...]:
        """Out-of-distribution scores of this pipeline."""
        return available_scores(**self.score_parts)

    @property
    def default_score(self) -> str:
        """Score used when none is named: that of the residual head, else of the density head, else "max_logit"."""
        if self.residual is not None:
            return "residual_energy"
        return "gmm_max" if self.density is not None else "max_logit"

    @property
    def default_decode(self) -> str:
        """Mode used when none is named: "marginal" with a likelihood, else "hard", "aux" without tokens."""
        return next(mode for mode in ("marginal", "hard", "aux") if mode in self.decode_modes)

    @property
    def alarm_scores(self) -> tuple[str, ...]:
        """Scores of this pipeline with thresholds of alarms, which `gss train density` learns."""
        return () if self.ood is None else tuple(name for name in self.score_names if name in self.ood.alarms)

    def alarm_threshold(self, score: str, rate: float) -> float:
        """Return the threshold that a share of the labelled pixels of training images reaches.

        Args:
            score: one of `alarm_scores`.
            rate: share of false alarms, see `gss.ood.alarms.ALARM_RATES`.

        Raises:
            InputError: no threshold was learned for the score, or the share is outside the known ones.
        """
        check_rate(rate)
        if self.ood is None or score not in self.ood.alarms:
            known = ", ".join(self.alarm_scores) or "none"
            raise InputError(
                f"this pipeline has no threshold of alarms for score {score!r} (it has those of: {known}); "
                "'gss train density' learns them"
            )
        return self.ood.alarm_threshold(score, rate)

    @property
    def score_parts(self) -> dict[str, Any]:
        """Arguments of `gss.ood.build_score` for the scores of this pipeline."""
        parts = {"density": self.density, "fitted": self.ood}
        return {**parts, "tokens": self.vqvae is not None, "residual": self.residual is not None}
