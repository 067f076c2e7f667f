"""Videos: frames in, in order and with their times; pictures of all frames out as videos of the same times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from gss.core.errors import InputError
from gss.core.files import atomic_path
from gss.data.files import Found
from gss.jobs.predict.batches import batches, segment
from gss.jobs.predict.journal import Journal
from gss.jobs.predict.names import VIDEO_SUFFIXES
from gss.jobs.predict.pictures import Writer, failure, save
from gss.jobs.predict.records import Failure, Prediction, Video
from gss.pipeline.outputs import SegmentationOutput
from gss.pipeline.pipeline import GSSPipeline

_INDEX_AT_END = (".mp4", ".mov", ".m4v")
# Times of frames in a written video; any frame rate, also a varying one, is a multiple of it up to 11 microseconds.
_TIME_BASE = Fraction(1, 90_000)


@dataclass(frozen=True)
class Frame:
    """A frame of a video.

    Attributes:
        index: number of the frame, from 0.
        time: time at which it is shown, in seconds.
        image: upright RGB picture.
    """

    index: int
    time: float
    image: Image.Image


def is_video(path: Path) -> bool:
    """Return whether a file is a video, by its name."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def load_av() -> Any:
    """Return PyAV.

    Raises:
        InputError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise InputError("videos need PyAV: pip install 'gss[video]'") from error
    return av


def read_video(path: Path) -> Iterator[Frame]:
    """Yield the frames of a video in the order in which they are shown.

    Raises:
        InputError: the file is no video, or is cut off or damaged; the frames before the damage have been yielded.
    """
    av = load_av()
    count, last = 0, -1.0
    step = 0.0  # longest time that a frame was shown, in seconds
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"video {path} holds no pictures")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            expected, end = stream.frames, _stated_end(container, stream)
            for frame in container.decode(stream):
                image = frame.to_image()
                if frame.rotation:
                    image = image.rotate(frame.rotation, expand=True)
                # A frame without a time, or of an earlier one, follows the last by a tenth of a second at most.
                time = float(frame.time) if frame.time is not None else last
                rate = float(stream.average_rate or 10)
                before, last = last, time if time > last else last + min(0.1, 1 / rate)
                shown = float((frame.duration or 0) * (frame.time_base or 0))
                step = max(step, 1 / rate, shown, last - before if count else 0.0)
                yield Frame(count, last, image)
                count += 1
    except av.FFmpegError as error:
        reason = f"is damaged or cut off after {count} frames" if count else "cannot be read as a video"
        index = path.suffix.lower() in _INDEX_AT_END and not count
        hint = "; is it cut off? an mp4 has its index at the end" if index else ""
        raise InputError(f"video {path} {reason} ({error.strerror or error}){hint}") from error
    if not count:
        raise InputError(f"video {path} holds no frame")
    if count < expected:
        raise InputError(f"video {path} is cut off: it has {count} of {expected} frames")
    # Times are rounded to milliseconds in Matroska.
    if not expected and end is not None and end - last > 2 * step + 0.002:
        raise InputError(f"video {path} is cut off after {count} frames: it has {last:.3g} of {end:.3g} seconds")


def _stated_end(container: Any, stream: Any) -> float | None:
    """Return the time in seconds at which the pictures of an open video end, as its header states; None if it does not.

    Args:
        container: the video in PyAV.
        stream: its stream of pictures.
    """
    stated = []
    if stream.duration:
        stated.append(float(stream.duration * stream.time_base))
    # Matroska states it for each stream in a tag such as 00:01:02.500000000.
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    with suppress(ValueError):
        stated.append(3600 * int(hours) + 60 * int(minutes) + float(seconds))
    # The sound may be longer than the pictures. Without a header the duration is guessed from the bit rate.
    if stated or (len(container.streams) == 1 and not stream.codec_context.bit_rate):
        stated += [container.duration / 1_000_000] if container.duration else []
    return min(stated, default=None)


class VideoWriter:
    """Writer of one video file with H.264 pictures.

    Args:
        path: file to write.
        size: (H, W) of the frames; odd sides lose their last row or column, as the format has even ones.
    """

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        av = load_av()
        self._av, self._size = av, (max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2))
        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream("libx264", rate=30)
        self._stream.height, self._stream.width = self._size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = _TIME_BASE
        self._stream.options = {"crf": "18", "preset": "veryfast"}

    def add(self, image: Image.Image, time: float) -> None:
        """Add a frame that is shown at a time in seconds, later than the one before."""
        picture = image.convert("RGB")
        if picture.size != self._size[::-1]:
            height, width = self._size
            picture = picture.crop((0, 0, width, height))
        frame = self._av.VideoFrame.from_image(picture)
        frame.pts, frame.time_base = round(time / _TIME_BASE), _TIME_BASE
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is left."""
        self._container.mux(self._stream.encode())
        self._container.close()


