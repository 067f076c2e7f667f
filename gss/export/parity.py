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
from gss.export.runtime import OnnxJoint
from gss.labels.space import IGNORE_INDEX
from gss.metrics.segmentation import SegmentationMetrics
from gss.models.joint import JointContext, JointPriorModel
from gss.pipeline.processor import load_images, resize_images

LEAST_EQUAL = 0.9999
MOST_DIFFERENT = 1e-4

KNOWN_SHARES = (0.0, 0.3, 0.9)
"""Shares of the known cells that files of a joint prior are compared at."""

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
class JointAgreement(Record):
    """Comparison of the files of a joint prior with PyTorch, with 0, 30 and 90 % of the cells known.

    Attributes:
        tokens_equal: share of the unknown cells with the same most probable token, 0..1.
        probability_difference: largest difference of the probability of a token.
        torch_seconds: processor time of one image and one step in PyTorch, in seconds.
        seconds: that of the two files.
    """

    tokens_equal: float
    probability_difference: float
    torch_seconds: float
    seconds: float

    def check(self, names: str) -> None:
        """Require that the files say what PyTorch says.

        Raises:
            InputError: they do not; names the figures.
        """
        if self.probability_difference > MOST_DIFFERENT:
            raise InputError(
                f"{names} are not what the joint prior is: probabilities of tokens differ by up to "
                f"{self.probability_difference:.2g} (allowed is {MOST_DIFFERENT:g}); they were removed"
            )


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
        joint: agreement of the files of the joint prior; None without them.
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
    joint: JointAgreement | None = None

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


@torch.no_grad()
def measure_joint(
    joint: JointPriorModel,
    encode: Callable[[Tensor], JointContext],
    runner: OnnxJoint,
    images: Iterable[Any],
    size: tuple[int, int],
) -> JointAgreement:
    """Run a joint prior in PyTorch and as two files on the same images and known cells.

    Args:
        joint: the joint prior, in evaluation mode.
        encode: function from an image `[1, 3, H, W]` to its context in PyTorch.
        runner: the files.
        images: images in any form that a pipeline takes.
        size: (H, W) that images are resized to.
    """
    generator = torch.Generator().manual_seed(0)
    equal = cells = 0
    difference = 0.0
    seconds = {"torch": 0.0, "files": 0.0}
    steps = 0
    for image in images:
        pixels = resize_images(load_images(image)[0][None], size)
        best = encode(pixels).base.argmax(1)  # type: ignore[union-attr]
        for known in KNOWN_SHARES:
            hidden = torch.rand(best.shape, generator=generator) >= known
            tokens = best.masked_fill(hidden, joint.mask_token)
            logits: dict[str, Tensor] = {}
            for name, read, model in (("torch", encode, joint), ("files", runner.encode, runner)):
                started = time.process_time()
                logits[name] = model(tokens, read(pixels)).token_logits.movedim(1, -1)[hidden]  # [M, V]
                seconds[name] += time.process_time() - started
            steps += 1
            equal += int((logits["torch"].argmax(1) == logits["files"].argmax(1)).sum())
            cells += len(logits["torch"])
            spread = (logits["torch"].softmax(1) - logits["files"].softmax(1)).abs()
            difference = max(difference, float(spread.max()) if spread.numel() else 0.0)
    taken = {name: round(value / max(1, steps), 4) for name, value in seconds.items()}
    return JointAgreement(equal / max(1, cells), difference, taken["torch"], taken["files"])


def _difference(first: Mapping[str, Tensor], second: Mapping[str, Tensor], name: str) -> float:
    return float((first[name].float() - second[name].float()).abs().max())


def _resized(labels: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Return labels `[1, H, W]` at a size; void stays void."""
    values = torch.from_numpy(np.where(labels == IGNORE_INDEX, IGNORE_INDEX, labels).astype(np.float32))
    return F.interpolate(values[None, None], size=size, mode="nearest-exact")[0].long()
