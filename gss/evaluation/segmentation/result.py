"""The result of `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from PIL import Image

from gss.core.records import NOT_IN_JSON, Record
from gss.evaluation.images import Unreadable
from gss.metrics.domains import domain_figures
from gss.metrics.means import averaged_over, or_nan


@dataclass(frozen=True)
class ReliabilityBin(Record):
    """One bin of the top probability.

    Attributes:
        confidence: mean top probability, 0..1; `None` for an empty bin.
        accuracy: share of correct pixels, 0..1; `None` for an empty bin.
        pixels: number of pixels.
    """

    confidence: float | None
    accuracy: float | None
    pixels: int


@dataclass(frozen=True)
class ModeMetrics(Record):
    """Metrics of one decode mode over all images; fractions in 0..1, `None` where there is nothing to measure.

    Attributes:
        miou: mean intersection over union of the classes in truth or prediction.
        accuracy: share of correct pixels.
        mean_accuracy: mean recall of the classes in the truth.
        fwiou: IoU weighted by the share of the class among the true pixels.
        boundary_f: mean boundary F-measure, tolerance 3 pixels.
        ece: expected calibration error of the top probability.
        iou: IoU by class.
        boundary_f_per_class: boundary F-measure by class.
        pixels: number of labelled pixels.
        reliability: bins of the top probability, ascending.
    """

    miou: float | None
    accuracy: float | None
    mean_accuracy: float | None
    fwiou: float | None
    boundary_f: float | None
    ece: float | None
    iou: list[float | None]
    boundary_f_per_class: list[float | None]
    pixels: int
    reliability: list[ReliabilityBin]

    @classmethod
    def from_counts(cls, metrics: Mapping[str, Any]) -> Self:
        """Name the values that `SegmentationMetrics.compute` returns."""
        bins = [ReliabilityBin(**entry) for entry in metrics["reliability"]]
        return cls(**{**metrics, "reliability": bins})


@dataclass(frozen=True)
class ImageMetrics(Record):
    """Metrics of one image in the default mode.

    Attributes:
        id: name of the image.
        miou: mean IoU of the classes in the image, 0..1; `None` for an image without a labelled pixel.
        accuracy: share of correct pixels, 0..1; `None` likewise.
    """

    id: str
    miou: float | None
    accuracy: float | None


@dataclass(frozen=True)
class EvaluationResult(Record):
    """Result of `evaluate`; equal on all processes, but only the main process has pictures.

    Attributes:
        pipeline: folder of the pipeline.
        data: name of the data set and split.
        class_names: names of the K classes.
        class_colors: RGB of the K classes.
        images: number of images measured.
        default_mode: decode mode of pictures, speed, confusion matrix and image scores.
        modes: metrics by decode mode.
        confusion: pixels of the default mode, [K, K], rows truth, columns prediction.
        image_scores: metrics of each image, in the order of the data set.
        images_per_second: speed of plain pipeline calls, summed over processes; `None` if not measured.
        peak_memory_mib: largest memory of one process in MiB, of the GPU if the pipeline is on one, else resident;
            `None` if not measured.
        device: name of the device of the pipeline.
        settings: window, size, batch size, limit and number of processes.
        domains: decode mode to domain to metrics; empty for a data set without domains.
        unreadable: images that could not be read and are left out.
        extra: further metrics by decode mode and name.
        seen: "on the training images" if the pipeline was trained on these images, "perhaps on the training images" if
            its card does not say; empty for others.
        difference_errors: decode mode to the standard error of its difference in mIoU from the best mode, over images;
            empty for one image.
        pictures: (caption, pictures with the titles `PICTURE_TITLES`) of the worst, median and best images.
    """

    schema_version: ClassVar[int] = 1

    pipeline: str
    data: str
    class_names: list[str]
    class_colors: list[list[int]]
    images: int
    default_mode: str
    modes: dict[str, ModeMetrics]
    confusion: list[list[int]]
    image_scores: list[ImageMetrics]
    images_per_second: float | None
    peak_memory_mib: float | None
    device: str
    settings: dict[str, Any]
    domains: dict[str, dict[str, ModeMetrics]] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    extra: dict[str, dict[str, float | None]] = field(default_factory=dict)
    seen: str = ""
    difference_errors: dict[str, float] = field(default_factory=dict)
    pictures: list[tuple[str, list[Image.Image]]] = field(default_factory=list, repr=False, metadata=NOT_IN_JSON)

    @property
    def class_shares(self) -> list[float]:
        """Share of each class among the true pixels, 0..1."""
        pixels = [sum(row) for row in self.confusion]
        return [count / max(sum(pixels), 1) for count in pixels]

    def figures(self, keys: Sequence[str] = ("miou",)) -> dict[str, float]:
        """Return metrics of all modes for a log: `MODE_KEY`, and those of the domains.

        Where means go over fewer classes than there are, `MODE_classes` is their number.
        """
        values: dict[str, float] = {}
        for mode, metrics in self.modes.items():
            for key in keys:
                values[f"{mode}_{key}"] = or_nan(metrics[key])
                values |= domain_means(f"{mode}_{key}", self.domains.get(mode, {}), key)
            if averaged_over(metrics.iou):
                values[f"{mode}_classes"] = float(sum(value is not None for value in metrics.iou))
        return values


def by_mode(figures: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return decode mode to metrics out of the figures of a log (`EvaluationResult.figures`), without domains."""
    modes: dict[str, dict[str, float]] = {}
    for name, value in figures.items():
        for key in ("miou", "boundary_f"):
            if name.endswith(f"_{key}"):
                modes.setdefault(name.removesuffix(f"_{key}"), {})[key] = value
    return modes


def domain_means(name: str, domains: Mapping[str, ModeMetrics], metric: str) -> dict[str, float]:
    """Return one metric of each domain, and its means over domains, as `NAME/DOMAIN` (see `domain_figures`)."""
    return domain_figures(name, {domain: {metric: part[metric]} for domain, part in domains.items()}, metric)
