"""A job of several stages: finished stages are not repeated, and a change of settings is noticed."""

from __future__ import annotations

import dataclasses
import json
import secrets
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gss.core import distributed
from gss.core.errors import InputError, quoted, unknown_name
from gss.core.files import read_json, write_json
from gss.core.interrupt import Interrupted
from gss.core.lookup.run_folders import JOB_RECORDS
from gss.core.outputs import prepare_output
from gss.jobs.clock import StageClock
from gss.training.engine.checkpoint import FREE_KEYS
from gss.training.engine.run_folder import Advice, advised, list_checkpoints
from gss.training.run import train
from gss.training.stages import STAGES

_CONTINUES = "the same command continues"


@dataclass(frozen=True)
class Stage:
    """One step of a job.

    Args:
        name: name, unique in the job.
        settings: everything that decides its result besides the stages it builds on, in types JSON knows.
        products: files and folders that exist once it is finished.
        work: function that does it, on all processes; returns what is worth keeping about it, in types JSON knows. Its
            argument is False where an interrupted run of the same stage may be continued.
        after: names of the stages it builds on; None for the stage before it.
    """

    name: str
    settings: Mapping[str, Any]
    products: Sequence[Path]
    work: Callable[[bool], Mapping[str, Any]]
    after: Sequence[str] | None = None


@dataclass(frozen=True)
class StageRecord:
    """What `stages.json` says about a stage.

    Args:
        settings: settings of its latest run.
        after: ids of the runs of other stages that it was built on.
        folder: absolute folder of the job; a job may be moved.
        id: id of the run; empty until it is finished.
        seconds: time it took, in seconds.
        result: what its `work` returned.
    """

    settings: Mapping[str, Any]
    after: str
    folder: str
    id: str = ""
    seconds: float = 0.0
    result: Mapping[str, Any] = field(default_factory=dict)

    def same_run(self, other: StageRecord) -> bool:
        """Return whether both are runs of one stage in one place, of which one may continue the other."""
        return (self.settings, self.after, self.folder) == (other.settings, other.after, other.folder)


def training_stage(name: str, stage: str, cfg: Any, job: Path, *, after: Sequence[str] | None = None) -> Stage:
    """Return the stage of a job that trains into a sub-folder of its own.

    Args:
        name: name of the stage and of its folder.
        stage: key of `gss.training.stages.STAGES`.
        cfg: settings of the training; paths below `job` do not depend on where it is.
        job: folder of the job.
        after: see `Stage`.
    """
    folder = job / name

    def work(fresh: bool) -> Mapping[str, Any]:
        resume = not fresh and bool(list_checkpoints(folder / "checkpoints"))
        distributed.run_on_main(lambda: prepare_output(folder, overwrite=True))
        with advised(Advice(_CONTINUES, f"--redo {name}")):
            return train(stage, cfg, folder, resume=resume, say=print)

    settings = flat_settings(cfg, without=FREE_KEYS - {"train.steps"})
    settings = {key: _portable(value, job) for key, value in settings.items()}
    return Stage(name, settings, [folder / STAGES[stage].product], work, after)


