"""Kills at random moments and at the edges of writes; the resumed run must equal the one that was never killed."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from faults.case import Case
from faults.commands import Outcome, Running, run
from faults.workshop import Workshop, content, damaged, left_over, snapshot


def cases(shop: Workshop, count: int, rng: np.random.Generator, only: Collection[str] | None = None) -> Iterator[Case]:
    """Kill every stage, and the commands that write folders, `count` times in all; or those named by `only`."""
    commands = shop.commands()
    references: dict[str, tuple[Outcome, dict[str, str]]] = {}
    names = list(only or commands)
    for number in range(count):
        name = names[number % len(names)]
        folder = shop.root / "kills"
        if name not in references:
            reference = run(commands[name](folder / "reference"))
            if reference.code:
                yield Case("kill", name, "reference run", "fault", reference.seconds, reference.fault or reference.text)
                continue
            references[name] = reference, content(folder / "reference")
            shutil.rmtree(folder / "reference")
        out = folder / f"run_{number}"
        yield _case(shop, name, commands[name](out), out, *references[name], rng)
        shutil.rmtree(folder, ignore_errors=True)


def _case(
    shop: Workshop,
    name: str,
    command: list[object],
    out: Path,
    reference: Outcome,
    expected: dict[str, str],
    rng: np.random.Generator,
) -> Case:
    """Kill a command once or twice, let it go on, and compare."""
    before = snapshot(shop.root, out.parent)
    again = "--resume" if name.startswith("train") else "--overwrite"
    told, seconds, problems = [], 0.0, []
    for attempt in range(1 + int(rng.random() < 0.25)):
        killed, how = _kill([*command, *([again] if attempt else [])], out, reference, rng)
        told.append(how)
        problems += [killed.fault] if killed.code != -9 and killed.fault else []
        problems += [f"half-written: {path}" for path in damaged(out)]
    done = run([*command, again])
    seconds = done.seconds
    problems += [done.fault or f"not resumed: {done.text.strip()}"] if done.code else []
    if not problems:
        found = content(out)
        differing = sorted(key for key in {*found, *expected} if found.get(key) != expected.get(key))
        problems += [f"differs after resuming: {', '.join(differing[:6])}"] if differing else []
        problems += [f"left behind: {path}" for path in left_over(out)[:3]]
    problems += ["files outside --out changed"] if snapshot(shop.root, out.parent) != before else []
    return Case("kill", name, ", then ".join(told), "fault" if problems else "result", seconds, "; ".join(problems))


def _kill(command: list[object], out: Path, reference: Outcome, rng: np.random.Generator) -> tuple[Outcome, str]:
    """Run a command and kill it at a random moment, before or after a random rename, or in the middle of a write."""
    kind = rng.choice(["moment", "rename", "write"], p=[0.4, 0.3, 0.3])
    if kind == "rename" and reference.renames:
        die_at = int(rng.integers(1, reference.renames + 1)) * int(rng.choice([1, -1]))
        return Running(command, die_at=die_at).wait(), f"killed at rename {die_at}"
    if kind == "write":
        place, seen = int(rng.integers(1, max(2, reference.renames))), set()

        def writing(seconds: float) -> bool:
            seen.update(left_over(out) if out.is_dir() else [])
            return len(seen) >= place

        return Running(command).wait(writing), f"killed in write {place}"
    moment = float(rng.uniform(0, reference.wall))
    return Running(command).wait(lambda seconds: seconds >= moment), f"killed after {moment:.2f} s"
