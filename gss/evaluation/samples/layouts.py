"""Masks drawn without image, against real ones that were not trained on, and against baselines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from gss.core.distributed import is_main, shard
from gss.core.records import Record
from gss.core.sampling import evenly_spaced
from gss.data.protocols import ReadableImages
from gss.evaluation.samples.protocol import SampleProtocol
from gss.labels.space import IGNORE_INDEX
from gss.metrics import LayoutStatistics, MaskDistances
from gss.metrics.layouts.neighbours import NearestResult, NeighbourResult, nearest_figures, neighbour_figures
from gss.metrics.layouts.statistics import LayoutDistance
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.sampling.painting import paint
from gss.report.pictures import colorize

NEIGHBOURS = 5
SETS = ("joint", "unigram", "train", "held out")
"""Sets that are compared with real test masks: of the joint prior; cells drawn independently by the frequency of codes;
training masks, which no generator can beat; one half of the test masks against the other, at the size of
`MaskDistances`."""


@dataclass(frozen=True)
class LayoutResult(Record):
    """One set of masks against the real test masks.

    Attributes:
        distance: distances of class histograms, neighbouring classes and shapes.
        neighbours: precision, recall, density and coverage.
        nearest: distance from the nearest training mask; None for the training masks.
    """

    distance: LayoutDistance
    neighbours: NeighbourResult
    nearest: NearestResult | None


class _Set:
    """Masks with what is measured of them."""

    def __init__(self, num_classes: int) -> None:
        self.statistics, self.small = LayoutStatistics(num_classes), MaskDistances(num_classes)

    def add(self, mask: np.ndarray) -> None:
        self.statistics.update(mask)
        self.small.update(mask)

    def sum_across(self) -> None:
        self.statistics.sum_across()
        self.small.sum_across()


def measure_layouts(
    pipeline: GSSPipeline,
    test: ReadableImages,
    train: ReadableImages,
    protocol: SampleProtocol,
    *,
    pictures: int = 6,
    progress: bool = False,
) -> tuple[dict[str, LayoutResult], list[tuple[Image.Image, str]]]:
    """Measure generated masks; the result is the same on every process.

    Masks have the size of the first test mask.

    Args:
        pipeline: pipeline with a joint prior.
        test: real masks that were not trained on.
        train: training masks.
        protocol: numbers of masks, steps, seed.
        pictures: number of generated masks to show.
        progress: show a progress bar on the main process.

    Returns:
        Result by set, see `SETS`; and pictures with captions: generated masks, each with its nearest training mask on
        its right.
    """
    count = len(pipeline.id2label)
    size = test.read(0)[1].shape

    # 1. All sets; each process adds its share.
    sets: dict[str, _Set] = {}
    for name, masks in {
        "test": _real(test, protocol.real),
        "train": _real(train, protocol.real),
        "joint": _generated(pipeline, (size[0], size[1]), protocol, progress=progress),
        "unigram": _unigram(pipeline, (size[0], size[1]), protocol),
    }.items():
        sets[name] = _Set(count)
        for mask in masks:
            if (mask != IGNORE_INDEX).any():
                sets[name].add(mask)
    for part in sets.values():
        part.sum_across()

    # 2. One half of the test masks against the other.
    real = sets["test"]
    halves = [_half(real, start, count) for start in (0, 1)]

    # 3. Every set against the test masks.
    between_train = sets["train"].small.compute(sets["train"].small)
    results = {}
    for name in SETS:
        first, other = (halves[0], halves[1]) if name == "held out" else (sets[name], real)
        results[name] = LayoutResult(
            distance=first.statistics.compute(other.statistics),
            neighbours=neighbour_figures(
                other.small.compute(other.small),
                other.small.compute(first.small),
                first.small.compute(first.small),
                NEIGHBOURS,
            ),
            nearest=None
            if name == "train"
            else nearest_figures(first.small.compute(sets["train"].small), between_train),
        )
    return results, _pairs(sets, results["joint"], pipeline.colors, pictures)


def _pairs(
    sets: dict[str, _Set], result: LayoutResult, colors: np.ndarray, count: int
) -> list[tuple[Image.Image, str]]:
    """Return the first generated masks beside their nearest training masks, as they are kept."""
    if result.nearest is None:
        return []
    generated, train = (sets[name].small.rows().numpy() for name in ("joint", "train"))
    pairs = []
    for mask, index, distance in zip(generated[:count], result.nearest.index, result.nearest.distance, strict=False):
        between = np.full((mask.shape[0], 2), IGNORE_INDEX, np.uint8)
        both = colorize(np.concatenate([mask, between, train[index]], 1), colors, void=(255, 255, 255))
        large = both.resize((4 * both.width, 4 * both.height), Image.Resampling.NEAREST)
        pairs.append((large, f"{distance:.0%} of the pixels differ"))
    return pairs


def _real(dataset: ReadableImages, limit: int) -> Iterator[np.ndarray]:
    chosen = evenly_spaced(len(dataset), limit)
    read = getattr(dataset, "read_labels", None)
    for position in shard(len(chosen)):
        index = chosen[position]
        yield dataset.read(index)[1] if read is None else read(index)


def _generated(
    pipeline: GSSPipeline, size: tuple[int, int], protocol: SampleProtocol, *, progress: bool
) -> Iterator[np.ndarray]:
    for number in tqdm(shard(protocol.generated), unit="mask", desc="generate", disable=not (progress and is_main())):
        output = pipeline.generate(
            1, size, steps=2 * protocol.steps, window_size=size, generator=protocol.generator(6, number)
        )
        yield np.asarray(output.masks[0])


def _unigram(pipeline: GSSPipeline, size: tuple[int, int], protocol: SampleProtocol) -> Iterator[np.ndarray]:
    stride = pipeline.joint.token_stride
    cells = (-(-size[0] // stride), -(-size[1] // stride))
    chances = pipeline.joint.token_log_share.exp().cpu()
    for number in shard(protocol.generated):
        drawn = torch.multinomial(
            chances, cells[0] * cells[1], replacement=True, generator=protocol.generator(7, number)
        )
        tokens = drawn.view(1, *cells).to(pipeline.likelihood.table.device)
        yield paint(pipeline.likelihood, tokens, content_size=size, original_size=size).masks[0].cpu().numpy()


def _half(masks: _Set, start: int, num_classes: int) -> _Set:
    """Return every other mask of a set, from its small masks."""
    half = _Set(num_classes)
    for mask in masks.small.rows()[start::2]:
        half.add(mask.numpy())
    return half
