"""Checkpoints of a run: a folder of safetensors and JSON, never pickle, whole or absent.

    checkpoints/step_000200/
        model.safetensors       task.state_dict(): trainable modules with buffers, no frozen ones
        optimizer.safetensors   "<parameter name>|<state key>"
        ema.safetensors         averaged parameters (only with an EMA)
        state.json              step, configuration, gradient scaler
        config.yaml             the configuration, ready to be loaded again

A folder is written under another name and renamed when complete, so a kill at any moment leaves the newest
`step_*` folder whole. Learning rate, batches and random numbers are functions of (seed, step), hence nothing
of them is stored and a run may go on with another number of processes.
"""

import dataclasses
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from gss.config.io import save_config
from gss.core.errors import InputError
from gss.core.files import atomic_path, write_json
from gss.training.engine.ema import ParameterEMA

FORMAT = 1

# Keys that may differ on a resume: they change where and how often something is done, not what is trained.
FREE_KEYS = {
    "train.steps",
    "train.accumulate",
    "train.log_every",
    "train.eval_every",
    "train.picture_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.gradient_checkpointing",
    "train.tensorboard",
    "data.root",
    "data.workers",
    "data.cache",
    # What they hold is compared by `outliers.ids`.
    "outliers.objects",
    "outliers.images",
    "outliers.val_objects",
    "outliers.val_images",
    "context.source",
    "context.images",
}


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints in a folder, oldest first; empty if there is no such folder."""
    found = [p for p in folder.glob("step_*") if p.is_dir() and re.fullmatch(r"step_\d+", p.name)]
    return sorted(found, key=checkpoint_step)


def checkpoint_step(checkpoint: Path) -> int:
    """Optimizer steps made when a checkpoint was written, from its name."""
    return int(checkpoint.name.removeprefix("step_"))


def clean_checkpoints(folder: Path, *, keep: int | None = None) -> None:
    """Remove what interrupted writes left behind, and all but the newest checkpoints.

    Args:
        folder: The checkpoints folder of a run; may be missing.
        keep: How many complete checkpoints stay; None keeps all.
    """
    if not folder.is_dir():
        return
    complete = list_checkpoints(folder)
    for checkpoint in complete[: max(0, len(complete) - keep)] if keep is not None else []:
        # Renamed first: a folder that is half removed must not look like a checkpoint.
        checkpoint.rename(folder / f".removed-{checkpoint.name}")
    kept = set(list_checkpoints(folder))
    for entry in folder.iterdir():
        if entry not in kept:
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def save_checkpoint(
    folder: Path,
    *,
    step: int,
    task: nn.Module,
    optimizer: Optimizer,
    ema: ParameterEMA | None,
    scaler: Mapping[str, Any] | None,
    config: object,
) -> Path:
    """Write one checkpoint; call it on the main process only.

    Args:
        folder: The checkpoints folder of the run.
        step: Optimizer steps made so far.
        task: Its state dict is saved.
        optimizer: A plain torch optimizer over parameters of `task`.
        ema: Averaged parameters, if there are any.
        scaler: State of the fp16 gradient scaler, if there is one.
        config: Dataclass with the configuration of the run, or None.

    Returns:
        The new folder `step_XXXXXX`.
    """
    path = folder / f"step_{step:06d}"
    with atomic_path(path) as temporary:
        temporary.mkdir(exist_ok=True)
        _save(task.state_dict(), temporary / "model.safetensors")
        _save(_optimizer_tensors(task, optimizer), temporary / "optimizer.safetensors")
        if ema is not None:
            _save(ema.average, temporary / "ema.safetensors")
        if config is not None:
            save_config(config, temporary / "config.yaml")
        state = {"format": FORMAT, "step": step, "scaler": scaler, "config": _plain(config)}
        write_json(temporary / "state.json", state)
    return path


def load_checkpoint(
    checkpoint: Path,
    *,
    task: nn.Module,
    optimizer: Optimizer,
    ema: ParameterEMA | None,
    config: object,
) -> dict[str, Any]:
    """Restore a run in place.

    Args:
        checkpoint: Folder from `save_checkpoint`.
        task: Receives the saved weights and buffers.
        optimizer: Receives the saved state; its rates come from the schedule.
        ema: Receives the saved average, if the run has one.
        config: Configuration of the resuming run, compared with the saved one.

    Returns:
        The content of `state.json`.

    Raises:
        ValueError: If the files are damaged, or the checkpoint belongs to a run with another configuration
            or architecture; the message names the key. Nothing has been changed then.
    """
    try:
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        _check_config(checkpoint, state["config"], _plain(config))
        model = _read(checkpoint / "model.safetensors", task.state_dict())
        moments = load_file(checkpoint / "optimizer.safetensors")
        average = _read(checkpoint / "ema.safetensors", ema.average) if ema is not None else {}
    except (OSError, KeyError, SafetensorError, json.JSONDecodeError) as error:
        message = f"checkpoint {checkpoint} is damaged ({error}); remove it to resume from the one before"
        raise InputError(message) from error
    task.load_state_dict(model)
    _load_optimizer(task, optimizer, moments)
    if ema is not None:
        ema.load(average)
    return state


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    # Cloned because safetensors refuses tensors that share memory (tied weights).
    copies = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    save_file(copies, path)


def _read(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Load a file after comparing its names and shapes with the tensors it is meant for."""
    fix = f"resume with the configuration in {path.parent / 'config.yaml'}, or start anew in another folder"
    with safe_open(path, framework="pt") as file:
        shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    for name, tensor in expected.items():
        if name not in shapes:
            raise InputError(f"{path} has no '{name}', so it is of another architecture; {fix}")
        if shapes[name] != list(tensor.shape):
            raise InputError(
                f"{path} is of another architecture: '{name}' has shape {shapes[name]} there"
                f" and {list(tensor.shape)} in this run; {fix}"
            )
    unknown = next((name for name in shapes if name not in expected), None)
    if unknown is not None:
        raise InputError(f"{path} is of another architecture: this run has no '{unknown}'; {fix}")
    return load_file(path)


def _names(task: nn.Module, optimizer: Optimizer) -> list[str]:
    """Names of the optimizer's parameters, in the order in which torch numbers them."""
    by_parameter = {parameter: name for name, parameter in task.named_parameters()}
    return [by_parameter[p] for group in optimizer.param_groups for p in group["params"]]


def _optimizer_tensors(task: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    names = _names(task, optimizer)
    return {
        f"{names[number]}|{key}": torch.as_tensor(value)
        for number, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }


def _load_optimizer(task: nn.Module, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    number = {name: i for i, name in enumerate(_names(task, optimizer))}
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        parameter, key = name.rsplit("|", 1)
        state.setdefault(number[parameter], {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _plain(config: object) -> Any:
    """Configuration as JSON gives it back (lists for tuples)."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = dataclasses.asdict(config)
    return json.loads(json.dumps(config, default=str))


def _flatten(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _flatten(child, f"{prefix}{key}.")
    else:
        yield prefix.removesuffix("."), value


def _check_config(checkpoint: Path, saved: Any, present: Any) -> None:
    before, now = dict(_flatten(saved)), dict(_flatten(present))
    for key in sorted(before.keys() | now.keys()):
        if key not in FREE_KEYS and before.get(key) != now.get(key):
            raise InputError(
                f"cannot resume {checkpoint}: {key} is {now.get(key)!r} now and was {before.get(key)!r};"
                " set it back, or start anew in another folder or with --overwrite"
            )
