"""The images of an evaluation: this process's share, read ahead, without those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from gss.core.ahead import read_ahead
from gss.core.distributed import gather_objects, shard
from gss.core.errors import InputError
from gss.core.records import Record
from gss.data.protocols import ReadableImages

# Images that wait for a full batch of their size, as a multiple of the batch size.
_WAITING = 8
# Calls that wait for the thread behind the network; each holds the maps of one image.
_QUEUE = 2


@dataclass(frozen=True)
class Unreadable(Record):
    """An image that is left out.

    Attributes:
        id: name of the image.
        reason: error of reading it.
    """

    id: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        index: index in the data set.
        image: PIL RGB.
        labels: uint8 [H, W], 255 for void.
    """

    index: int
    image: Image.Image
    labels: np.ndarray


class ImageShare:
    """Share of this process of some images of a data set.

    An image that cannot be read is left out and reported at the end, so that one damaged file does not cost the
    measurements of all others.

    Args:
        dataset: images and labels.
        indices: images that all processes measure together.
        workers: number of threads that read ahead; 0 reads in the calling thread.
        read: function that reads an image and its labels by index; `dataset.read` by default.
        strict: True raises the error of an image that cannot be read.
    """

    def __init__(
        self,
        dataset: ReadableImages,
        indices: Sequence[int],
        *,
        workers: int = 0,
        read: Callable[[int], tuple[Image.Image, np.ndarray]] | None = None,
        strict: bool = False,
    ) -> None:
        self.dataset, self.workers, self.strict = dataset, workers, strict
        self.all_indices = list(indices)
        self.indices = [self.all_indices[position] for position in shard(len(indices))]
        self._read = read or dataset.read
        self._reasons: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the images in order."""
        for index, sample in zip(self.indices, read_ahead(self._sample, self.indices, self.workers), strict=True):
            if isinstance(sample, Sample):
                yield sample
            else:
                self._reasons[index] = sample

    def batches(self, batch_size: int) -> Iterator[list[Sample]]:
        """Yield batches of images of one size; with a batch size of 1 they are in order."""
        waiting: dict[tuple[int, int], list[Sample]] = {}
        for sample in self:
            batch = waiting.setdefault(sample.image.size, [])
            batch.append(sample)
            if len(batch) == batch_size:
                yield waiting.pop(sample.image.size)
            elif sum(map(len, waiting.values())) == _WAITING * batch_size:
                yield waiting.pop(max(waiting, key=lambda size: len(waiting[size])))
        yield from waiting.values()

    def leave_out(self, index: int, error: Exception) -> None:
        """Report an image that was read as unreadable after all, because of another file that belongs to it."""
        if self.strict:
            raise error
        self._reasons[index] = " ".join(str(error).split())

    def readable(self) -> list[int]:
        """Return the indices of this process without those that could not be read so far."""
        return [index for index in self.indices if index not in self._reasons]

    def unreadable(self) -> list[Unreadable]:
        """Return the images of all processes that could not be read; call it on each of them after the last image.

        Raises:
            InputError: no image could be read.
        """
        reasons = {index: reason for part in gather_objects(self._reasons) for index, reason in part.items()}
        if reasons and len(reasons) == len(self.all_indices):
            first = min(reasons)
            raise InputError(f"no image could be read; the first, {self.dataset.ids[first]}: {reasons[first]}")
        return [Unreadable(str(self.dataset.ids[index]), reasons[index]) for index in sorted(reasons)]

    def _sample(self, index: int) -> Sample | str:
        """Return an image, or the reason why it cannot be read."""
        try:
            image, labels = self._read(index)
        except (InputError, OSError) as error:
            if self.strict:
                raise
            return str(error)
        if labels.shape != (image.height, image.width):
            return f"the image has size {[image.height, image.width]}, its labels {list(labels.shape)}"
        return Sample(index, image, labels)


def unreadable_notes(unreadable: Sequence[Unreadable], images: int) -> list[str]:
    """Return a note on the images that were left out, if there are any.

    Args:
        unreadable: images that were left out.
        images: number of images measured.
    """
    if not unreadable:
        return []
    listed = "; ".join(f"{image.id}: {image.reason}" for image in unreadable[:3])
    more = f"; and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
    return [
        f"{len(unreadable)} of {len(unreadable) + images} images could not be read and are left out: {listed}{more}"
    ]


class Behind:
    """One thread that counts the results of an image while the network runs on the next one.

    Calls are made one at a time and in order, so the counts are the same as without the thread. As a context manager
    it waits for the last call.

    Args:
        active: whether there is a thread; without, a call is made at once.
    """

    def __init__(self, *, active: bool) -> None:
        # These settings belong to a thread. Results must not depend on which thread computes them.
        settings = (torch.get_num_threads(), _flushes_denormals())
        self._thread = ThreadPoolExecutor(1, "count", _prepare_thread, settings) if active else None
        self._calls: list[Future[Any]] = []

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function after all earlier ones; an error of an earlier call is raised here or at the end."""
        if self._thread is None:
            function(*args)
            return
        while len(self._calls) >= _QUEUE:
            self._calls.pop(0).result()
        self._calls.append(self._thread.submit(function, *args))

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=kind is not None)
            if kind is None:
                for call in self._calls:
                    call.result()


def _flushes_denormals() -> bool:
    return float(torch.tensor(1e-38) * torch.tensor(1e-2)) == 0.0


def _prepare_thread(threads: int, flush: bool) -> None:
    torch.set_num_threads(threads)
    torch.set_flush_denormal(flush)
    torch.set_grad_enabled(False)
