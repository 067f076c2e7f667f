"""The files of one segmented image or frame."""

from __future__ import annotations

import contextlib
import errno
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from gss.core.files import atomic_path
from gss.jobs.predict.records import DISAGREEMENT, ClassShare, Failure, Prediction, ScoreSummary, Settings
from gss.pipeline.outputs import SegmentationOutput
from gss.pipeline.pipeline import GSSPipeline
from gss.report.pictures import heatmap, index_image, overlay, picture_bytes

ENDINGS = {
    "mask": "_mask.png",
    "maskige": "_maskige.png",
    "overlay": "_overlay.jpg",
    "confidence": "_confidence.png",
}
"""Kind of picture to the end of its file name."""

# Errors of the file system that would meet every further image too.
_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOENT)


class Writer:
    """Writer of the files of images, with the facts that all share.

    Args:
        pipeline: the pipeline.
        settings: kinds of files, scores and rate of alarms.
        out: output folder.
    """

    def __init__(self, pipeline: GSSPipeline, settings: Settings, out: Path) -> None:
        self.pipeline, self.settings, self.out = pipeline, settings, out
        self.thresholds: dict[str, float] = {}
        self._ranges: dict[str, tuple[float | None, float | None]] = dict.fromkeys(settings.maps, (None, None))
        self._ranges[DISAGREEMENT] = 0.0, 1.0
        if settings.alarm_rate is not None:
            for name in settings.scores:
                self.thresholds[name] = pipeline.alarm_threshold(name, settings.alarm_rate)
        for name in set(settings.scores) & set(pipeline.alarm_scores):
            # One scale of colours for all images: from the usual to what one pixel in 1000 of training reaches.
            self._ranges[name] = pipeline.alarm_threshold(name, 0.5), pipeline.alarm_threshold(name, 0.001)

    def files(self, name: str) -> dict[str, str]:
        """Return the kinds of files that an image gets, with their paths in the output folder.

        Args:
            name: path of the image's results without endings.
        """
        chosen = self.settings.outputs
        kinds = {kind: name + ending for kind, ending in ENDINGS.items() if kind in chosen}
        if not self.pipeline.has_maskiges:
            kinds.pop("maskige", None)
        for score in self.settings.maps:
            kinds |= {score: f"{name}_{score}.npy"} if "scores" in chosen else {}
            kinds |= {f"{score}_heat": f"{name}_{score}.png"} if "heat" in chosen else {}
            if "alarms" in chosen and score in self.thresholds:
                kinds[f"{score}_alarms"] = f"{name}_{score}_alarms.png"
        return kinds

    def pictures(self, output: SegmentationOutput, row: int, image: Image.Image) -> dict[str, Any]:
        """Return what goes into each kind of file: a picture, or an array for the score itself."""
        chosen, colors = self.settings.outputs, self.pipeline.colors
        labels, confidence = np.asarray(output.masks[row]), np.asarray(output.confidence[row])  # both [H, W]
        content: dict[str, Any] = {}
        if "mask" in chosen:
            content["mask"] = index_image(labels, colors)
        if "overlay" in chosen:
            content["overlay"] = overlay(image, labels, colors, clear=self.pipeline.background)
        if "confidence" in chosen:
            content["confidence"] = Image.fromarray((confidence * 255).round().clip(0, 255).astype(np.uint8))
        if "maskige" in chosen and output.maskiges is not None:
            content["maskige"] = Image.fromarray(np.asarray(output.maskiges[row]))
        for score, values in self._scores(output, row).items():
            low, high = self._ranges[score]
            if "scores" in chosen:
                content[score] = values
            if "heat" in chosen:
                content[f"{score}_heat"] = heatmap(values, low=low, high=high, palette="magma")
            if "alarms" in chosen and score in self.thresholds:
                content[f"{score}_alarms"] = Image.fromarray(values >= self.thresholds[score])
        return content

    def record(
        self, output: SegmentationOutput, row: int, *, path: str, files: Mapping[str, str], seconds: float
    ) -> Prediction:
        """Return the record of a segmented image."""
        labels, confidence = np.asarray(output.masks[row]), np.asarray(output.confidence[row])
        run_size = self.pipeline.processor.target_size(*labels.shape, self.settings.size)
        # Pixels of a cell of tokens at the size of the image.
        cell = self.pipeline.prior.config.token_stride**2 * labels.size / (run_size[0] * run_size[1])
        return Prediction(
            image=path,
            size=(int(labels.shape[0]), int(labels.shape[1])),
            files=dict(files),
            confidence=float(np.mean(confidence, dtype=np.float64)),
            classes=_classes(self.pipeline, labels, confidence),
            seconds=round(seconds, 4),
            scores={
                name: _summary(values, self.thresholds.get(name), cell)
                for name, values in self._scores(output, row).items()
            },
        )

    def write(
        self, output: SegmentationOutput, row: int, image: Image.Image, *, path: str, name: str, seconds: float
    ) -> Prediction | Failure:
        """Write the files of one image: all, or none if one cannot be written.

        Raises:
            OSError: no further file could be written either, such as at a full disk.
        """
        files = self.files(name)
        try:
            for kind, content in self.pictures(output, row, image).items():
                save(self.out / files[kind], content)
        except BaseException as error:
            for file in files.values():
                with contextlib.suppress(OSError):
                    (self.out / file).unlink(missing_ok=True)
            if not isinstance(error, OSError) or error.errno in _HOPELESS:
                raise
            return failure(path, error)
        return self.record(output, row, path=path, files=files, seconds=seconds)

    def _scores(self, output: SegmentationOutput, row: int) -> dict[str, np.ndarray]:
        return {} if output.score_maps is None else dict(output.score_maps[row])  # type: ignore[arg-type]


