"""Names of the decode modes, see `gss.pipeline.decode`; imports nothing heavy, so that a wrong name shows at once."""

from __future__ import annotations

from collections.abc import Collection

from gss.core.errors import InputError, unknown_name

MODES = ("hard", "marginal", "expected", "aux", "fused")


def available_modes(
    likelihood: object | None, *, tokens: bool = True, density: bool = False, joint: bool = False
) -> tuple[str, ...]:
    """Return the decode modes of a set of components.

    Args:
        likelihood: code table, None for contextual decoders.
        tokens: False for a discriminative twin, which has no trained token classifier.
        density: True with a density head.
        joint: True with a joint prior.
    """
    if not tokens:
        return ("aux", "density") if density else ("aux",)
    exact = ("marginal", "refined") if joint else ("marginal",)
    modes = ("hard", "expected", "aux") if likelihood is None else ("hard", *exact, "aux", "fused")
    return (*modes, "density", "joint") if density else modes


ALL_MODES = (*MODES, "refined", "density", "joint")
"""Decode modes that some pipeline has."""


def unknown_mode(name: str, known: Collection[str], *, where: str = "") -> InputError:
    """Build the error for a name of no decode mode, which says how one of the user's own is named.

    Args:
        name: what the user wrote.
        known: decode modes of the pipeline.
        where: option that it was given to.
    """
    error = unknown_name("decode mode", name, known, where=where)
    return InputError(f"{error}; one of your own is written module:name (docs/extending/decode.md)")
