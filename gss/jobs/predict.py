"""`gss predict`: segments files and writes masks, maskiges, overlays and confidence next to one JSON."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gss.core.distributed import gather_objects, is_main, shard
from gss.core.files import atomic_path, write_json
from gss.data.files import output_names
from gss.data.images import load_image
from gss.pipeline.outputs import SegmentationOutput, index_image
from gss.pipeline.pipeline import GSSPipeline
from gss.report.pictures import overlay

# Images segmented in one call; fewer when they are large, so that only a few are ever in memory.
BATCH_IMAGES = 4
BATCH_PIXELS = 4 * 1024 * 1024

FILES = {
    "mask": "_mask.png",
    "maskige": "_maskige.png",
    "overlay": "_overlay.jpg",
    "confidence": "_confidence.png",
}


def predict(
    pipeline: GSSPipeline,
    paths: Sequence[Path],
    out: Path,
    *,
    source: str,
    decode: str,
    window: str = "auto",
    flip: bool = False,
) -> list[dict[str, Any]]:
    """Segments `paths`, shared among all processes, and writes pictures and `predictions.json` into `out`.

    Args:
        pipeline: the model.
        paths: image files.
        out: existing folder.
        source: where the pipeline came from, for the JSON.
        decode: decode mode.
        window: "auto", "whole" or "slide".
        flip: average with the mirrored image.

    Returns:
        One `{"image", "error"}` per unreadable file, the same on every process.
    """
    names = output_names(paths)
    mine = list(shard(len(paths)))
    records: dict[int, dict[str, Any]] = {}
    failed: dict[int, dict[str, Any]] = {}
    with tqdm(total=len(mine), desc="segmenting", unit="image", disable=not is_main()) as bar:
        for batch in _batches(paths, mine, failed):
            started = time.perf_counter()
            output = pipeline(list(batch.values()), decode=decode, window=window, flip=flip, batch_size=BATCH_IMAGES)
            seconds = (time.perf_counter() - started) / len(batch)
            for row, (index, image) in enumerate(batch.items()):
                files = _write(pipeline, output, row, image, out, names[index])
                records[index] = {
                    "image": str(paths[index]),
                    "size": [image.height, image.width],
                    "files": files,
                    "confidence": float(np.mean(output.confidence[row], dtype=np.float64)),
                    "classes": _classes(pipeline, output, row),
                    "seconds": round(seconds, 4),
                }
            bar.update(len(batch))
        bar.update(len(failed))
    everywhere = gather_objects((records, failed))
    records = {index: record for part, _ in everywhere for index, record in part.items()}
    failed = {index: failure for _, part in everywhere for index, failure in part.items()}
    if is_main():
        write_json(
            out / "predictions.json",
            {
                "pipeline": source,
                "decode": decode,
                "window": window,
                "flip": flip,
                "labels": pipeline.id2label,
                "images": [records[index] for index in sorted(records)],
                "failed": [failed[index] for index in sorted(failed)],
            },
        )
    return [failed[index] for index in sorted(failed)]


def _batches(
    paths: Sequence[Path], indices: Sequence[int], failed: dict[int, dict[str, Any]]
) -> Iterator[dict[int, Image.Image]]:
    """Yields few loaded images at a time by index; unreadable ones go into `failed`."""
    batch: dict[int, Image.Image] = {}
    pixels = 0
    for index in indices:
        try:
            image = load_image(paths[index])
        except (ValueError, OSError) as error:
            failed[index] = {"image": str(paths[index]), "error": str(error)}
            continue
        if batch and (len(batch) == BATCH_IMAGES or pixels + image.width * image.height > BATCH_PIXELS):
            yield batch
            batch, pixels = {}, 0
        batch[index] = image
        pixels += image.width * image.height
    if batch:
        yield batch


def _write(
    pipeline: GSSPipeline, output: SegmentationOutput, row: int, image: Image.Image, out: Path, name: str
) -> dict[str, str]:
    """Writes the pictures of one image; returns their file names."""
    labels, confidence = np.asarray(output.masks[row]), np.asarray(output.confidence[row])
    pictures = {
        "mask": index_image(labels, pipeline.colors),
        "overlay": overlay(image, labels, pipeline.colors),
        "confidence": Image.fromarray((confidence * 255).round().clip(0, 255).astype(np.uint8)),
    }
    if output.maskiges is not None:
        pictures["maskige"] = Image.fromarray(np.asarray(output.maskiges[row]))
    files = {kind: name + FILES[kind] for kind in pictures}
    for kind, picture in pictures.items():
        with atomic_path(out / files[kind]) as temporary:
            picture.save(temporary, quality=92)  # PNG ignores the quality
    return files


def _classes(pipeline: GSSPipeline, output: SegmentationOutput, row: int) -> list[dict[str, Any]]:
    """Area share and mean confidence of each class that occurs, largest first."""
    labels, confidence = np.asarray(output.masks[row]), np.asarray(output.confidence[row])
    counts = np.bincount(labels.ravel())
    certain = np.bincount(labels.ravel(), weights=confidence.ravel())
    return [
        {
            "index": int(index),
            "label": pipeline.id2label[int(index)],
            "share": float(counts[index] / labels.size),
            "confidence": float(certain[index] / counts[index]),
        }
        for index in np.argsort(-counts, kind="stable")
        if counts[index]
    ]
