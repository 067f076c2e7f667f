"""What the quickstart measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gss.core.records import Record
from gss.evaluation.ood.result import OODEvaluation
from gss.evaluation.reconstruction import ReconstructionResult
from gss.evaluation.segmentation.result import EvaluationResult
from gss.jobs.quickstart.drawn import DrawnMasks


@dataclass(frozen=True)
class QuickstartResult(Record):
    """Content of `results.json`.

    Attributes:
        seconds: time of training by stage, in seconds.
        recon: reconstruction ceiling.
        results: evaluations by "NETWORK on DATA".
        matrix: mIoU by "MODEL, MODE" and data set, 0..1.
        unknown: metrics of the out-of-distribution scores; None where no data set has unknown objects.
        masks_unchanged: whether the residual head leaves all masks as they are; None without one.
        drawn: masks drawn from the joint prior; None without one.
    """

    schema_version: ClassVar[int] = 1

    seconds: dict[str, float]
    recon: ReconstructionResult
    results: dict[str, EvaluationResult]
    matrix: dict[str, dict[str, float | None]]
    unknown: OODEvaluation | None
    masks_unchanged: bool | None
    drawn: DrawnMasks | None
