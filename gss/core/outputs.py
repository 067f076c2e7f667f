"""Output folders: checked before anything is computed, used by one process at a time, cleared of what kills left."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from gss.core.errors import InputError
from gss.core.files import is_temporary, restore_or_remove

try:
    import fcntl
except ImportError:  # pragma: no cover - not on Windows
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = ".gss.lock"
_held: dict[Path, int] = {}
"""Lock files of this process to the number of its holders."""
_takes_over = False


def take_over_locks(on: bool) -> None:
    """Choose if this process takes over the locks of others, which `--force` asks for; off at first."""
    global _takes_over
    _takes_over = on


def check_writable(path: str | os.PathLike[str], argument: str) -> None:
    """Require that a file can be written, before anything is computed for it.

    Args:
        path: the file.
        argument: command-line argument that names it, for the message.

    Raises:
        InputError: it is a folder, or lies below a file or where nothing may be written.
    """
    target = Path(path).absolute()
    above = next((parent for parent in target.parents if parent.exists()), target)
    if target.is_dir():
        reason = "it is a folder; name a file in it"
    elif not above.is_dir():
        reason = f"{above} is a file; choose another place"
    elif not os.access(above, os.W_OK | os.X_OK):
        reason = f"no permission for {above}; choose another place"
    else:
        return
    raise InputError(f"cannot write {argument} {path}: {reason}")


def check_files(files: Mapping[str, str | os.PathLike[str]]) -> None:
    """Require that the files of some arguments can be written, and that no two are one file.

    Args:
        files: files by the names of their arguments, such as `json`.

    Raises:
        InputError: one cannot be written, or would replace another.
    """
    places: dict[str, str] = {}
    for name, path in files.items():
        check_writable(path, f"--{name}")
        other = places.setdefault(os.path.abspath(path), name)
        if other != name:
            raise InputError(f"--{other} and --{name} are both {path}: give each a file of its own")


def prepare_output(folder: str | os.PathLike[str], *, overwrite: bool, resume: bool | None = None) -> Path:
    """Create an output folder and lock it for this process; refuse one that already holds something.

    Results are not deleted, also with `overwrite`: they are replaced one by one when their successors are ready.
    Temporary files that killed runs left behind are removed. The lock lasts until `release_outputs`, or until the
    process ends.

    Args:
        folder: where results go.
        overwrite: accept a folder that holds files; results of the same name are replaced.
        resume: accept a folder that holds files, because the run in it continues; None for a command that cannot.

    Returns:
        The folder, which exists and is writable.

    Raises:
        InputError: another process is using the folder, it holds something and neither flag is set, it is a file, or
            it cannot be written.
    """
    out = Path(folder)
    check_free(out, overwrite=True)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK | os.X_OK):
            raise InputError(f"no permission to write to output folder {out}: choose another --out")
        lock_folder(out)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write output folder {out}: {reason}; choose another --out") from error
    try:
        check_free(out, overwrite=overwrite, resume=resume)
    except InputError:
        unlock_folder(out)
        raise
    remove_leftovers(out)
    return out


def check_free(folder: str | os.PathLike[str], *, overwrite: bool, resume: bool | None = None) -> None:
    """Require what `prepare_output` requires of a folder's contents, but create and lock nothing.

    Raises:
        InputError: the folder is a file, or it holds something and neither flag is set.
    """
    out = Path(folder)
    if out.exists() and not out.is_dir():
        raise InputError(f"output folder {out} is a file: choose another --out")
    if overwrite or resume or not out.is_dir():
        return
    results = sorted(entry.name for entry in out.iterdir() if entry.name != LOCK_NAME and not is_temporary(entry.name))
    if results:
        resumes = "" if resume is None else " (--resume to continue the run)"
        raise InputError(
            f"output folder {out} already holds {results[0]!r}{' and more' if len(results) > 1 else ''}: "
            f"pass --overwrite to replace it{resumes}, or choose another --out"
        )


def check_apart(out: str | os.PathLike[str], inputs: Mapping[str, str | os.PathLike[str] | None]) -> None:
    """Require that an output folder is none of the inputs, whose files results would replace.

    Args:
        out: output folder.
        inputs: folders that are read, by what they are, such as "the data set"; absent ones are passed over.

    Raises:
        InputError: a folder is both.
    """
    for what, folder in inputs.items():
        if folder is not None and os.path.isdir(out) and os.path.isdir(folder) and os.path.samefile(out, folder):
            raise InputError(f"output folder {out} is {what}, whose files would be replaced: choose another --out")


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock of a folder for a block of code; it may be held by this process already."""
    lock_folder(folder)
    try:
        yield
    finally:
        unlock_folder(folder)


