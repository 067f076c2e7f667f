"""Full disks: the command ends with one clear line, and what was there before is whole."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from faults.case import Case
from faults.commands import run
from faults.workshop import Workshop, damaged, left_over, snapshot


def cases(shop: Workshop, count: int, rng: np.random.Generator) -> Iterator[Case]:
    """Yield `count` cases: files of limited size, and a small file system where one can be mounted."""
    commands = shop.commands()
    names = list(commands)
    folder = shop.root / "disk"
    mounted = _can_mount(folder)
    for number in range(count):
        name = names[number % len(names)]
        size = int(2 ** rng.uniform(9, 19))  # bytes of a file, or KiB of the disk
        out = folder / "full" / "run"
        if mounted and number % 2:
            yield _on_small_disk(shop, name, commands[name], max(200, size >> 8), out)
        else:
            yield _limited(shop, name, commands[name](out), size, out)
        shutil.rmtree(folder, ignore_errors=True)


def _limited(shop: Workshop, name: str, command: list[object], size: int, out: Path) -> Case:
    """Let no file grow beyond `size` bytes, after a finished run whose results must stay whole."""
    before = snapshot(shop.root, out.parent.parent)
    done = run(command, partial(_limit, size))
    return _verdict(shop, name, f"files of {size} bytes", done, out, before)


def _on_small_disk(shop: Workshop, name: str, command: Callable[[Path], list[object]], size: int, out: Path) -> Case:
    """Write to a file system of `size` KiB."""
    before = snapshot(shop.root, out.parent.parent)
    out.parent.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", out.parent], check=True)
    try:
        done = run(command(out))
        return _verdict(shop, name, f"disk of {size} KiB", done, out, before)
    finally:
        subprocess.run(["umount", out.parent], check=True)


def _verdict(shop: Workshop, name: str, what: str, done: object, out: Path, before: object) -> Case:
    from faults.commands import Outcome

    assert isinstance(done, Outcome)
    problems = [done.fault] if done.fault else []
    problems += [f"half-written: {path}" for path in damaged(out)] if out.is_dir() else []
    problems += [f"left behind: {path}" for path in left_over(out)[:3]]
    problems += ["files outside --out changed"] if snapshot(shop.root, out.parent.parent) != before else []
    if done.code and not problems:
        # A disk with room again: the same command goes on, or starts again.
        ended = [line for line in done.text.splitlines() if line.strip().startswith("gss: error")]
        problems += [] if ended else [f"no error line: {done.text.strip()[-300:]}"]
    end = "fault" if problems else "clear line" if done.code else "result"
    return Case("disk", name, what, end, done.seconds, "; ".join(problems))


def _limit(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _can_mount(folder: Path) -> bool:
    place = folder / "probe"
    place.mkdir(parents=True)
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True)
    if tried.returncode == 0:
        subprocess.run(["umount", place], check=True)
    shutil.rmtree(folder)
    return tried.returncode == 0
