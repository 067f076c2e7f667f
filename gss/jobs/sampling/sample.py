"""`gss sample`: several masks of each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gss.core.records import Record
from gss.data.files import output_names
from gss.data.images import load_image
from gss.jobs.sampling.files import (
    Draws,
    Failure,
    generator_of,
    information_map,
    mask_pictures,
    run_items,
    sheet,
    write_pictures,
)
from gss.pipeline.outputs import index_image
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.sampling.regions import Region
from gss.report.pictures import colorize, overlay

MOST_SHOWN = 8
"""Largest number of hypotheses on a contact sheet."""


@dataclass(frozen=True)
class SampledImage(Record):
    """Hypotheses of one image.

    Attributes:
        image: path of the image.
        size: (H, W) in pixels.
        files: kind of picture to its file name in the output folder; numbers are those of the hypotheses.
        agreement: share of the hypotheses that show the consensus, mean over the pixels.
        information: mutual information of class and hypothesis, mean over the pixels, in nats.
        regions: regions to check first.
    """

    image: str
    size: tuple[int, int]
    files: dict[str, str]
    agreement: float
    information: float
    regions: list[Region]


def sample_images(
    pipeline: GSSPipeline,
    paths: Sequence[Path],
    out: Path,
    draws: Draws,
    *,
    facts: Mapping[str, Any],
) -> tuple[list[SampledImage], list[Failure]]:
    """Draw n masks of each image and write pictures and `samples.json` into `out`.

    Args:
        pipeline: pipeline with a joint prior.
        paths: image files.
        out: existing folder.
        draws: number, steps, seed, scheduler and size to run at.
        facts: content of the head of the JSON file.
    """
    names = output_names(paths)

    def draw(index: int) -> SampledImage:
        image = load_image(paths[index])
        output = pipeline.sample(
            [image],
            n=draws.n,
            steps=draws.steps,
            generator=[generator_of(draws.seed, index)],
            scheduler=draws.scheduler,
            size=draws.size,
        )
        masks, consensus = np.asarray(output.masks[0]), np.asarray(output.consensus[0])
        information, agreement = np.asarray(output.mutual_information[0]), np.asarray(output.agreement[0])
        shown = {f"mask {number}": colorize(mask, pipeline.colors) for number, mask in enumerate(masks[:MOST_SHOWN], 1)}
        certain = np.where(agreement == 1, consensus, 255).astype(np.uint8)
        agreed = {
            "what all agree on": overlay(image, certain, pipeline.colors, clear=pipeline.background),
            "bright: where they differ": information_map(information),
        }
        pictures = mask_pictures(masks, pipeline.colors) | {
            "_consensus.png": index_image(consensus, pipeline.colors),
            "_information.png": information_map(information),
            "_sheet.jpg": sheet(
                {"image": image, **shown, **agreed}, masks[:MOST_SHOWN], pipeline.id2label, pipeline.colors
            ),
        }
        return SampledImage(
            image=str(paths[index]),
            size=(image.height, image.width),
            files=write_pictures(out / names[index], pictures),
            agreement=float(agreement.mean(dtype=np.float64)),
            information=float(information.mean(dtype=np.float64)),
            regions=output.regions[0],
        )

    return run_items(
        len(paths),
        draw,
        lambda index: str(paths[index]),
        title="sampling",
        out=out,
        file="samples.json",
        facts={**facts, **draws.facts},
    )
