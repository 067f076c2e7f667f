"""What `predictions.json` holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gss.core.errors import InputError, unknown_name
from gss.core.records import Record
from gss.jobs.predict.names import OUTPUTS
from gss.pipeline.processor import RunSize

DISAGREEMENT = "hypotheses"
"""Name of the map of 1 - the share of the drawn masks that have the commonest class, 0..1."""


@dataclass(frozen=True)
class Settings(Record):
    """Choices that all results of an output folder share.

    Args:
        decode: decode mode.
        window: "auto", "whole" or "slide".
        flip: average with the mirrored image.
        scales: sizes relative to the image, averaged.
        size: size to run at, see `gss.pipeline.processor.RunSize`.
        scores: out-of-distribution scores to write.
        alarm_rate: share of the pixels of training images that raises an alarm; None for no alarms.
        outputs: kinds of files to write, out of `OUTPUTS`.
        samples: number of masks that a joint prior draws of each image; where they differ is written like a score.
    """

    decode: str
    window: str = "auto"
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    size: RunSize = None
    scores: tuple[str, ...] = ()
    alarm_rate: float | None = None
    outputs: tuple[str, ...] = OUTPUTS
    samples: int = 0

    def __post_init__(self) -> None:
        for name in self.outputs:
            if name not in OUTPUTS:
                raise unknown_name("output", name, OUTPUTS)
        if not self.outputs:
            raise InputError(f"no outputs are named; choose from {', '.join(OUTPUTS)}")

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that are written: scores, and the disagreement of drawn masks."""
        return (*self.scores, *((DISAGREEMENT,) if self.samples else ()))

    @property
    def call(self) -> dict[str, Any]:
        """Arguments of `GSSPipeline.__call__`."""
        views = {"decode": self.decode, "window": self.window, "flip": self.flip, "scales": self.scales}
        return {**views, "size": self.size, "scores": self.scores, "return_tokens": "maskige" in self.outputs}


@dataclass(frozen=True)
class ClassShare(Record):
    """One class in a mask.

    Args:
        index: number of the class.
        label: name of the class.
        share: share of the pixels, 0..1.
        confidence: mean confidence of these pixels, 0..1.
    """

    index: int
    label: str
    share: float
    confidence: float


@dataclass(frozen=True)
class ScoreSummary(Record):
    """One out-of-distribution score of an image.

    Args:
        mean: mean over all pixels.
        largest: largest value.
        threshold: score at or above which a pixel raises an alarm; None without alarms, like the next two.
        alarm_share: share of the pixels with an alarm, 0..1.
        alarms: number of connected regions of such pixels, each at least as large as one cell of tokens.
    """

    mean: float
    largest: float
    threshold: float | None = None
    alarm_share: float | None = None
    alarms: int | None = None


@dataclass(frozen=True)
class Prediction(Record):
    """A segmented image or frame of a video.

    Args:
        image: path of the image; of a frame, the path of the video.
        size: (H, W) in pixels.
        files: kind of file to its path in the output folder: one of `OUTPUTS`, and for each score its name (float32
            NumPy array), NAME_heat and NAME_alarms.
        confidence: mean confidence of all pixels, 0..1.
        classes: classes that occur, largest first.
        seconds: time of the network, in seconds.
        scores: out-of-distribution scores by name.
        frame: number of the frame in its video, from 0; None for an image.
        time: time of the frame in seconds.
    """

    image: str
    size: tuple[int, int]
    files: dict[str, str]
    confidence: float
    classes: list[ClassShare]
    seconds: float
    scores: dict[str, ScoreSummary] = field(default_factory=dict)
    frame: int | None = None
    time: float | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Prediction:
        """Return the record that `to_json` gave."""
        classes = [ClassShare(**part) for part in values["classes"]]
        scores = {name: ScoreSummary(**part) for name, part in values["scores"].items()}
        return cls(**{**values, "size": tuple(values["size"]), "classes": classes, "scores": scores})


@dataclass(frozen=True)
class Video(Record):
    """A segmented video.

    Args:
        video: path of the video.
        size: (H, W) of a frame in pixels.
        frames: number of frames.
        seconds: duration.
        files: kind to the path of a video in the output folder.
    """

    video: str
    size: tuple[int, int]
    frames: int
    seconds: float
    files: dict[str, str]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Video:
        """Return the record that `to_json` gave."""
        return cls(**{**values, "size": tuple(values["size"])})


@dataclass(frozen=True)
class Failure(Record):
    """An image or video that has no result, or a video without all of its frames.

    Args:
        image: path of the image or video.
        error: reason, in one line that names the image.
    """

    image: str
    error: str


@dataclass
class Predictions:
    """Content of `predictions.json`.

    Args:
        pipeline: where the pipeline came from.
        weights: digest of its files; empty if it is not known.
        dtype: precision of the prior.
        settings: choices of this run.
        resolution: size that images run at, in words.
        labels: class names by number.
        thresholds: score to its threshold of alarms.
        images: segmented images, and frames of videos.
        videos: videos that are done.
        failed: images and videos that could not be read, segmented or written.
        skipped: number of images and videos that an earlier run had done; not in the file.
        segmented: number of images and frames that this run has done; not in the file.
        seconds: time of this run, in seconds; not in the file.
    """

    pipeline: str
    weights: str
    dtype: str
    settings: Settings
    resolution: str
    labels: dict[int, str]
    thresholds: dict[str, float]
    images: list[Prediction] = field(default_factory=list)
    videos: list[Video] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    skipped: int = 0
    segmented: int = 0
    seconds: float = 0.0

    def head(self) -> dict[str, Any]:
        """Return what comes before the records in the file."""
        return {
            "schema_version": 2,
            "pipeline": self.pipeline,
            "weights": self.weights,
            "dtype": self.dtype,
            **self.settings.to_json(),
            "resolution": self.resolution,
            "labels": {str(index): name for index, name in self.labels.items()},
            "thresholds": self.thresholds,
        }