def flat_settings(config: Any, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return a configuration as dotted keys and values that JSON knows.

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
        InputError: one is unknown; the message names the nearest and all there are.
    """
    for name in given:
        if name not in names:
            raise unknown_name("stage", name, names, where=option)


def prepare_job(out: Path, *, overwrite: bool) -> None:
    """Create the folder of a job, on all processes; refuse one that holds something else than a job.

    Raises:
        InputError: see `prepare_output`.
    """

    def prepare() -> None:
        prepare_output(out, overwrite=overwrite, resume=(out / JOB_RECORDS).exists() or None)
        if not (out / JOB_RECORDS).exists():
            write_json(out / JOB_RECORDS, {})

    distributed.run_on_main(prepare)


def read_records(folder: Path) -> dict[str, StageRecord]:
    """Return the records of the stages of a job by name.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / JOB_RECORDS
    names = {item.name for item in dataclasses.fields(StageRecord)}
    if not path.exists():
        return {}
    try:
        saved = read_json(path)
        return {
            name: StageRecord(**{"folder": "", **{key: value for key, value in entry.items() if key in names}})
            for name, entry in saved.items()
        }
    except (InputError, TypeError, AttributeError) as error:  # no JSON, or JSON of something else
        raise InputError(f"cannot read {path}: {error}; remove it to run all stages again") from error


def run_stages(
    stages: Sequence[Stage],
    folder: Path,
    *,
    chosen: Collection[str] = (),
    redo: Collection[str] = (),
    clock: StageClock | None = None,
) -> dict[str, StageRecord]:
    """Run what is not finished.

    A stage is repeated when one that it builds on is. A stage that is finished with other settings is refused, unless
    `redo` asks for it. `folder` holds `stages.json`.

    Args:
        stages: stages of the job, in order.
        folder: folder of the job, exists.
        chosen: names of the stages that may run; all when empty.
        redo: names of stages to run again although they are finished.
        clock: clock that knows how long stages usually take; one that counts them if None.

    Returns:
        The records of all finished stages.

    Raises:
        InputError: changed settings, or a stage that needs an unfinished one that is not chosen.
    """
    names = [stage.name for stage in stages]
    check_names([*chosen, *redo], names, "stages")
    plans: list[dict[str, str]] = [{}]

    def decide() -> None:
        plans[0] = _plan(stages, read_records(folder), chosen or names, redo, folder)

    distributed.run_on_main(decide)
    plan = distributed.gather_objects(plans[0])[0]
    clock = clock or StageClock([name for name in names if name in plan])
    for stage in stages:
        if stage.name not in plan:
            continue
        if not plan[stage.name]:
            _say(f"{clock.place(stage.name)}: finished before")
            clock.skip(stage.name)
            continue
        _say(f"{clock.place(stage.name)}: {plan[stage.name]}{clock.left()}")
        records = read_records(folder)
        ids = _ids_before(stage, names, records)
        started = StageRecord(json.loads(json.dumps(stage.settings)), ids, str(folder.resolve()))
        before = records.get(stage.name)
        distributed.barrier()  # all have read
        _write(folder, records | {stage.name: started})
        begin = time.perf_counter()
        with _stopped():
            result = stage.work(before is None or not before.same_run(started))
        seconds = time.perf_counter() - begin
        clock.finish(stage.name, seconds)
        done = dataclasses.replace(started, id=secrets.token_hex(4), seconds=seconds, result=dict(result))
        _write(folder, records | {stage.name: done})
        distributed.barrier()
    return {name: record for name, record in read_records(folder).items() if record.id}


@contextmanager
def _stopped() -> Iterator[None]:
    """Add to the message of a job that is stopped how it goes on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        number, hint = (stop.number, stop.hint) if isinstance(stop, Interrupted) else (signal.SIGINT, "")
        raise Interrupted(number, hint if _CONTINUES in hint else f"{hint}{hint and '; '}{_CONTINUES}") from None


def _plan(
    stages: Sequence[Stage],
    records: Mapping[str, StageRecord],
    chosen: Collection[str],
    redo: Collection[str],
    folder: Path,
) -> dict[str, str]:
    """Return each chosen stage with the reason why it has to run, "" if it has not."""
    names = [stage.name for stage in stages]
    plan: dict[str, str] = {}
    missing: dict[str, str] = {}  # stage that cannot be built on -> the unfinished one it lacks
    for stage in stages:
        record, needs = records.get(stage.name), _needs(stage, names)
        repeated = next((name for name in needs if plan.get(name)), "")
        reason = ""
        if record is None or not record.id or not all(path.exists() for path in stage.products):
            reason = "begins"
        elif stage.name in redo:
            reason = "is done again, as asked"
        elif repeated:
            reason = f"is done again, because {repeated} is"
        elif record.after != _ids_before(stage, names, records):
            reason = f"is done again, because {' or '.join(needs)} was"
        else:
            _require_same(stage, record.settings, folder)
        lacks = next((missing[name] for name in needs if name in missing), "")
        if stage.name in chosen:
            if lacks:
                raise InputError(
                    f"stage {stage.name!r} needs {quoted(lacks)}, which is not finished: add it to the stages"
                )
            plan[stage.name] = reason
        elif reason or lacks:
            missing[stage.name] = lacks or stage.name
    return plan


def _require_same(stage: Stage, before: Mapping[str, Any], folder: Path) -> None:
    now = dict(stage.settings)
    for key in [*now, *before]:
        # An empty mapping is what a setting that was not there yet stands for.
        if (now.get(key) if now.get(key) != {} else None) != (before.get(key) if before.get(key) != {} else None):
            raise InputError(
                f"stage {stage.name!r} in {folder} is finished with {key} = {quoted(before.get(key))}, which is "
                f"{quoted(now.get(key))} now: pass --redo {stage.name} to do it and what builds on it again, or choose "
                "another --out"
            )


def _needs(stage: Stage, names: Sequence[str]) -> Sequence[str]:
    if stage.after is not None:
        return stage.after
    place = names.index(stage.name)
    return names[place - 1 : place] if place else ()


def _ids_before(stage: Stage, names: Sequence[str], records: Mapping[str, StageRecord]) -> str:
    """Return the ids of the latest runs of the stages that a stage builds on."""
    return "+".join(records[name].id if name in records else "" for name in _needs(stage, names))


def _portable(value: Any, job: Path) -> Any:
    """Return a setting that does not depend on where the folder of the job is."""
    inside = isinstance(value, str) and Path(value).is_relative_to(job)
    return str(Path("OUT") / Path(value).relative_to(job)) if inside else value


def _write(folder: Path, records: Mapping[str, StageRecord]) -> None:
    if distributed.is_main():
        write_json(folder / JOB_RECORDS, {name: dataclasses.asdict(record) for name, record in records.items()})


def _say(text: str) -> None:
    if distributed.is_main():
        print(text, flush=True)
