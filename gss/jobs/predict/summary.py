"""What a run of `gss predict` tells at the end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from gss.core.words import counted
from gss.jobs.predict.records import Predictions
from gss.jobs.predict.video import is_video


def summary(result: Predictions, inputs: int, out: Path | str) -> Iterator[str]:
    """Yield the lines of the summary.

    Args:
        result: what was done.
        inputs: number of images and videos that were asked for.
        out: output folder.
    """
    images = [record for record in result.images if record.frame is None]
    frames = len(result.images) - len(images)
    # 1. How much, where and how fast.
    films = len({record.image for record in result.images if record.frame is not None})
    parts = [f"{len(images)} of {inputs - _videos(result)} images"] if inputs > _videos(result) else []
    parts += [f"{counted(frames, 'frame')} of {counted(films, 'video')}"] if frames else []
    rate = f", {result.segmented / result.seconds:.2g} images/s" if result.segmented else ""
    kept = f" ({result.skipped} by an earlier run)" if result.skipped else ""
    yield f"{' and '.join(parts)} segmented into {out}{kept}{rate}"
    yield f"resolution: {_resolution(result)}"

    # 2. What was written.
    maps = result.settings.maps
    kinds = Counter(_label(*file, maps) for record in result.images for file in record.files.items())
    kinds.update(f"{_label(*file, maps)} (video)" for film in result.videos for file in film.files.items())
    yield "files: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items()) + ", predictions.json"

    # 3. Alarms.
    for score in result.settings.scores:
        found = [record.scores[score] for record in result.images if score in record.scores]
        if score not in result.thresholds:
            yield f"{score}: no alarms, as no threshold is known ('gss train density' learns it)"
            continue
        alarms = [part.alarms or 0 for part in found]
        yield (
            f"{score}: {counted(sum(alarms), 'alarm')} in {sum(map(bool, alarms))} of {len(found)} images, "
            f"at {result.settings.alarm_rate:g} of the pixels of training images"
        )


def _resolution(result: Predictions) -> str:
    """Return the size that images ran at in words; that of the images where none was resized."""
    short, whole = (
        re.search(form, result.resolution) for form in (r"side resized to (\d+)", r"resized to (\d+)x(\d+)")
    )
    sizes = {tuple(record.size) for record in result.images}
    own = (short and all(min(size) == int(short[1]) for size in sizes)) or (
        whole and sizes == {(int(whole[1]), int(whole[2]))}
    )
    training = "training" in result.resolution
    if own and sizes:
        return "that of the images" + (", as in training" if training else "")
    return result.resolution + ("; --size native keeps theirs" if training else "")


def _label(kind: str, file: str, maps: Sequence[str]) -> str:
    """Return what a kind of file is called: a score's files by the ends of their names, such as gmm_max.png."""
    name = kind.removesuffix("_heat")
    return name + Path(file).suffix if name.removesuffix("_alarms") in maps else kind


def _videos(result: Predictions) -> int:
    """Return the number of videos that were asked for."""
    from_frames = {record.image for record in result.images if record.frame is not None}
    return len(from_frames | {failure.image for failure in result.failed if is_video(Path(failure.image))})
