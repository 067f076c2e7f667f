"""Names of the stages of the quickstart; imports nothing heavy, so that a wrong one shows at once."""

from __future__ import annotations

from collections.abc import Sequence

from gss.core.errors import InputError, unknown_name

STAGES = ("posterior", "prior", "twin", "density", "residual", "joint")
DEFAULT_STAGES = ("posterior", "prior", "twin", "density", "joint")


def order_stages(names: Sequence[str]) -> tuple[str, ...]:
    """Return stages in the order they are run.

    Raises:
        InputError: an unknown stage, or one of the two is absent that all others and the report need.
    """
    for name in names:
        if name not in STAGES:
            raise unknown_name("stage", name, STAGES, where="--stages")
    for name in ("posterior", "prior"):
        if name not in names:
            raise InputError(f"--stages lacks {name}, which all other stages need; a finished stage is not repeated")
    return tuple(name for name in STAGES if name in names)
