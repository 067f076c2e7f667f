"""Folder of a saved pipeline: its components by class name, and what is wrong with a folder that does not load."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import safe_open
from torch import nn

from gss.core.diffusion import DiffusionPipeline
from gss.core.errors import InputError, quoted
from gss.core.files import read_json
from gss.core.lookup.run_folders import PIPELINE_INDEX, find_pipeline
from gss.models.density import GMMDensityHead
from gss.models.joint.model import JointPriorModel
from gss.models.prior import GSSPriorModel
from gss.models.residual import ResidualPatternHead
from gss.ood import FittedScores
from gss.pipeline.processor import GSSImageProcessor
from gss.pipeline.store.precision import loaders
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from vqvae import MaskigeVQModel

_Pipeline = TypeVar("_Pipeline", bound=DiffusionPipeline)

INDEX = PIPELINE_INDEX
_CURRENT = "_current_modules"  # mark of a model_index.json that was read by `GSSPipeline.load_config`

# diffusers loads a component from its module only when that module is already imported.
COMPONENTS: dict[str, Any] = {
    component.__name__: component
    for component in (
        CellLikelihood,
        FittedScores,
        GMMDensityHead,
        GSSImageProcessor,
        GSSPriorModel,
        JointPriorModel,
        MaskigeCodec,
        MaskigeVQModel,
        ResidualPatternHead,
    )
}


def current_modules(config: dict[str, Any]) -> None:
    """Replace the modules of components in a model_index.json by those of today, in place.

    diffusers stores the module of each component. With the class name alone, a pipeline saved before a module was moved
    stays loadable.
    """
    _replace(config, {name: (component.__module__, name) for name, component in COMPONENTS.items()})
    config[_CURRENT] = True


def precise_modules(config: dict[str, Any]) -> None:
    """Replace the modules of components in a model_index.json by those whose classes keep float32, in place.

    Those that `current_modules` replaced stay: their pipeline gives every component its precision itself.
    """
    if not config.pop(_CURRENT, False):
        _replace(config, loaders(COMPONENTS))


def _replace(config: dict[str, Any], modules: Mapping[str, tuple[str, str]]) -> None:
    for name, saved in config.items():
        if isinstance(saved, list | tuple) and len(saved) == 2 and saved[1] in modules:
            config[name] = list(modules[saved[1]])


def read(
    load: Callable[..., _Pipeline], name: str | os.PathLike[str], class_name: str, options: dict[str, Any]
) -> _Pipeline:
    """Read a pipeline from its folder, or from the hub if nothing of that name is here.

    Args:
        load: `from_pretrained` of diffusers.
        name: path of a folder, or name of a repository on the hub.
        class_name: class of the pipeline.
        options: keyword arguments of `load`; components among them replace the saved ones.

    Raises:
        InputError: the folder is not a pipeline's, or a file in it is missing or damaged.
    """
    folder = local_folder(name, class_name)
    if folder is None:
        try:
            return load(name, **options)
        except OSError as error:
            raise InputError(
                f"no pipeline at {quoted(os.fspath(name))}: there is no such folder in {Path.cwd()}, and it cannot be "
                f"read from the hub ({one_line(error)})"
            ) from error
    refuse_pickles(folder, options)
    try:
        pipeline = load(folder, **{**options, "local_files_only": True})
    # diffusers, transformers and safetensors raise many types here; for the user they are all one thing.
    except Exception as error:
        raise load_failure(folder, error, options) from error
    check_complete(folder, {part: module for part, module in pipeline.components.items() if part not in options})
    return pipeline


def local_folder(name: str | os.PathLike[str], class_name: str) -> Path | None:
    """Find the pipeline folder that a name means.

    Args:
        name: path of a folder or of a run, see `find_pipeline`, or name of a repository on the hub.
        class_name: class of the pipeline.

    Returns:
        The folder, or None if `name` can only be a repository: it has its form, and nothing of that name is here.

    Raises:
        InputError: a path that is not a pipeline's folder; the message says which folder is, if one is near.
    """
    folder, text = Path(name).expanduser(), os.fspath(name)
    if not folder.exists():
        owner = folder.parts[0] if folder.parts else ""
        if text.startswith((".", "~", os.sep)) or len(folder.parts) > 2 or text.endswith(os.sep) or not text:
            raise InputError(f"no pipeline at {quoted(text)}: there is no such folder in {Path.cwd()}")
        if len(folder.parts) == 2 and Path(owner).is_dir():
            raise InputError(
                f"no pipeline at {quoted(text)}: {quoted(owner)} is a folder here and holds no {quoted(folder.name)}"
            )
        return None
    folder = find_pipeline(folder)
    try:
        index = read_json(folder / INDEX)
    except InputError as error:
        raise InputError(f"cannot load the pipeline at {folder}: {INDEX} is damaged ({one_line(error)})") from error
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise InputError(f"cannot load the pipeline at {folder}: {INDEX} is damaged (it names no class)")
    found = one_line(index["_class_name"])
    if found != class_name:
        raise InputError(f"cannot load the pipeline at {folder}: it holds a {found}, not a {class_name}")
    return folder


def load_failure(folder: Path, error: Exception, given: Collection[str] = ()) -> InputError:
    """Explain why a pipeline's folder does not load, with the folder of the component that fails.

    Args:
        folder: folder of the pipeline.
        error: error of the whole.
        given: names of components that were not loaded from the folder.
    """
    index = read_json(folder / INDEX)
    for name, saved in index.items():
        if name in given or not isinstance(saved, list) or not saved or not isinstance(saved[-1], str):
            continue
        if saved[-1] not in COMPONENTS:
            continue
        if not (folder / name).is_dir():
            return InputError(f"cannot load the pipeline at {folder}: its folder {quoted(name)} is missing")
        try:
            COMPONENTS[saved[-1]].from_pretrained(folder / name, local_files_only=True)
        # diffusers, transformers and safetensors raise many types here; for the user they are all one thing.
        except Exception as cause:
            return InputError(f"cannot load the pipeline at {folder}: {folder / name} is damaged ({one_line(cause)})")
    return InputError(f"cannot load the pipeline at {folder}: {one_line(error)}")


def check_complete(folder: Path, components: Mapping[str, Any]) -> None:
    """Check that every tensor of the components is in their files; libraries fill in random ones with a warning.

    Args:
        folder: folder of the pipeline.
        components: components that were loaded from it, by name.

    Raises:
        InputError: a file holds too few tensors.
    """
    for name, component in components.items():
        if not isinstance(component, nn.Module):
            continue
        stored: set[str] = set()
        for file in (folder / name).glob("*.safetensors"):
            with safe_open(file, framework="pt") as tensors:
                stored.update(tensors.keys())
        # transformers renames some tensors of a backbone in the file, so that the names cannot be compared.
        wanted = component.state_dict().keys()
        if len(stored) < len(wanted):
            raise InputError(
                f"cannot load the pipeline at {folder}: {folder / name} holds {len(stored)} of {len(wanted)} tensors; "
                "copy it again or train again"
            )


def refuse_pickles(folder: Path, given: Collection[str] = ()) -> None:
    """Require that weights are safetensors: a pickled file can run code when it is read.

    Args:
        folder: folder of the pipeline.
        given: names of components that are not loaded from the folder.

    Raises:
        InputError: a component has pickled weights only.
    """
    for part in sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in given):
        pickled = sorted(part.glob("*.bin"))
        if pickled and not any(part.glob("*.safetensors")):
            raise InputError(
                f"cannot load the pipeline at {folder}: {pickled[0]} is pickled, which can run code, and is not read; "
                "save the weights as safetensors, as save_pretrained does by default"
            )


def digest(folder: Path) -> str:
    """Return a digest of the settings and weights of a saved pipeline, or of that of a run; copies share it."""
    folder = find_pipeline(folder)
    total = hashlib.sha256()
    index = read_json(folder / INDEX)
    parts = [
        folder / INDEX,
        *(file for name in index if not name.startswith("_") for file in (folder / name).glob("*")),
    ]
    for file in sorted(file for file in parts if file.suffix in (".json", ".safetensors")):
        total.update(file.relative_to(folder).as_posix().encode(errors="surrogateescape") + b"\0")
        with open(file, "rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()[:16]


def one_line(error: Exception) -> str:
    """Return the text of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__
