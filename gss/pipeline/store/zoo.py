"""Trained pipelines that come with the project, one folder each, with weights in half precision."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file

from gss.core.errors import InputError
from gss.core.files import atomic_path, read_json
from gss.core.records import Record
from gss.pipeline.store.saving import INDEX

FOLDER = Path(__file__).parents[3] / "zoo"
"""Where the models are in a checkout of the project."""

# Largest number that float16 holds.
_HALF_MAX = 65504.0


@dataclass(frozen=True)
class ZooModel(Record):
    """A pipeline of the zoo.

    Attributes:
        name: name of its folder.
        folder: path of the folder.
        classes: class names.
        megabytes: size of all files of the folder, in 10^6 bytes.
        card: path of the model card.
    """

    name: str
    folder: str
    classes: list[str]
    megabytes: float
    card: str


def list_models(folder: str | os.PathLike[str] = FOLDER) -> list[ZooModel]:
    """Return the pipelines in a folder of pipelines, by name.

    Raises:
        InputError: there is no such folder, or a pipeline in it is damaged.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"no zoo at {root}: the models lie in the folder zoo/ of a checkout of the project")
    models = []
    for index in sorted(root.glob(f"*/{INDEX}")):
        found = index.parent
        config = read_json(found / "prior" / "config.json")
        names = cast(dict[str, str], config.get("id2label", {}) if isinstance(config, dict) else {})
        models.append(
            ZooModel(
                name=found.name,
                folder=str(found),
                classes=[names[key] for key in sorted(names, key=int)],
                megabytes=sum(file.stat().st_size for file in found.rglob("*") if file.is_file()) / 1e6,
                card=str(found / "README.md"),
            )
        )
    return models


def halve_weights(folder: str | os.PathLike[str]) -> None:
    """Store the float32 weights of a saved pipeline as float16, in place; loading gives float32 again.

    Tensors with numbers beyond the range of float16 stay as they are.

    Args:
        folder: folder that `GSSPipeline.save_pretrained` wrote.

    Raises:
        InputError: the folder holds no pipeline.
    """
    root = Path(folder)
    if not (root / INDEX).is_file():
        raise InputError(f"no pipeline at {root}: {INDEX} is missing; give a folder that save_pretrained wrote")
    for file in sorted(root.glob("*/*.safetensors")):
        tensors = {name: _half(tensor) for name, tensor in load_file(file).items()}
        with atomic_path(file) as temporary:
            save_file(tensors, temporary, metadata={"format": "pt"})


def _half(tensor: torch.Tensor) -> torch.Tensor:
    fits = tensor.dtype == torch.float32 and bool((tensor.abs() <= _HALF_MAX).all())
    return tensor.half() if fits else tensor
