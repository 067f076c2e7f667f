"""`gss generate`: masks without an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gss.core.records import Record
from gss.jobs.sampling.files import (
    Failure,
    class_table,
    generator_of,
    run_items,
    scheduler_settings,
    sheet,
    write_pictures,
)
from gss.pipeline.outputs import index_image
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.sampling.scheduler import TokenScheduler
from gss.report.pictures import colorize, save_picture

MOST_SHOWN = 30
"""Largest number of masks on the contact sheet."""


@dataclass(frozen=True)
class GeneratedMask(Record):
    """One mask.

    Attributes:
        files: kind of picture to its file name in the output folder.
        proportions: share of the pixels by class name, the largest first.
    """

    files: dict[str, str]
    proportions: dict[str, float]


def generate_masks(
    pipeline: GSSPipeline,
    out: Path,
    *,
    n: int,
    size: tuple[int, int] | None,
    proportions: Mapping[str, float] | None,
    steps: int,
    seed: int,
    scheduler: TokenScheduler,
    window_size: tuple[int, int] | None = None,
    facts: Mapping[str, Any],
) -> tuple[list[GeneratedMask], list[Failure]]:
    """Draw n masks and write them, a contact sheet and `generated.json` into `out`.

    Args:
        pipeline: pipeline with a joint prior.
        out: existing folder.
        n: number of masks.
        size: (H, W) of the masks; that of a window if None.
        proportions: wanted share of the pixels by class name.
        steps: number of steps.
        seed: seed of all random numbers; mask i does not depend on n.
        scheduler: order and schedule.
        window_size: (H, W) of windows; the processor's if None.
        facts: content of the head of the JSON file.
    """
    digits = len(str(n))
    shown: dict[str, Image.Image] = {}

    def draw(index: int) -> GeneratedMask:
        output = pipeline.generate(
            1,
            size,
            proportions,
            steps,
            generator=generator_of(seed, index),
            scheduler=scheduler,
            window_size=window_size,
        )
        mask, name = np.asarray(output.masks[0]), f"mask_{index + 1:0{digits}}"
        if len(shown) < MOST_SHOWN:
            shown[name.removeprefix("mask_")] = colorize(mask, pipeline.colors)
        files = write_pictures(out / name, {".png": index_image(mask, pipeline.colors)})
        return GeneratedMask(
            {"mask": next(iter(files.values()))}, class_table(output.proportions[0], pipeline.id2label)
        )

    done = run_items(
        n,
        draw,
        lambda index: f"mask {index + 1}",
        title="generating",
        out=out,
        file="generated.json",
        facts={
            **facts,
            "n": n,
            "steps": steps,
            "seed": seed,
            "proportions": proportions,
            "scheduler": scheduler_settings(scheduler),
        },
    )
    if shown:
        save_picture(out / "sheet.png", sheet(shown, columns=6))
    return done
