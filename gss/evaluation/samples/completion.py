"""Completion curve: how well the rest of a mask is found when a share of it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gss.core.records import Record
from gss.evaluation.samples.given import choose_given
from gss.evaluation.samples.protocol import SampleProtocol
from gss.labels.space import IGNORE_INDEX
from gss.metrics import SegmentationMetrics
from gss.pipeline.pipeline import GSSPipeline

GUIDES = ("image", "paste", "no_image", "walk")
"""What the rest is found from: image and given pixels; the image alone (given pixels are only pasted); given pixels;
given pixels that spread along the edges of the image, without a trained network."""
Spread = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Function from an image uint8 `[H, W, 3]` and given labels uint8 `[H, W]`, 255 where unknown, to labels `[H, W]`."""


@dataclass(frozen=True)
class CompletionPoint(Record):
    """Completion at one share, measured on the pixels that are not given.

    Attributes:
        kind: kind of given pixels, see `gss.evaluation.samples.names.KINDS`.
        share: wanted share of the pixels that are given.
        reached: share that was given.
        miou: mIoU by guide, see `GUIDES`.
        boundary_f: boundary F-measure by guide.
    """

    kind: str
    share: float
    reached: float
    miou: dict[str, float | None]
    boundary_f: dict[str, float | None]


@dataclass(frozen=True)
class CompletionResult(Record):
    """Completion curve.

    Attributes:
        points: by kind and share.
        images: number of images.
    """

    points: list[CompletionPoint]
    images: int


class CompletionCounts:
    """Counts of every kind, share and guide.

    Args:
        pipeline: pipeline with a joint prior.
        num_classes: K.
        protocol: kinds, shares, paths, steps.
        spread: spreads given labels for the guide `walk`; None leaves it out.
    """

    def __init__(
        self, pipeline: GSSPipeline, num_classes: int, protocol: SampleProtocol, spread: Spread | None = None
    ) -> None:
        self.pipeline, self.protocol, self.spread = pipeline, protocol, spread
        self.guides = tuple(guide for guide in GUIDES if guide != "walk" or spread is not None)
        self.keys = [(kind, share) for kind in protocol.kinds for share in protocol.shares]
        self.metrics = {(*key, guide): SegmentationMetrics(num_classes) for key in self.keys for guide in self.guides}
        self.given = {key: SegmentationMetrics(2) for key in self.keys}  # share of given pixels, as an accuracy
        self.images = SegmentationMetrics(1)

    def update(self, index: int, image: Image.Image, labels: np.ndarray) -> None:
        """Complete one image with every kind and share of given pixels."""
        stride = self.pipeline.prior.config.token_stride
        pasted = self.pipeline.predict_probabilities([image], modes=["marginal"])["marginal"][0].argmax(0).cpu().numpy()
        for number, (kind, share) in enumerate(self.keys):
            known = choose_given(labels, kind, share, stride, self.protocol.random(3, index, number))
            partial = np.where(known, labels, IGNORE_INDEX).astype(np.uint8)
            rest = np.where(known, IGNORE_INDEX, labels).astype(np.uint8)
            masks = {"paste": pasted}
            for guide, images in (("image", [image]), ("no_image", None)):
                output = self.pipeline.complete(
                    images,
                    [partial],
                    n=self.protocol.completion_paths,
                    steps=self.protocol.steps,
                    generator=[self.protocol.generator(4, index, number)],
                )
                masks[guide] = np.asarray(output.masks[0])
            if self.spread is not None:
                masks["walk"] = self.spread(np.asarray(image), partial)
            for guide, mask in masks.items():
                self.metrics[kind, share, guide].update(mask, rest)
            valid = np.where(labels == IGNORE_INDEX, IGNORE_INDEX, 1).astype(np.uint8)
            self.given[kind, share].update(known.astype(np.uint8), valid)
        self.images.update(np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8))

    def compute(self) -> CompletionResult:
        """Divide the counts of all processes."""
        for metric in (*self.metrics.values(), *self.given.values(), self.images):
            metric.sum_across()
        points = []
        for kind, share in self.keys:
            found = {guide: self.metrics[kind, share, guide].compute() for guide in self.guides}
            points.append(
                CompletionPoint(
                    kind=kind,
                    share=share,
                    reached=self.given[kind, share].compute()["accuracy"] or 0.0,
                    miou={guide: values["miou"] for guide, values in found.items()},
                    boundary_f={guide: values["boundary_f"] for guide, values in found.items()},
                )
            )
        return CompletionResult(points, self.images.compute()["pixels"])
