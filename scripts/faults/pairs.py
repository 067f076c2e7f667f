"""Two processes in one output folder: one does its work, the other is refused with one line."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import numpy as np

from faults.case import Case
from faults.commands import Running, run
from faults.workshop import Workshop, content, left_over


def cases(shop: Workshop, count: int, rng: np.random.Generator) -> Iterator[Case]:
    """Yield `count` cases: the second process starts at once or later, with and without `--resume`."""
    commands = shop.commands()
    names = list(commands)
    references = {}
    folder = shop.root / "pairs"
    for number in range(count):
        name = names[number % len(names)]
        if name not in references:
            references[name] = run(commands[name](folder / "reference")), content(folder / "reference")
            shutil.rmtree(folder / "reference", ignore_errors=True)
        reference, expected = references[name]
        if reference.code:
            yield Case("pair", name, "reference run", "fault", reference.seconds, reference.fault or reference.text)
            continue
        again = [[], ["--overwrite"], ["--resume"] if name.startswith("train") else []][int(rng.integers(3))]
        delay = float(rng.uniform(0, reference.wall)) if rng.random() < 0.7 else 0.0
        out = folder / "run"
        first = Running(commands[name](out))
        time.sleep(delay)
        second = Running([*commands[name](out), *again])
        ends = [first.wait(), second.wait()]
        problems = [end.fault for end in ends if end.fault]
        if all(end.code for end in ends):
            problems.append("neither finished: " + " | ".join(end.text.strip()[-200:] for end in ends))
        elif not problems:
            found = content(out)
            differing = sorted(key for key in {*found, *expected} if found.get(key) != expected.get(key))
            problems += [f"differs from a run alone: {', '.join(differing[:6])}"] if differing else []
            problems += [f"left behind: {path}" for path in left_over(out)[:3]]
        what = f"second after {delay:.2f} s {' '.join(again)}".strip()
        yield Case(
            "pair", name, what, "fault" if problems else "result", max(e.seconds for e in ends), "; ".join(problems)
        )
        shutil.rmtree(folder / "run", ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
