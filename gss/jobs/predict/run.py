"""Segmenting image and video files: pictures, arrays and one JSON file about all of them."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from PIL import Image

from gss.core.ahead import read_ahead
from gss.core.distributed import gather_objects, is_main, num_processes, process_index, shard
from gss.core.errors import InputError
from gss.core.interrupt import Interrupted
from gss.core.progress import Listener, Progress, watching
from gss.data.files import Found
from gss.data.images import load_image
from gss.jobs.predict.batches import batches, segment
from gss.jobs.predict.journal import FILE, Journal, read_journal
from gss.jobs.predict.pictures import Writer, failure
from gss.jobs.predict.records import Failure, Prediction, Predictions, Settings, Video
from gss.jobs.predict.video import is_video, segment_video
from gss.pipeline.outputs import SegmentationOutput
from gss.pipeline.pipeline import GSSPipeline


def predict(
    pipeline: GSSPipeline,
    inputs: Sequence[Found],
    out: Path,
    settings: Settings,
    *,
    source: str,
    weights: str = "",
    batch_size: int = 4,
    workers: int = 0,
    resume: bool = False,
    quiet: bool = False,
) -> Predictions:
    """Segment images and videos, shared among all processes, and write their files and `predictions.json` into `out`.

    An image that cannot be read, segmented or written is reported, and the others are done. `predictions.json` is
    complete after every image; with several processes each has a file of its own until the end.

    Args:
        pipeline: the pipeline.
        inputs: image and video files.
        out: existing folder.
        settings: choices that all results share.
        source: where the pipeline came from, for the JSON.
        weights: digest of its files, for the JSON; a continued run must have the same.
        batch_size: largest number of images in one call; fewer when they are large, so that few are in memory.
        workers: number of threads that read images ahead of the network; 0 reads them in turn.
        resume: keep the results of an earlier run with the same settings, and do what is missing.
        quiet: show no progress bar.

    Returns:
        What was done, the same on every process.

    Raises:
        InputError: `resume` with other settings than those of the earlier run, or a score without thresholds.
        Interrupted: a signal stopped it; the message says after how many images.
        OSError: the output folder can no longer be written, such as at a full disk.
    """
    started = time.perf_counter()
    # 1. What is there already.
    writer = Writer(pipeline, settings, out)
    result = Predictions(
        source,
        weights,
        str(pipeline.dtype).removeprefix("torch."),
        settings,
        pipeline.processor.describe(settings.size),
        pipeline.id2label,
        writer.thresholds,
    )
    done, videos = _earlier(out, result, inputs, writer) if resume else ({}, {})
    gather_objects(None)  # every process has read the files of all before one of them is written
    open_inputs = [index for index in range(len(inputs)) if index not in done and index not in videos]

    # 2. The file of this process; the main one begins with the records of the earlier run.
    result.skipped = len(inputs) - len(open_inputs)
    if is_main():
        order = sorted({**done, **videos})
        result.images = [record for index in order for record in done.get(index, [])]
        result.videos = [videos[index] for index in order if index in videos]
        for file in out.glob(".predictions-*.json"):
            file.unlink(missing_ok=True)
    gather_objects(None)
    journal = Journal(out / _file_name(process_index()), result)
    report: dict[int, list[Prediction | Video | Failure]] = {}

    # 3. This process's share of the rest: images in batches, then videos.
    share = [open_inputs[index] for index in shard(len(open_inputs))]
    images = [index for index in share if not is_video(inputs[index].path)]
    shown = Progress(len(share), "segmenting", shown=not quiet)
    with _counted(result, inputs), closing(journal), shown as bar, watching(_of_windows(bar, len(share))):
        for index, record in _segment_images(pipeline, inputs, images, writer, journal, batch_size, workers):
            report.setdefault(index, []).append(record)
            if bar.unit == "image":
                bar.update()
        for index in share:
            if is_video(inputs[index].path):
                for part in segment_video(pipeline, inputs[index], writer, journal, batch_size):
                    report.setdefault(index, []).append(part)
                bar.update()

    # 4. The records of all processes, in the order of the inputs.
    reports = gather_objects(report)
    for share_of in reports:
        done |= {index: [r for r in rows if isinstance(r, Prediction)] for index, rows in share_of.items()}
        videos |= {index: r for index, rows in share_of.items() for r in rows if isinstance(r, Video)}
    result.failed = [
        record
        for _, records in sorted(pair for part in reports for pair in part.items())
        for record in records
        if isinstance(record, Failure)
    ]
    result.images = [record for index in sorted(done) for record in done[index]]
    result.videos = [videos[index] for index in sorted(videos)]
    result.segmented = sum(
        isinstance(record, Prediction) for part in reports for rows in part.values() for record in rows
    )
    if is_main():
        Journal(out / FILE, result).close()
        for file in out.glob(".predictions-*.json"):
            file.unlink(missing_ok=True)
    result.seconds = time.perf_counter() - started
    return result


@contextmanager
def _counted(result: Predictions, inputs: Sequence[Found]) -> Iterator[None]:
    """Add to a signal that stops the block how many of the inputs are done, unless several processes share them."""
    try:
        yield
    except KeyboardInterrupt as stop:
        done = sum(record.frame is None for record in result.images) + len(result.videos)
        films = sum(is_video(item.path) for item in inputs)
        noun = "images" if not films else "videos" if films == len(inputs) else "images and videos"
        after = f"after {done} of {len(inputs)} {noun}" if num_processes() == 1 else ""
        raise Interrupted(stop.number if isinstance(stop, Interrupted) else signal.SIGINT, after=after) from None


def _of_windows(bar: Progress, images: int) -> Listener:
    """Return what shows the windows of an image: the bar of a single image counts them, that of many names them."""
    done = total = 0

    def listen(finished: int, new: int) -> None:
        nonlocal done, total
        if images == 1:
            if new:
                bar.expect(new, "window")
            bar.update(finished)
            return
        done, total = (0, new) if new and done == total else (done + finished, total + new)
        if total > 1:
            bar.note(windows=f"{done}/{total}")

    return listen


def _file_name(process: int) -> str:
    return FILE if process == 0 else f".predictions-{process}.json"


def _earlier(
    out: Path, result: Predictions, inputs: Sequence[Found], writer: Writer
) -> tuple[dict[int, list[Prediction]], dict[int, Video]]:
    """Return what an earlier run has done, by index of the input; a video is done if all its frames are."""
    images: dict[str, list[Prediction]] = {}
    videos: dict[str, Video] = {}
    for file in [out / FILE, *sorted(out.glob(".predictions-*.json"))]:
        found, whole = read_journal(file, result.head())
        for record in found:
            images.setdefault(record.image, []).append(record)
        videos |= {film.video: film for film in whole}
    done: dict[int, list[Prediction]] = {}
    films: dict[int, Video] = {}
    for index, item in enumerate(inputs):
        records, film = images.get(str(item.path), []), videos.get(str(item.path))
        if is_video(item.path):
            if film is None or len(records) != film.frames:
                continue
            files = [*film.files.values(), *(file for record in records for file in record.files.values())]
        elif len(records) != 1 or records[0].files != writer.files(item.name):
            continue
        else:
            files = list(records[0].files.values())
        if _are_new(item.path, [out / file for file in files]):
            done[index] = records
            if film is not None:
                films[index] = film
    return done, films


def _are_new(source: Path, files: Iterable[Path]) -> bool:
    """Return whether all files are there and none is older than what it was made from."""
    try:
        changed = source.stat().st_mtime
        return all(file.stat().st_mtime >= changed for file in files)
    except OSError:
        return False


def _segment_images(
    pipeline: GSSPipeline,
    inputs: Sequence[Found],
    indices: Sequence[int],
    writer: Writer,
    journal: Journal,
    batch_size: int,
    workers: int,
) -> Iterator[tuple[int, Prediction | Failure]]:
    """Yield the index and record of each image, as they are done and in the journal."""
    images = read_ahead(lambda index: _read(inputs[index].path), indices, workers)
    for batch in batches(zip(indices, images, strict=True), batch_size):
        readable = {index: image for index, image in batch.items() if isinstance(image, Image.Image)}
        for index, image in batch.items():
            if isinstance(image, Failure):
                journal.add(image)
                yield index, image

        def write(
            index: int, output: SegmentationOutput, row: int, seconds: float, images: dict[int, Image.Image] = readable
        ) -> Prediction | Failure:
            path, name = str(inputs[index].path), inputs[index].name
            image = images[index]
            return journal.keep(lambda: writer.write(output, row, image, path=path, name=name, seconds=seconds))

        def refuse(index: int, error: InputError) -> Failure:
            return journal.keep(lambda: failure(str(inputs[index].path), error))

        yield from segment(pipeline, readable, writer.settings, batch_size, write=write, refuse=refuse)


def _read(path: Path) -> Image.Image | Failure:
    try:
        return load_image(path)
    except (InputError, OSError) as error:
        return failure(str(path), error)
