"""The parts of a prior, which can be taken over from another one or held fixed one by one."""

from collections.abc import Iterable

from gss.core.errors import InputError, did_you_mean
from gss.models.prior import GSSPriorModel

PARTS = ("backbone", "fusion", "blocks", "token", "aux")
# `norm` follows the fusion with the finest features; both heads read what it gives.
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
    """Part that a parameter, buffer or sub-module of a `GSSPriorModel` belongs to, by its name."""
    return _OWNER[name.partition(".")[0]]


def check_parts(key: str, parts: Iterable[str]) -> None:
    """Require names of parts.

    Args:
        key: setting the names come from, for the message.
        parts: the names.

    Raises:
        ValueError: one is unknown; the message says which is nearest.
    """
    for part in parts:
        if part not in PARTS:
            hint = did_you_mean(part, PARTS)
            raise InputError(f"{key}: there is no part {part!r}; the parts are {', '.join(PARTS)} {hint}".rstrip())


def freeze_parts(prior: GSSPriorModel, parts: Iterable[str]) -> None:
    """Hold parts fixed: no gradients, and evaluation mode also while the rest trains.

    Evaluation mode keeps the running statistics of batch norms and turns dropout of the part off, so that it stays
    bit-identical and acts as it will in use.

    Args:
        prior: changed in place.
        parts: names out of `PARTS`; one that this prior lacks (the tokens of a twin) changes nothing.

    Raises:
        ValueError: a name is unknown, or no parameter is left to train.
    """
    parts = tuple(parts)
    check_parts("model.freeze", parts)
    for name, parameter in prior.named_parameters():
        if part_of(name) in parts:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in prior.parameters()):
        raise InputError(f"model.freeze=[{', '.join(parts)}] holds the whole network: leave a part out to train it")
    prior.hold([module for name, module in prior.named_children() if part_of(name) in parts])
