"""Checkpoints of a run folder by name, and messages that say which of them is whole; imports no torch."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from gss.core.files import discard
from gss.core.interrupt import Interrupted
from gss.core.outputs import LOCK_NAME, unlock_folder

DATA_FILE = "data.json"
"""File of a run folder that counts the files of the training data set, used and not; the first that a run writes."""
METRICS_FILE = "metrics.jsonl"
"""File of a run folder with the figures of its steps."""
_FIRST_FILES = (DATA_FILE, METRICS_FILE, "config.yaml")


@dataclass(frozen=True)
class Advice:
    """How the user of the present command continues a run, and starts it anew, for messages.

    Attributes:
        resume: what continues it.
        restart: option that starts it anew in the same folder.
    """

    resume: str = "continue with --resume"
    restart: str = "--overwrite"


_TRAIN = Advice()
_advice: ContextVar[Advice] = ContextVar("advice", default=_TRAIN)


def advice() -> Advice:
    """Return how the present command is continued."""
    return _advice.get()


@contextmanager
def advised(advice: Advice) -> Iterator[None]:
    """Let messages of a block of code advise something else, because a job trains and not `gss train`."""
    before = _advice.set(advice)
    try:
        yield
    finally:
        _advice.reset(before)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints in a folder, oldest first; empty if there is no such folder."""
    found = [p for p in folder.glob("step_*") if p.is_dir() and re.fullmatch(r"step_\d+", p.name)]
    return sorted(found, key=checkpoint_step)


def checkpoint_step(checkpoint: Path) -> int:
    """Return the number of optimizer steps made when a checkpoint was written, from its name."""
    return int(checkpoint.name.removeprefix("step_"))


def newest_checkpoint(out: Path) -> str:
    """Say which checkpoint of a run is the newest, and how to continue from it."""
    try:
        found = list_checkpoints(out / "checkpoints")
    except OSError:
        return f"the checkpoints in {out} cannot be read at the moment"
    return f"{found[-1]} is whole, {advice().resume}" if found else "no checkpoint was written"


def keep_newest(folder: Path, count: int) -> None:
    """Remove all but the newest `count` checkpoints, and damaged ones that were written again."""
    kept = list_checkpoints(folder)
    again = [folder / f"damaged_{checkpoint.name}" for checkpoint in kept]
    for checkpoint in [*kept[:-count], *(path for path in again if path.exists())]:
        discard(checkpoint)


def forget_refused(out: str | os.PathLike[str]) -> None:
    """Remove what a run that was refused at its start has written, so that the next one finds its folder free.

    Args:
        out: folder of the run, which was empty or not there before it. Nothing is removed where there is more than a
            run writes before its first step.
    """
    folder = Path(out)
    written = [entry for entry in folder.iterdir() if entry.name != LOCK_NAME] if folder.is_dir() else []
    if any(entry.name not in _FIRST_FILES or not entry.is_file() for entry in written):
        return
    if (folder / METRICS_FILE).is_file() and (folder / METRICS_FILE).stat().st_size:
        return
    for entry in written:
        entry.unlink()
    unlock_folder(folder)
    with suppress(OSError):  # it is the working folder, or another process looks at it
        folder.rmdir()


def set_aside(checkpoint: Path) -> None:
    """Rename a damaged checkpoint, so that it does not count and yet is not lost before its step is reached again."""
    target = checkpoint.with_name(f"damaged_{checkpoint.name}")
    if target.exists():
        discard(target)
    checkpoint.rename(target)


@contextmanager
def explained(out: str | Path) -> Iterator[None]:
    """Add to the message of a stopped run, or of a failed write, which checkpoint is whole and how to continue."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if isinstance(stop, Interrupted) and stop.hint:
            raise
        number = stop.number if isinstance(stop, Interrupted) else signal.SIGINT
        raise Interrupted(number, newest_checkpoint(Path(out))) from None
    except OSError as error:
        hint = newest_checkpoint(Path(out))
        if hint in str(error):
            raise
        if error.errno is None:
            raise OSError(f"{error}; {hint}") from error
        raise OSError(error.errno, f"{error.strerror}; {hint}", error.filename) from error
