"""The result of `evaluate_samples`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from PIL import Image

from gss.core.records import NOT_IN_JSON, Record
from gss.evaluation.images import Unreadable
from gss.evaluation.samples.bits import BitsResult
from gss.evaluation.samples.completion import CompletionResult
from gss.evaluation.samples.corrections import CorrectionsResult
from gss.evaluation.samples.hypotheses import HypothesesResult
from gss.evaluation.samples.layouts import LayoutResult
from gss.evaluation.samples.protocol import SampleProtocol


@dataclass(frozen=True)
class SampleResult(Record):
    """Drawn masks of a pipeline on a data set; parts that were not measured are None.

    Attributes:
        pipeline: where the pipeline came from.
        data: data set and split.
        class_names: classes.
        class_colors: their display colours.
        images: number of images.
        protocol: settings.
        bits: bits per pixel.
        hypotheses: hypotheses and uncertainty.
        completion: completion curve.
        corrections: corrections.
        layouts: masks without image, by set.
        unreadable: images that were left out.
        device: device that was used.
        pictures: caption and pictures of some images: image, truth, three hypotheses, mutual information.
        generated: pictures and captions of masks without image, each beside its nearest training mask.
    """

    schema_version: ClassVar[int] = 1

    pipeline: str
    data: str
    class_names: Sequence[str]
    class_colors: Sequence[Sequence[int]]
    images: int
    protocol: SampleProtocol
    bits: BitsResult | None
    hypotheses: HypothesesResult | None
    completion: CompletionResult | None
    corrections: CorrectionsResult | None
    layouts: Mapping[str, LayoutResult] | None
    unreadable: list[Unreadable]
    device: str
    pictures: Sequence[tuple[str, Sequence[Image.Image]]] = field(default=(), metadata=NOT_IN_JSON)
    generated: Sequence[tuple[Image.Image, str]] = field(default=(), metadata=NOT_IN_JSON)
