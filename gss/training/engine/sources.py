"""Inputs of a run, known by what they hold: a resumed run accepts a moved folder and refuses a changed one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.training.engine.run_folder import advice


@dataclass(frozen=True)
class Source:
    """One input of a run.

    Attributes:
        name: what the user calls it, such as "training images".
        keys: settings that say where it lies; their spelling is free on a resume.
        facts: what must be the same on a resume, by name: counts as they are, contents as digests.
    """

    name: str
    keys: tuple[str, ...]
    facts: Mapping[str, str]


def digest(parts: Iterable[bytes | str]) -> str:
    """Return the hexadecimal digest of a sequence; where one part ends and the next begins matters."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return the digest of named tensors: names, shapes, types and values."""
    return digest(_tensor_parts(tensors))


def _tensor_parts(tensors: Mapping[str, Tensor]) -> Iterable[bytes | str]:
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8) if tensor.numel() else torch.empty(0)
        yield f"{name} {tuple(tensor.shape)} {tensor.dtype}"
        yield values.numpy().tobytes()


def digest_folder(folder: Path, suffixes: Sequence[str] = (".safetensors", ".json")) -> str:
    """Return the digest of the files of a folder that have one of some suffixes: relative names and contents."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file())
    return digest(part for path in files for part in (path.relative_to(folder).as_posix(), path.read_bytes()))


def to_json(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Return what a checkpoint keeps of the inputs of its run."""
    return [asdict(source) for source in sources]


def check_sources(where: str, saved: Sequence[Mapping[str, Any]], present: Sequence[Source]) -> set[str]:
    """Compare the inputs of a checkpoint with those of the run that resumes it.

    Args:
        where: the checkpoint, for messages.
        saved: from `to_json`; empty for a checkpoint of an earlier version.
        present: inputs now.

    Returns:
        Settings whose spelling is free because what they name was compared.

    Raises:
        InputError: an input changed; says how, and what to do.
    """
    before = {source["name"]: source for source in saved}
    free: set[str] = set()
    for source in present:
        if source.name not in before:
            continue
        facts = before[source.name]["facts"]
        changed = [_difference(name, facts.get(name), value) for name, value in source.facts.items()]
        changes = [text for text in changed if text]
        if changes:
            raise InputError(
                f"cannot resume {where}: the {source.name} changed since the run began ({'; '.join(changes)}): restore "
                f"them, or start anew in another folder or with {advice().restart}"
            )
        free |= {*source.keys, *before[source.name]["keys"]}
    return free


def _difference(name: str, before: str | None, now: str) -> str:
    if before == now:
        return ""
    if before is not None and before.isdigit() and now.isdigit():
        return f"{now} {name}, not {before}"
    return f"other {name}"
