"""From a configuration to a trained stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gss.core.errors import unknown_name
from gss.core.outputs import check_apart
from gss.data.specs.load import builtin_specs
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
    _check_apart(stage, cfg, Path(out))
    with explained(out):
        return STAGES[stage].load_entry()(cfg, out, resume=resume, say=say)


def _check_apart(stage: str, cfg: Any, out: Path) -> None:
    """Refuse to train into the folder of the data set, or in the place of the pipeline or posterior that is read."""
    data = cfg.data
    check_apart(out, {"the data set itself": data.root or (None if data.spec in builtin_specs() else data.spec)})
    for name in ("pipeline", "posterior"):
        read = getattr(cfg, name, "")
        check_apart(out / STAGES[stage].product, {f"{name}={read}, which is read": read or None})
