"""`SegmentBatch`: batches of encoded images in, encoded masks, confidence and scores out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image

from gss.core.errors import InputError
from gss.core.machine import flush_denormals, keep_memory
from gss.data.images import image_from_bytes
from gss.jobs.predict.batches import batches, segment
from gss.jobs.predict.journal import json_line
from gss.jobs.predict.pictures import Writer, encode, failure
from gss.jobs.predict.records import Failure, Prediction, Settings
from gss.pipeline.loading import load_pipeline
from gss.pipeline.outputs import SegmentationOutput
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.processor import RunSize

COLUMNS = (("bytes", "image"), ("path", "id"))
"""Names of the columns of images and of ids: those of `ray.data.read_binary_files`, or shorter ones."""


@dataclass(frozen=True)
class Encoded:
    """An encoded image.

    Attributes:
        id: what records and errors call it.
        name: path of its results, without endings.
        data: content of the file, or the record of why there is none.
    """

    id: str
    name: str
    data: bytes | Failure


@dataclass(frozen=True)
class Segmented:
    """What became of an image.

    Attributes:
        record: entry of `predictions.json`; a failure has no files.
        files: kind of file to its content.
    """

    record: Prediction | Failure
    files: dict[str, bytes]


class SegmentBatch:
    """Callable for `map_batches` of Ray Data: a pipeline that is loaded once an actor, and segments encoded images.

    It needs no cluster: called with a batch, it segments it here.

    Args:
        pipeline: folder of a pipeline that every machine can read, or a loaded pipeline.
        decode: decode mode; the best one if None.
        outputs: kinds of files to encode, out of `gss.jobs.predict.OUTPUTS`.
        scores: out-of-distribution scores, one column each: a float32 array `[H, W]` as NumPy file.
        alarm_rate: share of the pixels of training images that raises an alarm; None for no alarms.
        size: size to run at, see `gss.pipeline.processor.RunSize`; None for the scale of training.
        window: "auto", "whole" or "slide".
        flip: average with the mirrored image.
        scales: sizes relative to the image, averaged.
        samples: number of masks that a joint prior draws of each image.
        batch_size: number of images of one size, or windows of one image, at once.
        device: device of the pipeline; None for a GPU that Ray gives the actor, else the CPU.
        dtype: precision of the prior, such as "bfloat16".
        exact: read every cell with all codes.

    Raises:
        InputError: no pipeline, or a choice that it does not have.
    """

    def __init__(
        self,
        pipeline: str | os.PathLike[str] | GSSPipeline,
        *,
        decode: str | None = None,
        outputs: Sequence[str] = ("mask", "confidence", "scores"),
        scores: Sequence[str] = (),
        alarm_rate: float | None = None,
        size: RunSize = None,
        window: str = "auto",
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
        samples: int = 0,
        batch_size: int = 4,
        device: str | None = None,
        dtype: str = "float32",
        exact: bool = False,
    ) -> None:
        if not isinstance(pipeline, GSSPipeline):
            keep_memory()
            flush_denormals(True)
            pipeline = load_pipeline(pipeline, device=device, dtype=getattr(torch, dtype), exact=exact)
        self.pipeline, self.batch_size = pipeline, batch_size
        self.settings = Settings(
            decode=decode or pipeline.default_decode,
            window=window,
            flip=flip,
            scales=tuple(scales),
            size=size,
            scores=tuple(scores),
            alarm_rate=alarm_rate,
            outputs=tuple(outputs),
            samples=samples,
        )
        pipeline.check_inputs([self.settings.decode], window=window, flip=flip, size=size, scales=self.settings.scales)
        pipeline.check_scores(self.settings.scores)
        self.writer = Writer(pipeline, self.settings, Path())

    @property
    def kinds(self) -> list[str]:
        """Kinds of files of an image, which are columns of the result."""
        return list(self.writer.files(""))

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Segment a batch; a row that fails is kept with the reason.

        Args:
            batch: columns `bytes` (or `image`) with the content of image files, and `path` (or `id`), which names them.

        Returns:
            Columns of the same length: `id`; one for each kind of file with its content, such as `mask` and
            `confidence` (PNG) and the name of a score (NumPy file); `record`, the entry of `predictions.json` as JSON;
            `error`, the reason of a failure in one line. What a row does not have is empty.

        Raises:
            InputError: a column is missing.
        """
        data, ids = (batch[_column(batch, names)] for names in COLUMNS)
        images = [Encoded(str(id), result_name(str(id)), bytes(content)) for id, content in zip(ids, data, strict=True)]
        return to_columns([image.id for image in images], self.segment(images), self.kinds)

    def segment(self, images: Sequence[Encoded]) -> list[Segmented]:
        """Segment encoded images, in their order."""
        results: dict[int, Segmented] = {}

        def write(index: int, output: SegmentationOutput, row: int, seconds: float) -> Segmented:
            image, picture = images[index], decoded[index]
            assert isinstance(picture, Image.Image)
            names = self.writer.files(image.name)
            pictures = self.writer.pictures(output, row, picture)
            files = {kind: encode(content, Path(names[kind]).suffix) for kind, content in pictures.items()}
            record = self.writer.record(output, row, path=image.id, files=names, seconds=seconds)
            return Segmented(record, files)

        def refuse(index: int, error: InputError) -> Segmented:
            return Segmented(failure(images[index].id, error), {})

        for decoded in batches(((index, _decode(image)) for index, image in enumerate(images)), self.batch_size):
            readable = {index: image for index, image in decoded.items() if isinstance(image, Image.Image)}
            results |= {index: Segmented(part, {}) for index, part in decoded.items() if isinstance(part, Failure)}
            results |= segment(self.pipeline, readable, self.settings, self.batch_size, write=write, refuse=refuse)
        return [results[index] for index in range(len(images))]


def to_columns(ids: Sequence[str], rows: Sequence[Segmented], kinds: Sequence[str]) -> dict[str, np.ndarray]:
    """Return results as columns, see `SegmentBatch.__call__`.

    Args:
        ids: ids of the images.
        rows: what became of each.
        kinds: kinds of files.
    """
    columns: dict[str, list[Any]] = {"id": list(ids)}
    columns |= {kind: [row.files.get(kind, b"") for row in rows] for kind in kinds}
    done = [row.record if isinstance(row.record, Prediction) else None for row in rows]
    columns["record"] = ["" if record is None else json_line(record.to_json()) for record in done]
    columns["error"] = [row.record.error if isinstance(row.record, Failure) else "" for row in rows]
    return {name: _objects(values) for name, values in columns.items()}


def result_name(id: str) -> str:
    """Return the path of an image's results: its id without what leads out of the output folder, and without suffix."""
    inner = (id.partition("://")[2] or id).partition("::")[0]
    parts = [part for part in PurePosixPath(inner.replace("\\", "/")).parts if part not in ("/", "..")]
    return str(PurePosixPath(*parts).with_suffix("")) if parts else "image"


def _column(batch: Mapping[str, Any], names: Sequence[str]) -> str:
    for name in names:
        if name in batch:
            return name
    raise InputError(f"batch has columns {', '.join(batch)}; it needs {' or '.join(names)}")


def _decode(image: Encoded) -> Image.Image | Failure:
    if isinstance(image.data, Failure):
        return image.data
    try:
        return image_from_bytes(image.data, image.id)
    except InputError as error:
        return failure(image.id, error)


def _objects(values: Sequence[Any]) -> np.ndarray:
    """Return an array `[n]` of Python objects, which NumPy does not look into."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
