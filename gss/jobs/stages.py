"""A job of several stages: finished ones are not done again, and no change of settings goes unnoticed."""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gss.core import distributed
from gss.core.errors import InputError, did_you_mean
from gss.core.files import write_json

RECORDS = "stages.json"
"""What a job has finished, in its folder."""


@dataclass(frozen=True)
class Stage:
    """One step of a job; it builds on all those before it.

    Args:
        name: unique in the job.
        settings: everything that decides its result beside the stages before it, in types JSON knows.
        products: files and folders that are there once it is finished.
        work: does it, on all processes; returns what is worth keeping about it, in types JSON knows. Its argument is
            False where an interrupted run of the same stage may be gone on with.
    """

    name: str
    settings: Mapping[str, Any]
    products: Sequence[Path]
    work: Callable[[bool], Mapping[str, Any]]


def flat_settings(config: Any, *, without: Collection[str] = ()) -> dict[str, Any]:
    """A configuration as dotted keys and values that JSON knows.

    Args:
        config: dataclass, may hold dataclasses.
        without: dotted keys that decide nothing.
    """
    flat: dict[str, Any] = {}

    def walk(values: Mapping[str, Any], prefix: str) -> None:
        for name, value in values.items():
            if isinstance(value, Mapping) and value:
                walk(value, f"{prefix}{name}.")
            elif f"{prefix}{name}" not in without:
                flat[f"{prefix}{name}"] = value

    walk(dataclasses.asdict(config), "")
    return dict(json.loads(json.dumps(flat, default=str)))


def check_names(given: Sequence[str], names: Sequence[str], option: str) -> None:
    """Require names of stages.

    Raises:
        ValueError: one is unknown; the message names the nearest and all there are.
    """
    for name in given:
        if name not in names:
            hint = did_you_mean(name, names)
            raise InputError(f"{option}: no stage {name!r} {hint}; stages: {', '.join(names)}".replace(" ;", ";"))


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """What the stages of a job left: name to `settings`, and `id`, `seconds` and `result` of those that are finished.

    `after` is the `id` of the stage before.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / RECORDS
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}; remove it to run all stages again") from error


def run_stages(
    stages: Sequence[Stage], folder: Path, *, chosen: Collection[str] = (), redo: str = ""
) -> dict[str, dict[str, Any]]:
    """Run what is not finished.

    A stage is done again when one before it is; under other settings than before it is refused, unless `redo` asks for
    it. `folder` holds `stages.json`.

    Args:
        stages: of the job, in order.
        folder: of the job, exists.
        chosen: names of the stages that may run; all when empty.
        redo: name of the first stage to run again although it is finished.

    Returns:
        The records of all finished stages, see `read_records`.

    Raises:
        ValueError: changed settings, or a stage that needs an unfinished one that is not chosen.
    """
    names = [stage.name for stage in stages]
    check_names([*chosen, *([redo] if redo else [])], names, "stages")
    plans: list[list[tuple[str, str]]] = [[]]

    def decide() -> None:
        plans[0] = _plan(stages, read_records(folder), chosen or names, redo, folder)

    distributed.run_on_main(decide)
    plan = dict(distributed.gather_objects(plans[0])[0])
    for stage in stages:
        if stage.name not in plan:
            continue
        if not plan[stage.name]:
            _say(f"{stage.name}: finished before")
            continue
        _say(f"{stage.name}: {plan[stage.name]}")
        records = read_records(folder)
        entry = {"settings": dict(stage.settings), "after": _id_before(stage.name, names, records)}
        fresh = records.get(stage.name) != entry
        distributed.barrier()  # all have read
        if distributed.is_main():
            write_json(folder / RECORDS, records | {stage.name: entry})
        started = time.perf_counter()
        result = stage.work(fresh)
        if distributed.is_main():
            done = {"id": secrets.token_hex(4), "seconds": time.perf_counter() - started, "result": dict(result)}
            write_json(folder / RECORDS, records | {stage.name: entry | done})
        distributed.barrier()
    return {name: record for name, record in read_records(folder).items() if "id" in record}


def _plan(
    stages: Sequence[Stage], records: Mapping[str, Any], chosen: Collection[str], redo: str, folder: Path
) -> list[tuple[str, str]]:
    """Name of each chosen stage and why it has to run, "" if it has not."""
    names = [stage.name for stage in stages]
    plan: list[tuple[str, str]] = []
    earlier = missing = ""
    for stage in stages:
        record = records.get(stage.name)
        reason = ""
        if record is None or "id" not in record or not all(path.exists() for path in stage.products):
            reason = "begins"
        elif stage.name == redo:
            reason = "is done again, as asked"
        elif earlier:
            reason = f"is done again, because {earlier} is"
        elif record["after"] != _id_before(stage.name, names, records):
            reason = f"is done again, because {names[names.index(stage.name) - 1]} was"
        else:
            _require_same(stage, record["settings"], folder)
        if stage.name in chosen:
            if missing:
                raise InputError(f"stage {stage.name!r} needs {missing!r}, which is not finished: add it to the stages")
            plan.append((stage.name, reason))
            earlier = earlier or (stage.name if reason else "")
        elif reason:
            missing = missing or stage.name
    return plan


def _require_same(stage: Stage, before: Mapping[str, Any], folder: Path) -> None:
    now = dict(stage.settings)
    for key in [*now, *before]:
        if now.get(key) != before.get(key):
            raise InputError(
                f"stage {stage.name!r} in {folder} is finished with {key} = {before.get(key)!r}, which is "
                f"{now.get(key)!r} now: pass --redo {stage.name} to do it and what follows again, or choose another "
                "--out"
            )


def _id_before(name: str, names: Sequence[str], records: Mapping[str, Any]) -> str:
    """Which run of the stage before is the latest."""
    place = names.index(name)
    return str(records.get(names[place - 1], {}).get("id", "")) if place else ""


def _say(text: str) -> None:
    if distributed.is_main():
        print(text, flush=True)
