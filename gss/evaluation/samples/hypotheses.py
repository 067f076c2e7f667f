"""Hypotheses of the joint prior beside those of independent cells and the one most probable mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from gss.core.records import Record
from gss.data.protocols import ReadableImages
from gss.evaluation.samples.protocol import SampleProtocol
from gss.labels.space import IGNORE_INDEX
from gss.metrics import (
    GeneralisedEnergyDistance,
    MatchedIoU,
    ModeCalibration,
    SegmentationMetrics,
    SeveralMasks,
    UncertaintyQuality,
)
from gss.metrics.base import CountMetric
from gss.metrics.hypotheses.energy import EnergyDistance
from gss.metrics.hypotheses.pairs import CONVENTIONS
from gss.metrics.hypotheses.several import SeveralResult
from gss.metrics.hypotheses.uncertainty import UncertaintyResult
from gss.metrics.layouts.statistics import class_shapes
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.sampling.outputs import HypothesesOutput
from gss.pipeline.sampling.painting import paint

SOURCES = ("joint", "factorised", "argmax")
"""Where hypotheses come from: the joint prior, independent cells (one step), the most probable class alone."""
DECODES = ("hard", "marginal", "refined")


@dataclass(frozen=True)
class SourceResult(Record):
    """Hypotheses of one source.

    Attributes:
        energy: energy distance by convention.
        matched_iou: mean IoU of the best matching with the truths.
        modes: found and expected share of each mode and their L1 distance; None where labels are not ambiguous.
        several: mIoU of the best of N and of the mean of N.
        components: number of connected components over that of the truth.
    """

    energy: dict[str, EnergyDistance]
    matched_iou: float | None
    modes: dict[str, Any] | None
    several: SeveralResult
    components: float | None


@dataclass(frozen=True)
class HypothesesResult(Record):
    """Hypotheses of all sources, and what they say of errors.

    Attributes:
        sources: result by source, see `SOURCES`.
        decodes: mIoU, boundary F-measure and calibration error by decode mode.
        uncertainty: by uncertainty, against the errors of `marginal`: `entropy` of the marginal, `mean_entropy` of the
            mean of the hypotheses, and their `mutual_information`.
        flips: classes that flip; empty where labels are not ambiguous.
    """

    sources: dict[str, SourceResult]
    decodes: dict[str, dict[str, float | None]]
    uncertainty: dict[str, UncertaintyResult]
    flips: tuple[str, ...]


class HypothesesCounts:
    """Counts over images.

    Args:
        pipeline: pipeline with a joint prior.
        dataset: images; with `modes` where labels are ambiguous.
        protocol: settings.
    """

    def __init__(self, pipeline: GSSPipeline, dataset: ReadableImages, protocol: SampleProtocol) -> None:
        self.pipeline, self.dataset, self.protocol = pipeline, dataset, protocol
        names = dataset.label_space.names
        flips = getattr(dataset, "flips", ())
        self.flips = tuple(names[flip.label] for flip in flips)
        classes = [number for flip in flips for number in (flip.label, flip.second)] or None
        count = len(names)
        numbers = tuple(number for number in (1, 4, 16, 64) if number <= protocol.n)
        self.numbers = numbers if numbers[-1] == protocol.n else (*numbers, protocol.n)
        self.metrics: dict[str, CountMetric] = {}
        for source in SOURCES:
            chosen = (1,) if source == "argmax" else self.numbers
            for convention in CONVENTIONS:
                metric = GeneralisedEnergyDistance(count, convention=convention, classes=classes)
                self.metrics[f"{source} {convention}"] = metric
            self.metrics[f"{source} matched"] = MatchedIoU(count, classes=classes)
            self.metrics[f"{source} several"] = SeveralMasks(count, chosen)
            if flips:
                self.metrics[f"{source} modes"] = ModeCalibration(count, 2 ** len(flips), classes=classes)
            self.metrics[f"{source} components"] = _ComponentSums()
        for mode in DECODES:
            self.metrics[f"decode {mode}"] = SegmentationMetrics(count)
        for name in ("entropy", "mean_entropy", "mutual_information"):
            self.metrics[f"uncertainty {name}"] = UncertaintyQuality()

    def update(self, index: int, image: Image.Image, labels: np.ndarray) -> HypothesesOutput:
        """Count one image; return the hypotheses of the joint prior."""
        # 1. Truths [m, H, W] with their probabilities.
        modes = getattr(self.dataset, "modes", None)
        truths, chances = (labels[None], np.ones(1)) if not self.flips or modes is None else modes(index)

        # 2. Maps of the decode modes, [K, H, W].
        maps = self.pipeline.predict_probabilities([image], modes=DECODES)
        for mode in DECODES:
            self._metric(f"decode {mode}").update(maps[mode][0].cpu(), labels)
        marginal = maps["marginal"][0].cpu()
        likely = marginal.argmax(0)

        # 3. Hypotheses of each source.
        size = self.pipeline.preprocess([image]).images[0].shape[-2:]
        joint = None
        for number, source in enumerate(SOURCES):
            if source == "argmax":
                masks, means = likely[None].numpy().astype(np.uint8), [likely]
            else:
                output = self.pipeline.sample(
                    [image],
                    n=self.protocol.n,
                    steps=self.protocol.steps if source == "joint" else 1,
                    generator=[self.protocol.generator(2, index, number)],
                )
                joint = output if source == "joint" else joint
                masks = np.asarray(output.masks[0])
                means = self._means(output, (size[0], size[1]), labels.shape)
            self._count(source, masks, means, truths, chances, labels)

        # 4. Uncertainty against the errors of the marginal.
        assert joint is not None
        mean = self._mean_probabilities(joint, (size[0], size[1]), labels.shape, self.protocol.n)
        values = {
            "entropy": torch.special.entr(marginal).sum(0),
            "mean_entropy": torch.special.entr(mean).sum(0),
            "mutual_information": torch.as_tensor(np.asarray(joint.mutual_information[0])),
        }
        for name, value in values.items():
            self._metric(f"uncertainty {name}").update(value, likely, labels)
        return joint

    def _metric(self, name: str) -> Any:
        return self.metrics[name]

    def _count(
        self,
        source: str,
        masks: np.ndarray,
        means: Sequence[Any],
        truths: np.ndarray,
        chances: np.ndarray,
        labels: np.ndarray,
    ) -> None:
        weights = chances.tolist()
        for convention in CONVENTIONS:
            self._metric(f"{source} {convention}").update(masks, truths, truth_weights=weights)
        self._metric(f"{source} matched").update(masks, truths, truth_weights=weights)
        self._metric(f"{source} several").update(masks, means, labels)
        if f"{source} modes" in self.metrics:
            self._metric(f"{source} modes").update(masks, truths, weights)
        self._metric(f"{source} components").update(masks, labels)

    def _mean_probabilities(
        self, output: HypothesesOutput, content: tuple[int, int], original: tuple[int, ...], n: int
    ) -> torch.Tensor:
        tokens = torch.as_tensor(np.asarray(output.tokens[0])[:n]).to(self.pipeline.likelihood.table.device)
        size = (original[0], original[1])
        return paint(self.pipeline.likelihood, tokens, content_size=content, original_size=size).probabilities.cpu()

    def _means(
        self, output: HypothesesOutput, content: tuple[int, int], original: tuple[int, ...]
    ) -> list[torch.Tensor]:
        """Return the labels of the mean of the first N hypotheses, for each N."""
        return [self._mean_probabilities(output, content, original, n).argmax(0) for n in self.numbers]

    def compute(self) -> HypothesesResult:
        """Divide the counts of all processes."""
        for metric in self.metrics.values():
            metric.sum_across()
        sources = {}
        for source in SOURCES:
            modes = self.metrics.get(f"{source} modes")
            sources[source] = SourceResult(
                energy={name: self._metric(f"{source} {name}").compute() for name in CONVENTIONS},
                matched_iou=self._metric(f"{source} matched").compute(),
                modes=None if modes is None else modes.compute(),
                several=self._metric(f"{source} several").compute(),
                components=self._metric(f"{source} components").compute(),
            )
        decodes = {mode: self._metric(f"decode {mode}").compute() for mode in DECODES}
        kept = ("miou", "boundary_f", "ece")
        return HypothesesResult(
            sources=sources,
            decodes={mode: {name: values[name] for name in kept} for mode, values in decodes.items()},
            uncertainty={
                name.removeprefix("uncertainty "): metric.compute()
                for name, metric in self.metrics.items()
                if name.startswith("uncertainty ")
            },
            flips=self.flips,
        )


class _ComponentSums(CountMetric):
    """Connected components of masks over those of the truth, void left out of both."""

    sums: torch.Tensor

    def __init__(self) -> None:
        super().__init__({}, {})
        self.add_counts("sums", 3)

    def update(self, masks: np.ndarray, labels: np.ndarray) -> None:
        """Count masks `[n, H, W]` of one image with true labels `[H, W]`."""
        void = labels == IGNORE_INDEX
        found = sum(int(class_shapes(np.where(void, IGNORE_INDEX, mask), 255)[0].sum()) for mask in masks)
        self.sums += torch.tensor([found, len(masks) * int(class_shapes(labels, 255)[0].sum()), 1])

    def compute(self) -> float | None:
        """Return the ratio; None where the truth has no component."""
        found, true, _ = self.sums.tolist()
        return found / true if true else None
