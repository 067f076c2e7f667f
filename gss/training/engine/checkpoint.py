"""Checkpoints of a run: a folder of safetensors and JSON, never pickle, whole or absent.

    checkpoints/step_000200/
        model.safetensors       task.state_dict(): trainable modules with buffers, no frozen ones
        optimizer.safetensors   "state.PARAMETER.KEY", as torch flattens the state of an optimizer
        ema.safetensors         averaged parameters (only with an EMA)
        state.json              step, configuration, inputs, gradient scaler, digests of all other files
        config.yaml             the configuration, ready to be loaded again

A folder is written under another name and renamed when complete, so a kill at any moment leaves the newest
`step_*` folder whole. Learning rate, batches and random numbers are functions of (seed, step), hence nothing
of them is stored and a run may continue with another number of processes.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict
from torch.optim import Optimizer

from gss.config.io import save_config
from gss.core.errors import InputError, quoted
from gss.core.files import atomic_path, naming, read_json, write_json
from gss.training.engine.ema import ParameterEMA
from gss.training.engine.run_folder import advice, checkpoint_step
from gss.training.engine.sources import Source, check_sources, to_json

FORMAT = 2

# Settings that may differ on a resume: they change where and how often something is done, not what is trained.
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


class DamagedCheckpointError(InputError):
    """A checkpoint whose files are missing, cut off or altered."""


def save_checkpoint(
    folder: Path,
    *,
    step: int,
    task: nn.Module,
    optimizer: Optimizer,
    ema: ParameterEMA | None,
    scaler: Mapping[str, Any] | None,
    config: object,
    sources: Sequence[Source] = (),
) -> Path:
    """Write one checkpoint; call it on the main process only.

    Args:
        folder: folder of the run's checkpoints.
        step: optimizer steps made so far.
        task: task whose state dict is saved.
        optimizer: plain torch optimizer over parameters of `task`.
        ema: averaged parameters, if there are any.
        scaler: state of the fp16 gradient scaler, if there is one.
        config: dataclass with the configuration of the run, or None.
        sources: inputs of the run.

    Returns:
        The new folder `step_XXXXXX`.

    Raises:
        InputError: a parameter is not finite; nothing is written.
        OSError: the disk is full or gone; names the checkpoint.
    """
    check_finite(step, task, ema)
    path = folder / f"step_{step:06d}"
    with atomic_path(path) as temporary:
        temporary.mkdir(exist_ok=True)
        save_tensors(task.state_dict(), temporary / "model.safetensors")
        save_tensors(_optimizer_state(task, optimizer), temporary / "optimizer.safetensors")
        if ema is not None:
            save_tensors(ema.average, temporary / "ema.safetensors")
        if config is not None:
            save_config(config, temporary / "config.yaml")
        digests = {file.name: _digest(file) for file in sorted(temporary.iterdir())}
        state = {
            "format": FORMAT,
            "step": step,
            "scaler": scaler,
            "config": _plain(config),
            "sources": to_json(sources),
            "files": digests,
        }
        write_json(temporary / "state.json", state)
    return path


def load_checkpoint(
    checkpoint: Path,
    *,
    task: nn.Module,
    optimizer: Optimizer,
    ema: ParameterEMA | None,
    config: object,
    sources: Sequence[Source] = (),
) -> dict[str, Any]:
    """Restore a run in place.

    Args:
        checkpoint: folder from `save_checkpoint`, of this version or an earlier one.
        task: receives the saved weights and buffers.
        optimizer: receives the saved state; its rates come from the schedule.
        ema: receives the saved average, if the run has one.
        config: configuration of the resuming run, compared with the saved one.
        sources: inputs of the resuming run, compared with the saved ones.

    Returns:
        The content of `state.json`.

    Raises:
        DamagedCheckpointError: files are damaged; nothing has been changed then.
        InputError: the checkpoint belongs to a run with another configuration, other inputs or another architecture;
            the message names the key. Nothing has been changed then.
    """
    state = _read_state(checkpoint)
    # State, digests and tensors come first: a damaged checkpoint must not look like one of another run.
    try:
        for name, expected in state.get("files", {}).items():
            if _digest(checkpoint / name) != expected:
                raise DamagedCheckpointError(f"checkpoint {checkpoint} is damaged ({name} was altered)")
        moments = load_file(checkpoint / "optimizer.safetensors")
        names = ["model.safetensors", *(["ema.safetensors"] if ema is not None else [])]
        shapes = {name: _shapes(checkpoint / name) for name in names}
    except (OSError, SafetensorError) as error:
        raise DamagedCheckpointError(f"checkpoint {checkpoint} is damaged ({error})") from error
    free = check_sources(str(checkpoint), state.get("sources", []), sources)
    _check_config(checkpoint, state["config"], _plain(config), FREE_KEYS | free)
    expected_tensors = {"model.safetensors": task.state_dict()}
    if ema is not None:
        expected_tensors["ema.safetensors"] = ema.average
    for name, tensors in expected_tensors.items():
        _check_shapes(checkpoint / name, shapes[name], tensors)
    loaded = {name: load_file(checkpoint / name) for name in expected_tensors}
    _load_optimizer(task, optimizer, moments)
    task.load_state_dict(loaded["model.safetensors"])
    if ema is not None:
        ema.load(loaded["ema.safetensors"])
    return state


def check_finite(step: int, task: nn.Module, ema: ParameterEMA | None) -> None:
    """Require finite parameters, and finite averages of them, before they are saved or exported.

    Raises:
        InputError: names the first parameter with NaN or infinity, and what to do.
    """
    for name, value in [*task.named_parameters(), *(ema.average.items() if ema is not None else [])]:
        bad = value.numel() - int(value.detach().isfinite().sum())
        if bad:
            raise InputError(
                f"training stopped at step {step}: {bad} of {value.numel()} values of the parameter {name} are NaN or "
                "infinite, and were not saved: lower optim.lr, or set train.precision=no"
            )


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors, on whatever device and in whatever layout they are."""
    # Cloned because safetensors refuses tensors that share memory (tied weights).
    copies = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    with naming(path):
        save_file(copies, path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _read_state(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / "state.json"
    try:
        state = read_json(path)
    except InputError as error:
        raise DamagedCheckpointError(f"checkpoint {checkpoint} is damaged ({error})") from error
    whole = (
        isinstance(state, dict)
        and state.get("step") == checkpoint_step(checkpoint)
        and {"scaler", "config"} <= state.keys()
        and isinstance(state.get("files", {}), dict)
        and isinstance(state.get("sources", []), list)
    )
    if not whole:
        raise DamagedCheckpointError(
            f"checkpoint {checkpoint} is damaged ({path} is no state of step {checkpoint.name})"
        )
    if state.get("format", 0) > FORMAT:
        raise InputError(f"checkpoint {checkpoint} was written by a later version of gss: update it to resume")
    return state


def _shapes(path: Path) -> dict[str, list[int]]:
    with safe_open(path, framework="pt") as file:
        return {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def _check_shapes(path: Path, shapes: Mapping[str, list[int]], expected: Mapping[str, Tensor]) -> None:
    """Compare names and shapes of a file with the tensors it is meant for."""
    fix = f"resume with the configuration in {path.parent / 'config.yaml'}, or start anew in another folder"
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


def _optimizer_state(task: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    if not optimizer.state:  # torch would make a step to fill it
        return {}
    options = StateDictOptions(flatten_optimizer_state_dict=True)
    flat = get_optimizer_state_dict(task, optimizer, options=options)
    return {name: torch.as_tensor(value) for name, value in flat.items() if name.startswith("state.")}


def _load_optimizer(task: nn.Module, optimizer: Optimizer, saved: Mapping[str, Tensor]) -> None:
    # Not `set_optimizer_state_dict`: it gives parameters without a gradient a state, which they do not have.
    names = {parameter: name for name, parameter in task.named_parameters()}
    parameters = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in saved.items():
        name = name.replace("|", ".").removeprefix("state.")  # format 1 had "PARAMETER|KEY"
        parameter, _, key = name.rpartition(".")
        state.setdefault(parameters.index(parameter), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _plain(config: object) -> Any:
    """Return a configuration as JSON gives it back (lists for tuples)."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = dataclasses.asdict(config)
    return json.loads(json.dumps(config, default=str))


def _flatten(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):  # an empty one is as a setting that was not there yet
        for key, child in value.items():
            yield from _flatten(child, f"{prefix}{key}.")
    else:
        yield prefix.removesuffix("."), value


def _check_config(checkpoint: Path, saved: Any, present: Any, free: set[str]) -> None:
    before, now = dict(_flatten(saved)), dict(_flatten(present))
    for key in sorted(before.keys() | now.keys()):
        if key not in free and before.get(key) != now.get(key):
            raise InputError(
                f"cannot resume {checkpoint}: {key} is {quoted(now.get(key))} now and was {quoted(before.get(key))};"
                f" set it back, or start anew in another folder or with {advice().restart}"
            )
