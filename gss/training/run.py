"""From a configuration to a trained stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gss.core.errors import unknown_name
from gss.training.engine.run_folder import explained
from gss.training.engine.stage import Say, quiet
from gss.training.stages import STAGES


def train(stage: str, cfg: Any, out: str | Path, *, resume: bool = False, say: Say = quiet) -> dict[str, Any]:
    """Train one stage into a folder.

    Args:
        stage: key of `gss.training.stages.STAGES`.
        cfg: settings of the stage, an instance of its class.
        out: run folder; the product is in a sub-folder, see `TrainingStage.product`.
        resume: continue from the newest checkpoint.
        say: receives what the user is told.

    Returns:
        Final validation metrics.

    Raises:
        InputError: unknown stage, or what the stage refuses.
    """
    if stage not in STAGES:
        raise unknown_name("stage", stage, STAGES)
    with explained(out):
        return STAGES[stage].load_entry()(cfg, out, resume=resume, say=say)
