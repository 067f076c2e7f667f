"""What the sampling jobs share: random sources, pictures, results of images that failed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from gss.core.distributed import gather_objects, is_main, shard
from gss.core.errors import InputError
from gss.core.files import is_disk_error, write_json
from gss.core.records import Record
from gss.labels.space import IGNORE_INDEX
from gss.pipeline.outputs import index_image
from gss.pipeline.processor import RunSize
from gss.pipeline.sampling.scheduler import TokenScheduler
from gss.report.pictures import contact_sheet, heatmap, legend, save_picture

Item = TypeVar("Item", bound=Record)

_UNKNOWN = (0, 0, 0)  # as `colorize` paints it

INFORMATION_SCALE = 0.7
"""Mutual information, in nats, of the brightest colour of its maps: two hypotheses of two that differ have log 2."""


@dataclass(frozen=True)
class Failure(Record):
    """An image or mask without a result.

    Attributes:
        name: file, or name in the data set.
        error: reason, in one line.
    """

    name: str
    error: str


@dataclass(frozen=True)
class Draws:
    """How masks are drawn.

    Attributes:
        n: number of masks or paths.
        steps: number of steps.
        seed: seed of all random numbers; mask i does not depend on n.
        scheduler: order and schedule.
        size: (H, W) of generated masks, or the size to run at, see `GSSPipeline.__call__`.
    """

    n: int
    steps: int
    seed: int
    scheduler: TokenScheduler
    size: RunSize = None

    @property
    def facts(self) -> dict[str, Any]:
        """What the JSON file says about them."""
        settings = {name: value for name, value in self.scheduler.config.items() if not name.startswith("_")}
        return {"n": self.n, "steps": self.steps, "seed": self.seed, "scheduler": settings}


def generator_of(seed: int, index: int) -> torch.Generator:
    """Return the random source of the item of a number: a function of both, whatever else is drawn."""
    return torch.Generator().manual_seed(
        int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 1)
    )


def run_items(
    count: int,
    draw: Callable[[int], Item],
    name: Callable[[int], str],
    *,
    title: str,
    out: Path,
    file: str,
    facts: Mapping[str, Any],
) -> tuple[list[Item], list[Failure]]:
    """Draw items shared among all processes and write `file`, with a progress bar.

    An item that cannot be read, drawn or written is reported, and the others are done.

    Args:
        count: number of items.
        draw: function from the number of an item to its result, which writes its pictures.
        name: function from the number of an item to its name, for failures.
        title: text of the progress bar.
        out: folder of the JSON file.
        file: name of the JSON file.
        facts: further content of the JSON file.

    Returns:
        Results and failures of all processes, in order.

    Raises:
        OSError: the disk is full, or another fault that every further item would meet.
    """
    done: dict[int, Item | Failure] = {}
    for index in tqdm(shard(count), desc=title, unit="image", disable=not is_main()):
        try:
            done[index] = draw(index)
        except (InputError, OSError) as error:
            if is_disk_error(error):
                raise
            reason = " ".join(str(error).split())
            done[index] = Failure(name(index), reason)
    merged = {index: record for part in gather_objects(done) for index, record in part.items()}
    records = [merged[index] for index in sorted(merged)]
    failed = [record for record in records if isinstance(record, Failure)]
    kept = [record for record in records if not isinstance(record, Failure)]
    if is_main():
        parts = {"items": [record.to_json() for record in kept], "failed": [record.to_json() for record in failed]}
        write_json(out / file, {"schema_version": 1, **facts, **parts})
    return kept, failed


def write_pictures(target: Path, pictures: Mapping[str, Image.Image]) -> dict[str, str]:
    """Write pictures, `target` with an ending each: all, or none if one cannot be written.

    Args:
        target: path without ending.
        pictures: ending, such as "_mask.png", to picture.

    Returns:
        Ending without suffix and underscore to file name.
    """
    files = {Path(ending).stem.strip("_"): target.name + ending for ending in pictures}
    try:
        for ending, picture in pictures.items():
            save_picture(target.with_name(target.name + ending), picture, quality=92)
    except BaseException:
        for name in files.values():
            with contextlib.suppress(OSError):
                target.with_name(name).unlink(missing_ok=True)
        raise
    return files


def mask_pictures(masks: np.ndarray, colors: np.ndarray) -> dict[str, Image.Image]:
    """Return indexed pictures of masks `[n, H, W]` by ending, `_1.png` to `_n.png`."""
    digits = len(str(len(masks)))
    return {f"_{number:0{digits}}.png": index_image(mask, colors) for number, mask in enumerate(masks, 1)}


def information_map(information: np.ndarray) -> Image.Image:
    """Paint mutual information `[H, W]`, from 0 to `INFORMATION_SCALE` nats."""
    return heatmap(information, low=0, high=INFORMATION_SCALE, palette="magma")


def class_table(shares: Sequence[float], id2label: Mapping[int, str]) -> dict[str, float]:
    """Return class name to share, the largest first, without absent classes."""
    order = np.argsort(-np.asarray(shares), kind="stable")
    return {id2label[int(index)]: float(shares[index]) for index in order if shares[index] > 0}


def sheet(
    pictures: Mapping[str, Image.Image],
    masks: Iterable[np.ndarray],
    id2label: Mapping[int, str],
    colors: np.ndarray,
    *,
    columns: int = 4,
) -> Image.Image:
    """Draw pictures row by row, each with its title under it, and below them the colours of the classes that they show.

    Args:
        pictures: title to picture.
        masks: the label maps `[H, W]` among them, 255 where unknown.
        id2label: class names by index.
        colors: uint8 `[K, 3]`, colours of the classes.
        columns: pictures of a row.
    """
    titles, cells = list(pictures), list(pictures.values())
    starts = range(0, len(cells), columns)
    captions = [titles[start : start + columns] for start in starts]
    grid = contact_sheet([cells[start : start + columns] for start in starts], captions=captions)
    shown = sorted({int(label) for mask in masks for label in np.unique(mask)})
    names = [id2label.get(label, "unknown") for label in shown]
    chips = [_UNKNOWN if label == IGNORE_INDEX else colors[label] for label in shown]
    key = legend(names, chips, columns=max(1, grid.width // 180), width=grid.width)
    canvas = Image.new("RGB", (grid.width, grid.height + key.height), "white")
    canvas.paste(grid, (0, 0))
    canvas.paste(key, (0, grid.height))
    return canvas