def save(path: Path, content: Image.Image | np.ndarray) -> None:
    """Write a picture, or an array as a NumPy file, atomically."""
    data = encode(content, path.suffix)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def encode(content: Image.Image | np.ndarray, suffix: str) -> bytes:
    """Return a picture in the format of a suffix, or an array as a NumPy file."""
    if isinstance(content, Image.Image):
        return picture_bytes(content, suffix, quality=92)
    buffer = io.BytesIO()
    np.save(buffer, content, allow_pickle=False)
    return buffer.getvalue()


def failure(path: str, error: Exception) -> Failure:
    """Return the record of an image that has no result."""
    reason = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        reason = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return Failure(path, reason if path in reason else f"{path}: {reason}")


def _summary(values: np.ndarray, threshold: float | None, cell: float) -> ScoreSummary:
    """Return the summary of a score `[H, W]`."""
    mean, largest = float(np.mean(values, dtype=np.float64)), float(values.max())
    if threshold is None:
        return ScoreSummary(mean, largest)
    alarms = values >= threshold
    regions, _ = ndimage.label(alarms)
    # Smaller regions than a cell are the corners of what interpolation spreads.
    count = int((np.bincount(regions.ravel())[1:] >= cell).sum())
    return ScoreSummary(mean, largest, threshold, float(alarms.mean()), count)


def _classes(pipeline: GSSPipeline, labels: np.ndarray, confidence: np.ndarray) -> list[ClassShare]:
    """Return the classes of a mask `[H, W]`, largest first."""
    indices = labels.ravel().astype(np.intp)  # once: bincount would convert them in each call
    counts = np.bincount(indices)
    certain = np.bincount(indices, weights=confidence.ravel())
    return [
        ClassShare(
            index=int(index),
            label=pipeline.id2label[int(index)],
            share=float(counts[index] / labels.size),
            confidence=float(certain[index] / counts[index]),
        )
        for index in np.argsort(-counts, kind="stable")
        if counts[index]
    ]