@contextmanager
def video_file(path: Path, size: tuple[int, int]) -> Iterator[VideoWriter]:
    """Yield the writer of a video that appears at `path` when the block ends without an error."""
    with atomic_path(path) as temporary:
        writer = VideoWriter(temporary, size)
        try:
            yield writer
        finally:
            writer.close()


class VideoJob:
    """One video on its way: frames that are decoded and not yet written, and the video files that are open.

    Args:
        item: the video.
        writer: writer of files.
        stack: closes the video files at the end, or removes them after an error.
    """

    def __init__(self, item: Found, writer: Writer, stack: ExitStack) -> None:
        self.item, self.writer, self.stack = item, writer, stack
        self.path, self.folder = str(item.path), item.name + item.path.suffix
        self.frames: dict[int, Frame] = {}
        self.damage: Failure | None = None
        self.files: dict[str, str] = {}
        self.count, self.seconds = 0, 0.0
        self.size = (1, 1)
        self._films: dict[str, VideoWriter] = {}

    def read(self) -> Iterator[tuple[int, Image.Image | Failure]]:
        """Yield number and picture of each frame up to the end or the damage."""
        try:
            for frame in read_video(self.item.path):
                self.frames[frame.index] = frame
                yield frame.index, frame.image
        except InputError as error:
            self.damage = failure(self.path, error)

    def write(self, index: int, output: SegmentationOutput, row: int, seconds: float) -> Prediction:
        """Write a segmented frame: pictures to look at into videos, the rest as files."""
        frame = self.frames.pop(index)
        self.size, self.count, self.seconds = frame.image.size[::-1], index + 1, frame.time
        files = self.writer.files(f"{self.folder}/{index:06d}")
        for kind, content in self.writer.pictures(output, row, frame.image).items():
            if is_film(kind):
                del files[kind]
                self._film(kind).add(content, frame.time)
            else:
                save(self.writer.out / files[kind], content)
        record = self.writer.record(output, row, path=self.path, files=files, seconds=seconds)
        return replace(record, frame=index, time=round(frame.time, 4))

    def refuse(self, index: int, error: InputError) -> Failure:
        """Return the record of a frame that the pipeline refuses."""
        self.frames.pop(index)
        return failure(self.path, error)

    def _film(self, kind: str) -> VideoWriter:
        if kind not in self._films:
            self.files[kind] = f"{self.item.name}_{kind}.mp4"
            path = self.writer.out / self.files[kind]
            self._films[kind] = self.stack.enter_context(video_file(path, self.size))
        return self._films[kind]


def segment_video(
    pipeline: GSSPipeline, item: Found, writer: Writer, journal: Journal, batch_size: int
) -> Iterator[Prediction | Video | Failure]:
    """Segment a video: masks, scores and alarms as numbered files, and other pictures as videos.

    Frames of a damaged video are segmented up to the damage, and their videos are kept.

    Yields:
        The record of each frame, and that of the video if it is whole, else a failure; all are in the journal.
    """

    def write(index: int, output: SegmentationOutput, row: int, seconds: float) -> Prediction:
        return journal.keep(lambda: job.write(index, output, row, seconds))

    def refuse(index: int, error: InputError) -> Failure:
        return journal.keep(lambda: job.refuse(index, error))

    with ExitStack() as stack:
        job = VideoJob(item, writer, stack)
        for batch in batches(job.read(), batch_size):
            images = {index: image for index, image in batch.items() if isinstance(image, Image.Image)}
            records: Iterator[tuple[int, Prediction | Failure]] = segment(
                pipeline, images, writer.settings, batch_size, write=write, refuse=refuse
            )
            for _, record in records:
                yield record
    last = job.damage or Video(job.path, job.size, job.count, round(job.seconds, 4), job.files)
    journal.add(last)
    yield last


def is_film(kind: str) -> bool:
    """Return whether a kind of picture is for looking at, and goes into a video."""
    return kind in ("overlay", "maskige", "confidence") or kind.endswith("_heat")
