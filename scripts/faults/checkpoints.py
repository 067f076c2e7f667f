"""Damaged checkpoints: a run goes on from the one before, or ends with one clear line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np

from faults.case import Case
from faults.commands import run
from faults.mutate import hostile, mutate
from faults.workshop import Workshop, content, left_over


def cases(shop: Workshop, count: int, rng: np.random.Generator) -> Iterator[Case]:
    """Yield `count` cases: one file of the newest checkpoint, or the metrics, of a run without its product."""
    finished, out = shop.posterior.parent, shop.root / "checkpoints"
    expected = content(finished)
    newest = sorted((finished / "checkpoints").iterdir())[-1]
    files = [*sorted(newest.iterdir()), finished / "metrics.jsonl", finished / "config.yaml"]
    for number in range(count):
        path = files[number % len(files)].relative_to(finished)
        shutil.copytree(finished, out)
        shutil.rmtree(out / shop.posterior.name)
        whole = (out / path).read_bytes()
        known = hostile(path.suffix, whole) | {"missing": b""}
        what = str(rng.choice(list(known))) if rng.random() < 0.5 else "mutation"
        (out / path).write_bytes(known[what] if what in known else mutate(whole, rng))
        if what == "missing":
            (out / path).unlink()
        done = run([*shop.train("posterior"), "--out", out, "--resume"])
        problems = [done.fault] if done.fault else []
        problems += [f"left behind: {name}" for name in left_over(out)[:3]]
        if not done.code and what in ("empty", "half", "zeros", "missing") and path.parts[0] == "checkpoints":
            found = content(out)
            differing = sorted(key for key in {*found, *expected} if found.get(key) != expected.get(key))
            problems += [f"differs from the whole run: {', '.join(differing[:6])}"] if differing else []
        end = "fault" if problems else "clear line" if done.code else "result"
        yield Case("checkpoint", path.name, what, end, done.seconds, "; ".join(problems))
        shutil.rmtree(out)
