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

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from gss.config.shared import DataConfig, OptimConfig, TrainConfig
from gss.core import distributed
from gss.core.files import write_json
from gss.data.open import training_files
from gss.report.tables import Cell, Table
from gss.training.engine.loop import fit
from gss.training.engine.run_folder import DATA_FILE
from gss.training.engine.sources import Source
from gss.training.engine.task import Task

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
        path = Path(out) / DATA_FILE
        if not resume or not path.exists():  # a kill may come before it is written
            write_json(path, files.to_json())
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


_TABLE_METRICS = {"miou": "mIoU", "boundary_f": "boundary F"}
_TABLE_NOTES = (
    "In percent, on unseen images. mIoU: overlap of predicted and true regions, mean over the classes. Boundary F: "
    "share of borders that are met within 3 pixels. Decode: how tokens become classes, aux without tokens.",
)


def figures_text(figures: dict[str, float]) -> str:
    """Return validation figures for people: a table of what is measured by decode mode, then lines of the rest."""
    rows: dict[str, dict[str, float]] = {}
    others: dict[str, float] = {}
    notes = list(_TABLE_NOTES)
    for name, value in figures.items():
        if name.endswith("_classes"):
            notes.append(
                f"The means of {name.removesuffix('_classes')} go over {value:.0f} classes; others occur nowhere."
            )
            continue
        match = re.fullmatch(rf"(.+)_({'|'.join(_TABLE_METRICS)})(/.+)?", name)
        if match:
            rows.setdefault(f"{match[1]}{match[3] or ''}", {})[match[2]] = value
        else:
            others[name] = value
    parts = []
    if rows:
        keys = [key for key in _TABLE_METRICS if any(key in values for values in rows.values())]
        cells: list[list[Cell]] = [
            [name, *(None if math.isnan(values.get(key, math.nan)) else values[key] for key in keys)]
            for name, values in rows.items()
        ]
        titles = [_TABLE_METRICS[key] for key in keys]
        formats = dict.fromkeys(titles, ".1%")
        parts.append(Table("Validation", ["decode", *titles], cells, notes=notes, formats=formats).text())
    if others:
        parts.append(figures_line(others))
    return "\n".join(parts)


def figures_line(figures: dict[str, float]) -> str:
    """Return validation figures as one line of text; `-` stands for what could not be measured."""
    return "  ".join(f"{name} {'-' if value != value else f'{value:.4f}'}" for name, value in figures.items())


def report(say: Say, text: str | dict[str, float]) -> None:
    """Hand figures or a text to `say`, on the main process only; nothing for a stage without figures."""
    line = text if isinstance(text, str) else figures_text(text)
    if line and distributed.is_main():
        say(line)


def quiet(text: str) -> None:
    """Say nothing."""
