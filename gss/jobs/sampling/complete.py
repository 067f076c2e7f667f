"""`gss complete`: the rest of partial masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gss.core.errors import InputError
from gss.core.records import Record
from gss.data.files import output_names
from gss.data.images import load_image, load_mask
from gss.data.protocols import ReadableImages
from gss.jobs.sampling.files import (
    Draws,
    Failure,
    generator_of,
    information_map,
    run_items,
    sheet,
    write_pictures,
)
from gss.labels.space import IGNORE_INDEX
from gss.pipeline.outputs import index_image
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.sampling.regions import Region
from gss.report.pictures import colorize


@dataclass(frozen=True)
class PartialMasks:
    """Partial masks and their images.

    Attributes:
        names: name of each mask, for messages.
        targets: name of each result, different for all.
        read: function from the number of a mask to its image, or None, and its labels uint8 `[H, W]`.
    """

    names: list[str]
    targets: list[str]
    read: Callable[[int], tuple[Image.Image | None, np.ndarray]]


@dataclass(frozen=True)
class CompletedMask(Record):
    """One completed mask.

    Attributes:
        mask: file or name of the partial mask.
        size: (H, W) in pixels.
        files: kind of picture to its file name in the output folder.
        given_share: share of the pixels that were given.
        whole_cells: number of cells given as a whole.
        part_cells: number of cells given in part.
        unexplained_cells: number of cells whose given pixels no code paints better than chance.
        confidence: mean confidence of the pixels that were not given; None if there were none.
        regions: regions to check first.
    """

    mask: str
    size: tuple[int, int]
    files: dict[str, str]
    given_share: float
    whole_cells: int
    part_cells: int
    unexplained_cells: int
    confidence: float | None
    regions: list[Region]


def mask_files(masks: Sequence[Path], images: Sequence[Path] | None) -> PartialMasks:
    """Pair mask files with images of the same name.

    Args:
        masks: files of label maps, 255 where unknown.
        images: image files; None completes the masks alone.

    Raises:
        InputError: a mask has no image of its name, or several.
    """
    pairs: list[Path | None] = [None] * len(masks)
    if images is not None:
        by_stem: dict[str, list[Path]] = {}
        for image in images:
            by_stem.setdefault(image.stem, []).append(image)
        for number, mask in enumerate(masks):
            matches = by_stem.get(mask.stem, [])
            if len(matches) != 1:
                found = f"{len(matches)} images are" if matches else "no image is"
                raise InputError(f"{mask}: {found} called {mask.stem!r}; give each mask the name of its image")
            pairs[number] = matches[0]

    def read(index: int) -> tuple[Image.Image | None, np.ndarray]:
        image = pairs[index]
        return None if image is None else load_image(image), load_mask(masks[index])

    return PartialMasks([str(mask) for mask in masks], output_names(masks), read)


def data_masks(dataset: ReadableImages, indices: Sequence[int], *, with_images: bool) -> PartialMasks:
    """Take partial masks from a data set, such as one with weak labels.

    Args:
        dataset: data set whose labels are 255 where unknown.
        indices: items to take.
        with_images: complete given the images too.
    """
    names = [str(dataset.ids[index]) for index in indices]

    def read(number: int) -> tuple[Image.Image | None, np.ndarray]:
        image, labels = dataset.read(indices[number])
        return image if with_images else None, labels

    return PartialMasks(names, output_names([Path(f"{name.replace('/', '_')}.png") for name in names]), read)


def complete_masks(
    pipeline: GSSPipeline,
    masks: PartialMasks,
    out: Path,
    draws: Draws,
    *,
    facts: Mapping[str, Any],
) -> tuple[list[CompletedMask], list[Failure]]:
    """Complete partial masks and write pictures and `completions.json` into `out`.

    Args:
        pipeline: pipeline with a joint prior.
        masks: partial masks.
        out: existing folder.
        draws: number, steps, seed, scheduler and size to run at.
        facts: content of the head of the JSON file.
    """

    def draw(index: int) -> CompletedMask:
        image, labels = masks.read(index)
        output = pipeline.complete(
            None if image is None else [image],
            [labels],
            n=draws.n,
            steps=draws.steps,
            generator=[generator_of(draws.seed, index)],
            scheduler=draws.scheduler,
            size=draws.size,
        )
        mask, confidence = np.asarray(output.masks[0]), np.asarray(output.confidence[0])
        information = information_map(np.asarray(output.mutual_information[0]))
        row = {} if image is None else {"image": image}
        row |= {"given": colorize(labels, pipeline.colors), "completed": colorize(mask, pipeline.colors)}
        pictures = {
            "_mask.png": index_image(mask, pipeline.colors),
            "_confidence.png": Image.fromarray((confidence * 255).round().clip(0, 255).astype(np.uint8)),
            "_information.png": information,
            "_sheet.jpg": sheet(
                {**row, "bright: where paths differ": information}, (labels, mask), pipeline.id2label, pipeline.colors
            ),
        }
        unknown = labels == IGNORE_INDEX
        return CompletedMask(
            mask=masks.names[index],
            size=(labels.shape[0], labels.shape[1]),
            files=write_pictures(out / masks.targets[index], pictures),
            given_share=output.given_share[0],
            whole_cells=output.whole_cells[0],
            part_cells=output.part_cells[0],
            unexplained_cells=output.unexplained_cells[0],
            confidence=float(confidence[unknown].mean(dtype=np.float64)) if unknown.any() else None,
            regions=output.regions[0],
        )

    return run_items(
        len(masks.names),
        draw,
        lambda index: masks.names[index],
        title="completing",
        out=out,
        file="completions.json",
        facts={**facts, **draws.facts},
    )
