"""Segmenting image files: masks, maskiges, overlays and confidence as pictures, and one JSON file about all of them."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gss.core.ahead import read_ahead
from gss.core.distributed import gather_objects, is_main, num_processes, shard
from gss.core.errors import InputError
from gss.core.files import write_json
from gss.data.files import output_names
from gss.data.images import load_image
from gss.pipeline.outputs import SegmentationOutput, index_image
from gss.pipeline.pipeline import GSSPipeline
from gss.report.pictures import overlay, save_picture

BATCH_PIXELS = 4 * 1024 * 1024
"""Pixels of the images in one call, so that only a few large ones are ever in memory."""

FILES = {
    "mask": "_mask.png",
    "maskige": "_maskige.png",
    "overlay": "_overlay.jpg",
    "confidence": "_confidence.png",
}
"""Picture to the end of its file name."""

# Errors of the file system that would meet every further image too.
_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOENT)


@dataclass(frozen=True)
class ClassShare:
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
class Prediction:
    """A segmented image.

    Args:
        image: path of the image.
        size: (H, W) in pixels.
        files: kind of picture to its file name in the output folder, see `FILES`.
        confidence: mean confidence of all pixels, 0..1.
        classes: classes that occur, largest first.
        seconds: time of the network, in seconds.
    """

    image: str
    size: tuple[int, int]
    files: dict[str, str]
    confidence: float
    classes: list[ClassShare]
    seconds: float


@dataclass(frozen=True)
class Failure:
    """An image that has no result.

    Args:
        image: path of the image.
        error: reason, in one line that names the image.
    """

    image: str
    error: str


@dataclass
class Predictions:
    """Content of `predictions.json`.

    Args:
        pipeline: where the pipeline came from.
        decode: decode mode.
        window: "auto", "whole" or "slide".
        flip: whether the mirrored image was averaged in.
        dtype: precision of the prior.
        labels: class names by number.
        images: segmented images.
        failed: images that could not be read, segmented or written.
    """

    pipeline: str
    decode: str
    window: str
    flip: bool
    dtype: str
    labels: dict[int, str]
    images: list[Prediction] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)


def predict(
    pipeline: GSSPipeline,
    paths: Sequence[Path],
    out: Path,
    *,
    source: str,
    decode: str,
    window: str = "auto",
    flip: bool = False,
    batch_size: int = 4,
    workers: int = 0,
) -> Predictions:
    """Segment images, shared among all processes, and write pictures and `predictions.json` into `out`.

    An image that cannot be read, segmented or written is reported, and the others are done. `predictions.json` is
    also written when the command is interrupted.

    Args:
        pipeline: the pipeline.
        paths: image files.
        out: existing folder.
        source: where the pipeline came from, for the JSON.
        decode: decode mode.
        window: "auto", "whole" or "slide".
        flip: average with the mirrored image.
        batch_size: largest number of images in one call; fewer when they are large, so that few are in memory.
        workers: number of threads that read images ahead of the network; 0 reads them in turn.

    Returns:
        What was done, the same on every process.

    Raises:
        OSError: the output folder can no longer be written, such as at a full disk.
    """
    options: dict[str, Any] = {"decode": decode, "window": window, "flip": flip, "batch_size": batch_size}
    names, local = output_names(paths), list(shard(len(paths)))
    done: dict[int, Prediction | Failure] = {}
    result = Predictions(
        source, decode, window, flip, str(pipeline.dtype).removeprefix("torch."), labels=pipeline.id2label
    )
    try:
        with tqdm(total=len(local), desc="segmenting", unit="image", disable=not is_main()) as bar:
            images = read_ahead(lambda index: _read(paths[index]), local, workers)
            for batch in _batches(zip(local, images, strict=True), batch_size):
                for index, image in batch.items():
                    if isinstance(image, Failure):
                        done[index] = image
                readable = {index: image for index, image in batch.items() if isinstance(image, Image.Image)}
                for index, output, row, seconds in _segment(pipeline, readable, paths, options, done):
                    target = out / names[index]
                    done[index] = _write(pipeline, output, row, readable[index], paths[index], target, seconds)
                bar.update(len(batch))
    except KeyboardInterrupt:
        if num_processes() == 1:
            _finish(result, done, out)
        raise
    parts = gather_objects(done)
    _finish(result, {index: record for part in parts for index, record in part.items()}, out)
    return result


def _finish(result: Predictions, done: dict[int, Prediction | Failure], out: Path) -> None:
    """Sort what was done into the result, and write it."""
    records = [done[index] for index in sorted(done)]
    result.images = [record for record in records if isinstance(record, Prediction)]
    result.failed = [record for record in records if isinstance(record, Failure)]
    if is_main():
        write_json(out / "predictions.json", {"schema_version": 1, **vars(result)})


def _read(path: Path) -> Image.Image | Failure:
    try:
        return load_image(path)
    except (InputError, OSError) as error:
        return _failure(path, error)


def _batches(
    images: Iterator[tuple[int, Image.Image | Failure]], batch_size: int
) -> Iterator[dict[int, Image.Image | Failure]]:
    """Yield few images at a time, by index."""
    batch: dict[int, Image.Image | Failure] = {}
    pixels = 0
    for index, image in images:
        size = image.width * image.height if isinstance(image, Image.Image) else 0
        if batch and (len(batch) == batch_size or pixels + size > BATCH_PIXELS):
            yield batch
            batch, pixels = {}, 0
        batch[index] = image
        pixels += size
    if batch:
        yield batch


def _segment(
    pipeline: GSSPipeline,
    images: dict[int, Image.Image],
    paths: Sequence[Path],
    options: dict[str, Any],
    done: dict[int, Prediction | Failure],
) -> Iterator[tuple[int, SegmentationOutput, int, float]]:
    """Yield index, output, row in it and seconds of each image; one that is refused goes into `done`."""
    if not images:
        return
    started = time.perf_counter()
    try:
        output = pipeline(list(images.values()), **options)
    except InputError as error:
        if len(images) > 1:  # the others of the batch are segmented alone
            for index, image in images.items():
                yield from _segment(pipeline, {index: image}, paths, options, done)
            return
        (index,) = images
        done[index] = _failure(paths[index], error)
        return
    seconds = (time.perf_counter() - started) / len(images)
    for row, index in enumerate(images):
        yield index, output, row, seconds


def _write(
    pipeline: GSSPipeline,
    output: SegmentationOutput,
    row: int,
    image: Image.Image,
    path: Path,
    target: Path,
    seconds: float,
) -> Prediction | Failure:
    """Write the pictures of one image, `target` with an ending each: all, or none if one cannot be written."""
    labels, confidence = np.asarray(output.masks[row]), np.asarray(output.confidence[row])  # both [H, W]
    pictures = {
        "mask": index_image(labels, pipeline.colors),
        "overlay": overlay(image, labels, pipeline.colors),
        "confidence": Image.fromarray((confidence * 255).round().clip(0, 255).astype(np.uint8)),
    }
    if output.maskiges is not None:
        pictures["maskige"] = Image.fromarray(np.asarray(output.maskiges[row]))
    files = {kind: target.name + FILES[kind] for kind in pictures}
    try:
        for kind, picture in pictures.items():
            save_picture(target.with_name(files[kind]), picture, quality=92)
    except BaseException as error:
        for file in files.values():
            with contextlib.suppress(OSError):
                target.with_name(file).unlink(missing_ok=True)
        if not isinstance(error, OSError) or error.errno in _HOPELESS:
            raise
        return _failure(path, error)
    return Prediction(
        image=str(path),
        size=(image.height, image.width),
        files=files,
        confidence=float(np.mean(confidence, dtype=np.float64)),
        classes=_classes(pipeline, labels, confidence),
        seconds=round(seconds, 4),
    )


def _classes(pipeline: GSSPipeline, labels: np.ndarray, confidence: np.ndarray) -> list[ClassShare]:
    """Return the classes of a mask `[H, W]`, largest first."""
    counts = np.bincount(labels.ravel())
    certain = np.bincount(labels.ravel(), weights=confidence.ravel())
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


def _failure(path: Path, error: Exception) -> Failure:
    reason = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        reason = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return Failure(str(path), reason if str(path) in reason else f"{path}: {reason}")
