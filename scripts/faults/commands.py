"""Commands of gss in forked processes: limited in time, killed at will, judged by what they print."""

from __future__ import annotations

import atexit
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT = 20.0  # seconds of processor time in which every case must end, so that a busy machine makes no faults
PATIENCE = 120.0  # seconds on the clock after which a process is taken to hang
_CODES_OF_TERMINALS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CODES = (0, 1, 2, 130, 143)  # what `gss` may end with; 70 is a bug


@dataclass(frozen=True)
class Outcome:
    """End of a command.

    Attributes:
        code: exit code; negative is the signal that ended it.
        text: standard error.
        out: standard output.
        seconds: processor time.
        wall: duration on the clock, in seconds.
        renames: number of files and folders that were moved into place.
    """

    code: int
    text: str
    out: str
    seconds: float
    wall: float
    renames: int

    @property
    def fault(self) -> str:
        """What is wrong with this end; empty after a result or one clear line."""
        if self.seconds > LIMIT or self.wall > PATIENCE:
            return f"took {self.seconds:.0f} s of processor time and {self.wall:.0f} s on the clock"
        if self.code not in _CODES:
            return f"ended with {self.code}: {self.text.strip()[-600:]}"
        if "Traceback" in self.text:
            return f"traceback: {self.text.strip()[-600:]}"
        errors = [line for line in self.text.splitlines() if line.strip().startswith("gss: error")]
        if self.code == 2 and len(errors) != 1:
            return f"{len(errors)} error lines: {self.text.strip()[-600:]}"
        return ""


class Running:
    """A command in a forked process; `prepare` is called in it before the command begins."""

    def __init__(self, arguments: Sequence[object], prepare: Callable[[], None] | None = None, die_at: int = 0) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gss_case_")
        self._begun = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns of forks of processes with threads
            self.pid = os.fork()
        if self.pid == 0:
            _child(Path(self._folder.name), list(map(str, arguments)), prepare, die_at)

    def kill(self) -> None:
        """Send SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, until: Callable[[float], bool] | None = None) -> Outcome:
        """Wait for the end; kill the process when `until(seconds)` is true, seconds on the clock, or when it hangs."""
        while True:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            seconds = time.monotonic() - self._begun
            if pid:
                break
            if seconds > PATIENCE or (until is not None and until(seconds)):
                self.kill()
                until = None
            time.sleep(0.002)
        folder = Path(self._folder.name)
        text, out = (_CODES_OF_TERMINALS.sub("", (folder / n).read_text(errors="replace")) for n in ("err", "out"))
        count = folder / "renames"
        renames = int(count.read_text() or 0) if count.is_file() else 0
        self._folder.cleanup()
        busy = used.ru_utime + used.ru_stime
        return Outcome(os.waitstatus_to_exitcode(status), text, out, busy, seconds, renames)


def run(arguments: Sequence[object], prepare: Callable[[], None] | None = None) -> Outcome:
    """Run `gss ARGUMENTS` to its end."""
    return Running(arguments, prepare).wait()


def _child(folder: Path, arguments: list[str], prepare: Callable[[], None] | None, die_at: int) -> None:
    code = 70
    try:
        for number, name in ((1, "out"), (2, "err")):
            file = os.open(folder / name, os.O_WRONLY | os.O_CREAT)
            os.dup2(file, number)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        atexit._clear()  # type: ignore[attr-defined]
        counted = _count_renames(die_at)
        if prepare is not None:
            prepare()
        from gss.cli import main

        try:
            code = main(arguments)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        atexit._run_exitfuncs()  # type: ignore[attr-defined]
        sys.stdout.flush()
        sys.stderr.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (folder / "renames").write_text(json.dumps(counted[0]))
    except BaseException as error:
        os.write(2, f"Traceback of the campaign: {error!r}\n".encode())
    finally:
        os._exit(code)


def _count_renames(die_at: int) -> list[int]:
    """Count `os.replace` and `os.rename`; kill the process before the `die_at`-th one, or after it if negative."""
    counted = [0]

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*args: object, **more: object) -> None:
            counted[0] += 1
            if counted[0] == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            function(*args, **more)
            if counted[0] == -die_at:
                os.kill(os.getpid(), signal.SIGKILL)

        return wrapped

    os.replace, os.rename = wrap(os.replace), wrap(os.rename)  # type: ignore[assignment]
    return counted