def lock_folder(folder: str | os.PathLike[str]) -> None:
    """Take the lock of an existing folder; a process may take it several times.

    The lock is a file with the process, its start time and the host. One of a process that no longer runs on this
    host is taken over.

    Args:
        folder: folder to write to.

    Raises:
        InputError: another process has the lock; names process, host and time, and how to override it.
    """
    path = Path(folder).resolve() / LOCK_NAME
    if path in _held:
        _held[path] += 1
        return
    with _guarded(path) as file:
        holder = _read(file)
        if holder and not _takes_over and _is_running(holder):
            raise InputError(
                f"output folder {folder} is in use by process {holder['pid']} on {holder['host']} since "
                f"{holder['since']} ({holder['command']}): wait for it, choose another --out, or pass --force if it "
                "is gone"
            )
        file.seek(0)
        file.truncate()
        json.dump(_this_process(), file)
    _held[path] = 1


def unlock_folder(folder: str | os.PathLike[str]) -> None:
    """Give back the lock of a folder once; nothing if this process does not hold it."""
    path = Path(folder).resolve() / LOCK_NAME
    if _held.get(path, 0) > 1:
        _held[path] -= 1
    elif _held.pop(path, 0):
        _release(path)


def release_outputs() -> None:
    """Give back all locks of this process."""
    take_over_locks(False)
    while _held:
        _release(_held.popitem()[0])


atexit.register(release_outputs)


def _release(path: Path) -> None:
    # A folder that was removed or a disk that is gone needs no unlocking; a lock taken over is not ours to remove.
    with contextlib.suppress(OSError):
        if path.exists():
            with _guarded(path) as file:
                holder, own = _read(file), _this_process()
                if all(holder.get(key) == own[key] for key in ("pid", "host", "started")):
                    path.unlink(missing_ok=True)


@contextmanager
def _guarded(path: Path) -> Iterator[Any]:
    """Open a lock file while no other process reads or changes it."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8")
        with file:
            if fcntl is not None:
                with contextlib.suppress(OSError):  # file systems without such locks
                    fcntl.flock(file, fcntl.LOCK_EX)
            # Another process may have removed the file between opening and locking it.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                yield file
                return


def _read(file: Any) -> dict[str, Any]:
    """Return the holder that a lock file names; empty for a lock that was never filled in."""
    file.seek(0)
    try:
        holder = json.load(file)
    except ValueError:
        return {}
    names = ("pid", "host", "started", "since", "command")
    return holder if isinstance(holder, dict) and all(name in holder for name in names) else {}


def _this_process() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": _start_time(os.getpid()),
        "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:3]]),
    }


def _is_running(holder: dict[str, Any]) -> bool:
    """Tell whether the process of a lock may still run: one of another host may."""
    if holder["host"] != socket.gethostname():
        return True
    return holder["started"] is not None and _start_time(holder["pid"]) == holder["started"]


def _start_time(pid: int) -> str | None:
    """Return what tells a process from earlier ones of the same number; None if it does not run."""
    try:
        # Field 22 of the line, counted behind the command's name, which may hold blanks and brackets.
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (OSError, UnicodeDecodeError):
        if Path("/proc/self/stat").exists():
            return None
        try:
            os.kill(pid, 0)  # no /proc here: a later process of the same number cannot be told apart
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return "running"
    return None if state[0] in "ZX" else f"{boot} {state[19]}"


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed runs below a folder that this process has locked.

    A result that was moved aside to make room for its successor, which then did not come, is put back. Sub-folders
    with a lock of their own are left to their own runs.
    """
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        if here != folder and LOCK_NAME in files:
            folders.clear()
            continue
        for name in [*folders, *files]:
            if is_temporary(name):
                restore_or_remove(here / name)
        folders[:] = [name for name in folders if not is_temporary(name)]
