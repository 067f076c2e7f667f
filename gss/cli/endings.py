"""The last lines of commands: what was written, and the next command with its paths filled in."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gss.cli.families import config_of_stage

_PARTS = {
    "pipeline": "the pipeline, for predict and evaluate",
    "posterior": "codec, codes and their table, for stage 2",
    "classifier": "the tag classifier",
    "recon.json": "how well its codes can paint masks",
    "density.json": "figures of the validation",
    "metrics.jsonl": "losses and validations by step",
    "pictures": "pictures of the validation",
    "checkpoints": "what --resume continues from",
    "config.yaml": "the settings",
}


def written(paths: Sequence[str | Path]) -> str:
    """Return a line for each file that was written."""
    return "\n".join(f"wrote {path}" for path in paths)


def command(*words: str | Path) -> str:
    """Return a command line that a shell reads back as these words."""
    return shlex.join(map(str, words))


def train_ending(stage: str, cfg: Any, out: str | Path, configs: Sequence[str] = ()) -> str:
    """Return what a training wrote, and what comes next.

    Args:
        stage: key of `gss.training.stages.STAGES`.
        cfg: its settings.
        out: run folder.
        configs: config files and overrides that it was called with.
    """
    folder = Path(out)
    lines = [f"wrote {folder}:"]
    lines += [f"  {name:14} {words}" for name, words in _PARTS.items() if (folder / name).exists()]
    data = _data(cfg)
    spec = ["--data", data[0], *(["--root", data[1]] if data[1] else [])]
    settings = [f"data.spec={data[0]}", *([f"data.root={data[1]}"] if data[1] else [])]
    if stage == "posterior":
        words = [*config_of_stage(configs, "prior"), *settings, f"posterior={folder}"]
        following = [command("gss", "train", "prior", *words, "--out", beside(folder, "prior"))]
    elif stage in ("density", "residual"):
        following = [command("gss", "predict", folder, "PHOTO.jpg", "--out", "masks")]
    elif stage == "weak-agmm" or stage == "weak-tags":
        following = [command("gss", "weak", "produce", folder, *spec, "--out", beside(folder, "pseudo"))]
    else:
        following = [
            command("gss", "evaluate", folder, *spec, "--html", folder / "report.html"),
            command("gss", "predict", folder, "PHOTO.jpg", "--out", "masks"),
        ]
    return "\n".join([*lines, *(f"{word} {line}" for word, line in zip(("next:", "then:"), following, strict=False))])


def _data(cfg: Any) -> tuple[str, str | None]:
    """Return the data set and its folder as a command takes them."""
    data = cfg.data
    if data.root and data.spec == type(data).spec:
        return str(data.root), None
    return str(data.spec), None if data.root is None else str(data.root)


def beside(folder: Path, name: str) -> Path:
    """Return a folder of another name beside one; one more where the name is taken by this one."""
    return folder.parent / (name if folder.name != name else f"{name}_2")
