"""What the small files of a saved pipeline say about it, read without torch and without its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gss.core.errors import InputError
from gss.core.lookup.plugins import is_plugin
from gss.core.lookup.run_folders import PIPELINE_INDEX
from gss.ood.names import NEEDS, lacking_error, unknown_score, unmet
from gss.pipeline.modes import available_modes, unknown_mode


@dataclass(frozen=True)
class PipelineIndex:
    """Components of a pipeline, as far as its small files tell.

    Args:
        components: names of the components that it has.
        fitted: scores whose statistics it has.
        outliers: whether its density head has room for a mixture of outliers.
    """

    components: frozenset[str]
    fitted: frozenset[str] = frozenset()
    outliers: bool = False

    @classmethod
    def read(cls, folder: Path) -> PipelineIndex | None:
        """Read the index of a pipeline's folder; None where it is damaged, which loading explains."""
        try:
            saved = json.loads((folder / PIPELINE_INDEX).read_text(encoding="utf-8"))
            there = frozenset(name for name, value in saved.items() if isinstance(value, list) and value[0] is not None)
            scores = _config(folder / "ood") if "ood" in there else {}
            density = _config(folder / "density") if "density" in there else {}
            return cls(there, frozenset(scores.get("shapes") or ()), density.get("outlier_components", 0) > 0)
        except (OSError, ValueError, TypeError, AttributeError, IndexError):
            return None

    @property
    def decode_modes(self) -> tuple[str, ...]:
        """Decode modes of the pipeline."""
        there = {name: name in self.components for name in ("density", "joint")}
        likelihood = "likelihood" if "likelihood" in self.components else None
        return available_modes(likelihood, tokens="vqvae" in self.components, **there)

    @property
    def score_names(self) -> tuple[str, ...]:
        """Built-in scores of the pipeline."""
        return tuple(name for name in NEEDS if not self._lacking(name))

    def check_modes(self, names: Sequence[str], option: str) -> None:
        """Require decode modes of the pipeline; those of the user's own are checked where they are imported.

        Raises:
            InputError: the pipeline has no such mode.
        """
        for name in names:
            if name not in self.decode_modes and not is_plugin(name, "decode"):
                raise unknown_mode(name, self.decode_modes, where=option)

    def check_scores(self, names: Sequence[str], option: str) -> None:
        """Require scores of the pipeline; those of the user's own are checked where they are imported.

        Raises:
            InputError: there is no such score, or it needs what the pipeline lacks.
        """
        for name in names:
            if is_plugin(name, "scores"):
                continue
            if name not in NEEDS:
                raise unknown_score(name, self.score_names, where=option)
            if lacking := self._lacking(name):
                raise lacking_error(name, lacking, self.score_names)

    def need_joint(self, what: str) -> None:
        """Require a joint prior; `what` needs one.

        Raises:
            InputError: the pipeline has none.
        """
        if not {"joint", "likelihood"} <= self.components:
            raise joint_lacking(what, local="likelihood" in self.components)

    def _lacking(self, name: str) -> frozenset[str]:
        tokens = "vqvae" in self.components
        met = {"density": "density" in self.components, "outliers": self.outliers, "fit": name in self.fitted}
        return unmet(
            NEEDS[name], met | {"tokens": tokens, "decoded": tokens, "residual": "residual" in self.components}
        )


def joint_lacking(what: str, *, local: bool) -> InputError:
    """Build the error for a pipeline without a joint prior.

    Args:
        what: what needs one.
        local: whether the pipeline has a local decoder, which a joint prior needs.
    """
    if local:
        return InputError(f"{what} needs a joint prior, which this pipeline lacks: train one with 'gss train joint'")
    return InputError(
        f"{what} needs a local decoder: the decoder of this pipeline is contextual, or it has no tokens; train the "
        "posterior with vq.decoder_type=local, then 'gss train prior' and 'gss train joint'"
    )


def _config(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))
