"""`gss generate`: masks without an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gss.core.records import Record
from gss.jobs.sampling.files import (
    Draws,
    Failure,
    class_table,
    generator_of,
    run_items,
    sheet,
    write_pictures,
)
from gss.pipeline.outputs import index_image
from gss.pipeline.pipeline import GSSPipeline
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
    draws: Draws,
    *,
    proportions: Mapping[str, float] | None,
    window_size: tuple[int, int] | None = None,
    facts: Mapping[str, Any],
) -> tuple[list[GeneratedMask], list[Failure]]:
    """Draw n masks and write them, a contact sheet and `generated.json` into `out`.

    Args:
        pipeline: pipeline with a joint prior.
        out: existing folder.
        draws: number, steps, seed, scheduler and (H, W) of the masks; without a size, that of a window.
        proportions: wanted share of the pixels by class name.
        window_size: (H, W) of windows; the processor's if None.
        facts: content of the head of the JSON file.
    """
    digits = len(str(draws.n))
    size = draws.size if isinstance(draws.size, tuple) else None
    shown: dict[str, np.ndarray] = {}

    def draw(index: int) -> GeneratedMask:
        output = pipeline.generate(
            1,
            size,
            proportions,
            draws.steps,
            generator=generator_of(draws.seed, index),
            scheduler=draws.scheduler,
            window_size=window_size,
        )
        mask, name = np.asarray(output.masks[0]), f"mask_{index + 1:0{digits}}"
        if len(shown) < MOST_SHOWN:
            shown[name.replace("_", " ")] = mask
        files = write_pictures(out / name, {".png": index_image(mask, pipeline.colors)})
        return GeneratedMask(
            {"mask": next(iter(files.values()))}, class_table(output.proportions[0], pipeline.id2label)
        )

    done = run_items(
        draws.n,
        draw,
        lambda index: f"mask {index + 1}",
        title="generating",
        out=out,
        file="generated.json",
        facts={**facts, **draws.facts, "proportions": proportions},
    )
    if shown:
        pictures = {name: colorize(mask, pipeline.colors) for name, mask in shown.items()}
        whole = sheet(pictures, shown.values(), pipeline.id2label, pipeline.colors, columns=6)
        save_picture(out / "sheet.png", whole)
    return done
