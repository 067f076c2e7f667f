"""What stage a run folder is of, told by its files alone."""

from __future__ import annotations

from pathlib import Path

from gss.core.errors import InputError
from gss.core.files import read_json
from gss.core.yaml import read_yaml

CHECKPOINTS = "checkpoints"
"""Folder of a run that holds what it can be resumed from."""

# A section or setting that only one stage has, in the order in which they are looked for.
_MARKS = {
    "stage": "posterior",
    "em": "density",
    "validation": "joint prior",
    "tags": "tag classifier",
    "posterior": "prior",
    "agmm": "pixel classifier",
    "pipeline": "residual",
}


def kind_of_run(folder: Path) -> str:
    """Return what a run trains, such as "prior"; empty for a folder that is no run, or of another program."""
    if not (folder / "config.yaml").is_file():
        return ""
    try:
        settings = read_yaml(folder / "config.yaml")
    except InputError:
        return ""
    if not isinstance(settings, dict):
        return ""
    kind = next((kind for mark, kind in _MARKS.items() if mark in settings), "")
    return "twin" if kind == "prior" and _lacks_tokens(folder / "pipeline" / "model_index.json") else kind


def _lacks_tokens(index: Path) -> bool:
    """Return whether a pipeline is a discriminative twin."""
    try:
        content = read_json(index)
    except InputError:  # not finished
        return False
    return isinstance(content, dict) and content.get("vqvae") == [None, None]


def run_of_checkpoint(folder: Path) -> Path | None:
    """Return the folder of the run that a checkpoint, or the folder of all of them, belongs to."""
    for place in (folder, folder.parent):
        if place.name == CHECKPOINTS:
            return place.parent
    return None
