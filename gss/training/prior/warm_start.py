"""Starting a prior from the weights of another one, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from gss.config.prior import PriorModelConfig
from gss.core.errors import InputError, quoted
from gss.core.lookup.run_folders import find_prior
from gss.models.parts import PARTS, check_parts, part_of
from gss.models.prior import GSSPriorModel
from gss.pipeline.store.bars import without_bars
from gss.posterior.bundle import Posterior
from gss.training.engine.sources import Source
from gss.training.identity import folder_sources
from vqvae import MaskigeVQModel

# Tied to the posterior in use, see `GSSPriorModel.tie_codebook` and `tie_evidence`.
_TIED = ("code_embeddings", "code_evidence")
_SETTINGS = (
    *("codebook_size", "token_stride", "context_stride", "hidden_dim", "depth", "num_heads", "window_size"),
    *("mlp_ratio", "classifier", "classifier_rank", "num_labels"),
)
# Settings that leave all shapes as they are and yet change what weights mean.
_MEANING = {"blocks": ("num_heads", "window_size"), "token": ("classifier",)}


def start_from(prior: GSSPriorModel, source: str, parts: Sequence[str], posterior: Posterior) -> None:
    """Copy parts of a trained prior.

    Args:
        prior: model that receives the weights; parts that it does not have (the tokens of a twin) are left out.
        source: folder of a pipeline, of its run, or of a prior alone.
        parts: names from `gss.models.parts.PARTS`.
        posterior: posterior of `prior`; with the part "token" its codes must be those that `source` was trained with.

    Raises:
        InputError: no prior there, an unknown part, or a part of another architecture, other classes or another
            posterior; the message names settings and keys that differ.
    """
    check_parts("model.init_parts", parts)
    folder = find_prior(source)
    try:
        with without_bars():
            other = GSSPriorModel.from_pretrained(folder)
    # transformers and safetensors raise many types for a damaged or foreign file.
    except Exception as error:
        raise InputError(f"model.init_from={source}: cannot load it: {' '.join(str(error).split())}") from error
    ours, theirs = prior.state_dict(), other.state_dict()
    taken: dict[str, Tensor] = {}
    for part in PARTS:
        wanted = {name: value for name, value in ours.items() if part_of(name) == part and name not in _TIED}
        if part not in parts or not wanted:
            continue
        found = {name: value for name, value in theirs.items() if part_of(name) == part and name not in _TIED}
        problem = _shape_problem(wanted, found) or _meaning_problem(part, prior, other)
        if part == "token" and not problem:
            problem = _code_problem(folder, other, prior, posterior)
        if problem:
            rest = ", ".join(name for name in parts if name != part)
            raise InputError(
                f"model.init_from={source}: part {part!r} does not fit: {problem}{_differing(prior, other)}; "
                f"make both alike, or leave it out with model.init_parts=[{rest}]"
            )
        taken |= found
    prior.load_state_dict(ours | taken)


def model_sources(model: PriorModelConfig) -> list[Source]:
    """Return the weights that a prior starts from, where they are files here."""
    start = str(find_prior(model.init_from)) if model.init_from else ""
    return [
        *folder_sources("weights of model.init_from", "model.init_from", start),
        *folder_sources("weights of model.backbone", "model.backbone", model.backbone),
    ]


def _shape_problem(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> str:
    """Return the differences in names and shapes; empty without any."""
    notes = []
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            notes.append(f"{name} is missing there")
        elif name not in wanted:
            notes.append(f"{name} is missing here")
        elif wanted[name].shape != found[name].shape:
            notes.append(f"{name} has shape {list(found[name].shape)} there and {list(wanted[name].shape)} here")
    more = f" and {len(notes) - 3} more keys" if len(notes) > 3 else ""
    return "; ".join(notes[:3]) + more


def _meaning_problem(part: str, prior: GSSPriorModel, other: GSSPriorModel) -> str:
    if part == "aux":
        pairs = zip(prior.config.id2label.values(), other.config.id2label.values(), strict=True)
        return next(
            (f"class {k} is {quoted(b)} there and {quoted(a)} here" for k, (a, b) in enumerate(pairs) if a != b), ""
        )
    changed = [key for key in _MEANING.get(part, ()) if getattr(prior.config, key) != getattr(other.config, key)]
    return f"{', '.join(changed)} changed" if changed else ""


@torch.no_grad()
def _code_problem(folder: Path, other: GSSPriorModel, prior: GSSPriorModel, posterior: Posterior) -> str:
    """Tell if tokens have another meaning there: other codes of its posterior or, without one, another table."""
    problem = "its tokens are those of another posterior"
    if (folder.parent / "vqvae" / "config.json").is_file():
        codes = MaskigeVQModel.from_pretrained(folder.parent / "vqvae").code_embeddings()
        return "" if torch.equal(codes, posterior.vqvae.code_embeddings().to(codes)) else problem
    if posterior.likelihood is None or prior.config.classifier != "evidence":
        return ""
    table = posterior.likelihood.table.flatten(1)
    if table.shape != other.code_evidence.shape:
        return ""  # other classes: nothing to compare
    return (
        "" if torch.allclose(table.log().clamp(min=float(other.code_evidence.min())), other.code_evidence) else problem
    )


def _differing(prior: GSSPriorModel, other: GSSPriorModel) -> str:
    """Return the settings that differ, as the end of a sentence."""
    pairs = [(key, getattr(other.config, key), getattr(prior.config, key)) for key in _SETTINGS]
    backbones = [cast(Any, model.config.backbone_config).model_type for model in (other, prior)]
    notes = [
        f"{key} is {there} there and {here} here"
        for key, there, here in [*pairs, ("backbone", *backbones)]
        if there != here
    ]
    return f" ({'; '.join(notes)})" if notes else ""
