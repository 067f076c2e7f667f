"""Parts of a prior that can be copied from another one or held fixed."""

from collections.abc import Iterable

from gss.core.errors import InputError, unknown_name
from gss.models.prior import GSSPriorModel

PARTS = ("backbone", "fusion", "blocks", "token", "aux")
# `norm` follows the fusion with the finest features; both heads read its output.
_PREFIXES = {
    "backbone": ("backbone", "pixel_mean", "pixel_std"),
    "fusion": ("fusion", "detail", "norm"),
    "blocks": ("blocks",),
    "token": (
        *("token_proj", "token_act", "token_drop", "token_head", "code_scale", "code_bias"),
        *("code_embeddings", "code_evidence", "evidence_scale"),
    ),
    "aux": ("aux_head",),
}
_OWNER = {prefix: part for part, prefixes in _PREFIXES.items() for prefix in prefixes}


def part_of(name: str) -> str:
    """Return the part that a parameter, buffer or sub-module of a `GSSPriorModel` belongs to."""
    return _OWNER[name.partition(".")[0]]


def check_parts(key: str, parts: Iterable[str]) -> None:
    """Require names of parts.

    Args:
        key: setting of the names, for the message.
        parts: names to check.

    Raises:
        InputError: a name is unknown.
    """
    for part in parts:
        if part not in PARTS:
            raise unknown_name("part", part, PARTS, where=key)


def freeze_parts(prior: GSSPriorModel, parts: Iterable[str]) -> None:
    """Hold parts fixed: no gradients, and evaluation mode while the rest trains.

    Evaluation mode keeps the running statistics of batch norms and turns dropout off.

    Args:
        prior: network, changed in place.
        parts: names out of `PARTS`; one that this prior lacks (the tokens of a twin) changes nothing.

    Raises:
        InputError: a name is unknown, or no parameter is left to train.
    """
    parts = tuple(parts)
    check_parts("model.freeze", parts)
    for name, parameter in prior.named_parameters():
        if part_of(name) in parts:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in prior.parameters()):
        raise InputError(f"model.freeze=[{', '.join(parts)}] holds the whole network: leave a part out to train it")
    prior.hold([module for name, module in prior.named_children() if part_of(name) in parts])
