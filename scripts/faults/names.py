"""Names and paths that break programs: every case ends well, and nothing is written outside the output folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from faults.case import Case
from faults.commands import run
from faults.workshop import Workshop, left_over, snapshot

HOSTILE = (
    *("plain", "with space", "-rf", "--out", "a.b.c", ".hidden", "CON", "~", "$HOME", "%s%n", "*?[a]", "a;b|c&d"),
    *("new\nline", "tab\there", "\u202egnp.evil", "\u0645\u0631\u062d\u0628\u0627", "e\u0301", "\u00e9", "\u200b"),
    *("<script>alert(1)</script>".replace("/", "\u2215"), "&amp;'\"", "{id}", "{split}", "null", "\U0001f600"),
    *("x" * 235, "\u6f22" * 78, os.fsdecode(b"caf\xe9"), "..", "...", "a..b", "1e9", "0x1F", "NO", "'"),
)
"""File names without their suffix."""

LINES = (
    "../../outside",
    "/etc/hostname",
    "images/../../outside",
    "a\x00b",
    "",
    " ",
    "0",
    "x" * 5000,
    "\u202e0",
    "0/../1",
)
"""Lines of a list."""


def cases(shop: Workshop, count: int, rng: np.random.Generator) -> Iterator[Case]:
    """Yield `count` cases: images, classes, lists and output folders with hostile names; links out of the folder."""
    kinds = (_image, _class, _line, _folder, _link)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        folder = shop.root / "names"
        folder.mkdir()
        outside = folder / "outside.png"
        shutil.copy(shop.data / "images" / "train" / "0.png", outside)
        yield kind(shop, folder, rng)
        shutil.rmtree(folder)


def _data(shop: Workshop, folder: Path) -> Path:
    data = folder / "data"
    shutil.copytree(shop.data, data)
    return data


def _judge(shop: Workshop, kind: str, what: str, commands: list[list[object]], out: Path) -> Case:
    """Run commands that write to `out` alone."""
    problems, seconds, failed = [], 0.0, False
    before = snapshot(shop.root, out)
    for command in commands:
        done = run(command)
        seconds = max(seconds, done.seconds)
        failed |= done.code != 0
        problems += [f"{command[0]}: {done.fault}"] if done.fault else []
    problems += ["files outside --out changed"] if snapshot(shop.root, out) != before else []
    problems += [f"left behind: {path}" for path in left_over(out)[:3]] if out.is_dir() else []
    for page in out.rglob("*") if out.is_dir() else ():
        if page.suffix in (".html", ".md") and "<script>alert(1)" in page.read_text(errors="replace"):
            problems.append(f"raw HTML in {page.name}")
    end = "fault" if problems else "clear line" if failed else "result"
    return Case("name", kind, what, end, seconds, "; ".join(problems))


def _evaluate(shop: Workshop, data: Path, out: Path) -> list[object]:
    reports = ["--json", out / "r.json", "--html", out / "r.html"]
    return ["evaluate", shop.pipeline, "--data", data, "--split", "val", *reports]


def _image(shop: Workshop, folder: Path, rng: np.random.Generator) -> Case:
    name, data, out = str(rng.choice(HOSTILE)), _data(shop, folder), folder / "out"
    out.mkdir()
    for kind in ("images", "masks"):
        os.rename(data / kind / "val" / "0.png", data / kind / "val" / f"{name}.png")
    predict = ["predict", shop.pipeline, data / "images" / "val", "--out", out / "predicted"]
    return _judge(shop, "image", repr(name), [["data", "check", data], predict, _evaluate(shop, data, out)], out)


def _class(shop: Workshop, folder: Path, rng: np.random.Generator) -> Case:
    name, data, out = str(rng.choice(HOSTILE)), _data(shop, folder), folder / "out"
    out.mkdir()
    content = json.loads((data / "classes.json").read_text())
    content["classes"]["0"] = name
    (data / "classes.json").write_text(json.dumps(content))
    make = ["weak", "make", data, "--form", str(rng.choice(["tags", "points"])), "--out", out / "weak"]
    report = ["weak", "report", out / "weak", "--truth", data, "--html", out / "w.html"]
    train = ["data.spec=" + str(data), "train.steps=1"]
    twin = [*shop.train("twin"), *train, "--out", out / "twin"]
    return _judge(shop, "class", repr(name), [["data", "check", data], make, report, twin], out)


def _line(shop: Workshop, folder: Path, rng: np.random.Generator) -> Case:
    line, data, out = str(rng.choice(LINES)), _data(shop, folder), folder / "out"
    out.mkdir()
    (data / "train.txt").write_text(f"0\n{line}\n")
    (data / "val.txt").write_text("1\n")
    make = ["weak", "make", data, "--form", "points", "--out", out / "weak"]
    return _judge(shop, "line of a list", repr(line)[:80], [["data", "check", data], make], out)


def _folder(shop: Workshop, folder: Path, rng: np.random.Generator) -> Case:
    name = str(rng.choice([name for name in HOSTILE if name not in ("..", "...") and not name.startswith("-")]))
    out = folder / name
    return _judge(
        shop, "output folder", repr(name), [["predict", shop.pipeline, folder / "outside.png", "--out", out]], out
    )


def _link(shop: Workshop, folder: Path, rng: np.random.Generator) -> Case:
    data, out = _data(shop, folder), folder / "out"
    out.mkdir()
    target = [folder / "outside.png", folder / "nowhere.png", data, Path("loop.png")][int(rng.integers(4))]
    link = data / "images" / "val" / "loop.png"
    link.symlink_to(target)
    shutil.copy(data / "masks" / "val" / "0.png", data / "masks" / "val" / "loop.png")
    # The output folder itself, and a file in it, may be links that lead outside.
    (out / "predicted").symlink_to(folder / "elsewhere")
    (folder / "elsewhere").mkdir()
    predict = ["predict", shop.pipeline, data / "images" / "val", "--out", out / "pictures"]
    return _judge(shop, "link", str(target.name), [["data", "check", data], predict, _evaluate(shop, data, out)], out)
