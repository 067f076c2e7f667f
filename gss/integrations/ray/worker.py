"""What one actor of Ray does: read, segment and write its share of a source."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gss.core.errors import InputError
from gss.integrations.ray.files import open_url
from gss.integrations.ray.segment import Encoded, SegmentBatch, Segmented, to_columns
from gss.integrations.ray.shards import read_shard
from gss.integrations.ray.sink import Sink
from gss.integrations.ray.source import Item
from gss.jobs.predict.journal import json_line
from gss.jobs.predict.pictures import failure
from gss.jobs.predict.records import Failure, Prediction, Predictions

Systems = dict[str, Any]
"""File systems by URL, which are open: those of archives close with the last reference to them."""


@dataclass(frozen=True)
class Share:
    """A row of the data set that Ray distributes.

    Attributes:
        items: image files, or one shard.
        done: ids of the images of the shard that an earlier run has done.
        contents: contents of the items, where a worker cannot read them; None for one that cannot be read here either.
    """

    items: list[Item]
    done: frozenset[str] = frozenset()
    contents: list[bytes | Failure] | None = None

    def to_row(self) -> dict[str, Any]:
        """Return a row of plain columns; names of files need not be valid Unicode, which Arrow requires."""
        facts = {"items": [vars(item) for item in self.items], "done": sorted(self.done)}
        contents = self.contents or []
        facts["errors"] = [vars(part) if isinstance(part, Failure) else None for part in contents]
        data = [b"" if isinstance(part, Failure) else part for part in contents]
        facts["lengths"] = list(map(len, data))
        return {"facts": json_line(facts), "contents": b"".join(data)}

    @classmethod
    def from_row(cls, facts: str, contents: bytes) -> Share:
        """Return the share of a row."""
        found = json.loads(facts)
        parts: list[bytes | Failure] = []
        start = 0
        for length, error in zip(found["lengths"], found["errors"], strict=True):
            parts.append(contents[start : start + length] if error is None else Failure(**error))
            start += length
        return cls([Item(**item) for item in found["items"]], frozenset(found["done"]), parts or None)


class Worker:
    """Callable class for `map_batches` whose batches are one share each.

    Args:
        pipeline: folder of the pipeline.
        options: further arguments of `SegmentBatch`.
        sink: the output.
        head: head of `predictions.json`, for the records of a batch.
    """

    def __init__(self, pipeline: str, options: Mapping[str, Any], sink: Sink, head: Predictions) -> None:
        self.segmenter, self.sink, self.head = SegmentBatch(pipeline, **options), sink, head

    def __call__(self, batch: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Yield the results of each batch of images: records, and the files if they are to be written elsewhere."""
        for facts, contents in zip(batch["facts"], batch["contents"], strict=True):
            share = Share.from_row(str(facts), bytes(contents))
            for images in _batches(read_share(share), self.segmenter.batch_size):
                rows = self._done([image for image in images if isinstance(image, Encoded)])
                rows += [Segmented(image, {}) for image in images if isinstance(image, Failure)]
                columns = to_columns([""] * len(rows), rows, self.segmenter.kinds if self.sink.only_here else [])
                columns["failure"] = _texts(row.record for row in rows)
                yield columns

    def _done(self, images: Sequence[Encoded]) -> list[Segmented]:
        """Return the results of images, written unless another process must do it."""
        if not images:
            return []
        ids = [image.id for image in images]
        # An actor that died while it worked on a share had done some of its batches.
        records = self.sink.read_part(ids)
        if records is None:
            rows = self.segmenter.segment(images)
            if self.sink.only_here:
                return rows
            records = self.sink.write_results(rows)
            self.sink.write_part(ids, part_of(self.head, records))
        return [Segmented(record, {}) for record in records]


def part_of(head: Predictions, records: Iterable[Prediction | Failure]) -> Predictions:
    """Return predictions with the head of a run and some records."""
    records = list(records)
    images = [record for record in records if isinstance(record, Prediction)]
    return replace(head, images=images, failed=[record for record in records if isinstance(record, Failure)])


def read_share(share: Share) -> Iterator[Encoded | Failure]:
    """Yield the images of a share that are not done; last, a failure if a shard is cut off."""
    systems: Systems = {}
    for index, item in enumerate(share.items):
        if not item.is_shard:
            content = read_item(item, systems) if share.contents is None else share.contents[index]
            yield Encoded(item.id, item.name, content)
            continue
        try:
            yield from _members(share, index, systems)
        except (InputError, OSError) as error:
            yield failure(item.id, error)


def read_item(item: Item, systems: Systems) -> bytes | Failure:
    """Return the content of a file, or why it cannot be read."""
    try:
        with _open(item, systems) as file:
            return file.read()
    except Exception as error:  # packages of object stores have errors of their own, without a common base
        return failure(item.id, error)


def _members(share: Share, index: int, systems: Systems) -> Iterator[Encoded]:
    """Yield the images of a shard that are not done."""
    item = share.items[index]
    compressed = not item.path.lower().endswith(".tar")
    if share.contents is None:
        file = _open(item, systems)
    else:
        content = share.contents[index]
        if isinstance(content, Failure):
            raise InputError(content.error)
        file = io.BytesIO(content)
    seen: Counter[str] = Counter()
    with file:
        for path, name, data in read_shard(file, item.id, compressed=compressed):
            seen[path] += 1
            again = f"#{seen[path]}" if seen[path] > 1 else ""
            id = f"tar://{path}{again}::{item.id}"
            if id not in share.done:
                yield Encoded(id, f"{item.name}/{name}", data)


def _open(item: Item, systems: Systems) -> Any:
    if item.url not in systems:
        systems[item.url], _ = open_url(item.url, "source")
    return systems[item.url].open(item.path, "rb")


def _batches(images: Iterable[Encoded | Failure], size: int) -> Iterator[list[Encoded | Failure]]:
    """Yield up to `size` images at a time."""
    batch: list[Encoded | Failure] = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _texts(records: Iterable[Prediction | Failure]) -> np.ndarray:
    """Return failures as JSON, in an array `[n]`; empty for what did not fail."""
    texts = [json_line(record.to_json()) if isinstance(record, Failure) else "" for record in records]
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array
