"""Parity: does an exported file say what the pipeline says, on images, and what do 8-bit integers cost?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gss.core.errors import InputError
from gss.core.records import Record
from gss.export.graph import PipelineGraph
from gss.labels.space import IGNORE_INDEX
from gss.metrics.segmentation import SegmentationMetrics
from gss.pipeline.processor import load_images, resize_images

LEAST_EQUAL = 0.9999
MOST_DIFFERENT = 1e-4

Runner = Callable[[Tensor], Mapping[str, Tensor]]
"""Function from an image `[1, 3, H, W]` to the outputs of `PipelineGraph` by name."""


@dataclass(frozen=True)
class Agreement(Record):
    """Comparison of one way to run a graph with PyTorch.

    Attributes:
        labels_equal: share of the pixels with the same label, 0..1.
        probability_difference: largest difference of a class probability.
        score_difference: largest difference of the score, relative to the largest value of PyTorch's.
        miou: mean IoU against the truth; None without labels.
        seconds: processor time of an image, in seconds.
    """

    labels_equal: float
    probability_difference: float
    score_difference: float
    miou: float | None
    seconds: float


@dataclass(frozen=True)
class Parity(Record):
    """Result of `measure_parity`, written beside an exported file.

    Attributes:
        images: number of images.
        source: where the images came from.
        size: (H, W) that they were resized to.
        decode: decode mode.
        score: out-of-distribution score.
        torch_miou: mean IoU of the pipeline in PyTorch against the truth; None without labels.
        torch_seconds: processor time of an image in PyTorch, in seconds.
        runs: name of a file to its agreement with PyTorch.
    """

    schema_version = 1

    images: int
    source: str
    size: tuple[int, int]
    decode: str
    score: str
    torch_miou: float | None
    torch_seconds: float
    runs: dict[str, Agreement]

    def check(self, name: str) -> None:
        """Require that a file says what PyTorch says.

        Raises:
            InputError: it does not; names the figures.
        """
        found = self.runs[name]
        if found.labels_equal < LEAST_EQUAL or found.probability_difference > MOST_DIFFERENT:
            raise InputError(
                f"{name} is not what the pipeline is: {100 * found.labels_equal:.3f} % of the labels are equal, and "
                f"probabilities differ by up to {found.probability_difference:.2g} (required are "
                f"{100 * LEAST_EQUAL:g} % and {MOST_DIFFERENT:g}); it was removed"
            )


class _Counts:
    """Sums of one comparison."""

    def __init__(self, classes: int) -> None:
        self.equal = self.pixels = 0
        self.probability = self.score = self.seconds = 0.0
        self.metrics = SegmentationMetrics(classes)

    def agreement(self, images: int, *, labelled: bool) -> Agreement:
        return Agreement(
            labels_equal=self.equal / max(1, self.pixels),
            probability_difference=self.probability,
            score_difference=self.score,
            miou=self.metrics.compute()["miou"] if labelled else None,
            seconds=round(self.seconds / max(1, images), 4),
        )


@torch.no_grad()
def measure_parity(
    graph: PipelineGraph,
    runners: Mapping[str, Runner],
    images: Iterable[tuple[Any, np.ndarray | None]],
    size: tuple[int, int],
    *,
    classes: int,
    source: str,
) -> Parity:
    """Run a graph in PyTorch and in other ways on the same images.

    Args:
        graph: the graph, in evaluation mode.
        runners: other ways by name.
        images: images in any form that a pipeline takes, with labels `[H, W]` or None.
        size: (H, W) that images are resized to.
        classes: number of classes.
        source: where the images came from.

    Raises:
        InputError: there is no image.
    """
    counts = {name: _Counts(classes) for name in ("torch", *runners)}
    number, labelled = 0, True
    for image, labels in images:
        pixels = resize_images(load_images(image)[0][None], size)
        truth = None if labels is None else _resized(labels, size)
        labelled, number = labelled and truth is not None, number + 1
        expected: Mapping[str, Tensor] = {}
        for name, count in counts.items():
            started = time.process_time()
            out = dict(zip(graph.outputs, graph(pixels), strict=True)) if name == "torch" else runners[name](pixels)
            count.seconds += time.process_time() - started
            expected = expected or out
            count.equal += int((out["labels"] == expected["labels"]).sum())
            count.pixels += expected["labels"].numel()
            count.probability = max(count.probability, _difference(out, expected, "probabilities"))
            largest = max(float(expected["ood"].abs().max()), 1e-12)
            count.score = max(count.score, _difference(out, expected, "ood") / largest)
            if truth is not None:
                count.metrics.update(out["labels"].long(), truth)
    if not number:
        raise InputError("there is no image to compare an exported file on: name some with --images or --data")
    results = {name: count.agreement(number, labelled=labelled) for name, count in counts.items()}
    torch_run = results.pop("torch")
    return Parity(number, source, size, graph.mode, graph.score, torch_run.miou, torch_run.seconds, results)


def _difference(first: Mapping[str, Tensor], second: Mapping[str, Tensor], name: str) -> float:
    return float((first[name].float() - second[name].float()).abs().max())


def _resized(labels: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Return labels `[1, H, W]` at a size; void stays void."""
    values = torch.from_numpy(np.where(labels == IGNORE_INDEX, IGNORE_INDEX, labels).astype(np.float32))
    return F.interpolate(values[None, None], size=size, mode="nearest-exact")[0].long()
