"""The steps that every stage of training has in common.

An entry point reads:

    seed_stage(cfg)                                # processes and random numbers
    splits = open_splits(cfg.data, ...)            # data, checked
    task = SomeTask(cfg, splits.plain, splits.val)
    sources = partial(split_sources, splits)       # what a resumed run compares
    figures = train_task(cfg, task, splits.augmented, out, sources=sources, resume=resume)
    report(say, figures)

What a stage tells its user goes to `say`; the caller prints it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from gss.config.shared import DataConfig, OptimConfig, TrainConfig
from gss.core import distributed
from gss.core.files import write_json
from gss.data.open import training_files
from gss.training.engine.loop import fit
from gss.training.engine.sources import Source
from gss.training.engine.task import Task

DATA_FILE = "data.json"
"""File of a run folder that counts the files of the training data set, used and not."""

Say = Callable[[str], None]
"""Receives what a stage tells its user, such as `print`."""


class StageConfig(Protocol):
    """Sections that the settings of every stage have."""

    data: DataConfig
    optim: OptimConfig
    train: TrainConfig


def seed_stage(cfg: StageConfig) -> None:
    """Open the process group and seed the global generators; call it before any weight is drawn.

    Quantisers ask when they are built whether other processes share their codebook.
    """
    distributed.num_processes()
    torch.manual_seed(cfg.train.seed)


def train_task(
    cfg: StageConfig,
    task: Task,
    samples: Any,
    out: str | Path,
    *,
    sources: Callable[[], list[Source]],
    resume: bool = False,
) -> dict[str, float]:
    """Train a task with the settings of its stage.

    Args:
        cfg: settings of the stage; saved with the run and compared on a resume.
        task: task with its initial weights, on the CPU.
        samples: training samples, see `fit`.
        out: run folder.
        sources: reads the inputs of the run, which a resumed run compares; called on the main process.
        resume: continue from the newest checkpoint.

    Returns:
        Figures of the last validation.
    """
    read = []
    if distributed.is_main():
        files = training_files(cfg.data)
        if not resume:
            write_json(Path(out) / DATA_FILE, files.to_json())
        read = sources()
    return fit(
        task,
        samples,
        optim=cfg.optim,
        train=cfg.train,
        out=Path(out),
        workers=cfg.data.workers,
        resume=resume,
        config=cfg,
        sources=distributed.gather_objects(read)[0],
    )


def figures_line(figures: dict[str, float]) -> str:
    """Return validation figures as one line of text; `-` stands for what could not be measured."""
    return "  ".join(f"{name} {'-' if value != value else f'{value:.4f}'}" for name, value in figures.items())


def report(say: Say, text: str | dict[str, float]) -> None:
    """Hand figures or a text to `say`, on the main process only; nothing for a stage without figures."""
    line = text if isinstance(text, str) else figures_line(text)
    if line and distributed.is_main():
        say(line)


def quiet(text: str) -> None:
    """Say nothing."""
