"""Segmenting a source on a cluster of Ray: shares of it to actors, records back."""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gss.core.errors import InputError
from gss.core.progress import Progress
from gss.data.files import natural_key
from gss.integrations.ray.cluster import cluster
from gss.integrations.ray.segment import Segmented
from gss.integrations.ray.sink import Sink
from gss.integrations.ray.source import Item, find_items
from gss.integrations.ray.worker import Share, Systems, Worker, read_item
from gss.jobs.predict.pictures import Writer
from gss.jobs.predict.records import Failure, Prediction, Predictions, Settings
from gss.pipeline.pipeline import GSSPipeline

SHARES = 16
"""Shares of an actor: few enough to be managed, and enough that a late actor is not waited for long."""
RETRIES = 3
"""Times that a share is done again whose actor died; an image that kills every actor must not do so forever."""


@dataclass(frozen=True)
class Job:
    """What is to be segmented, and where.

    Attributes:
        folder: folder of the pipeline, which every machine of the cluster can read.
        source: URL or path, see `find_items`.
        out: URL or path of a folder, or of a zip file.
        batch_size: images at once.
        device: device of the actors; None for a GPU each where the cluster has some, else a CPU.
        dtype: precision of the prior.
        exact: read every cell with all codes.
        actors: number of actors; None for one on each GPU, or else CPU, of the cluster.
        address: address of the cluster; None for `RAY_ADDRESS`, or else a new one on this machine.
        overwrite: replace earlier results.
        resume: keep the results of an earlier run with the same settings, and do the rest.
    """

    folder: str
    source: str
    out: str
    batch_size: int = 4
    device: str | None = None
    dtype: str = "float32"
    exact: bool = False
    actors: int | None = None
    address: str | None = None
    overwrite: bool = False
    resume: bool = False


def predict_source(
    pipeline: GSSPipeline, job: Job, settings: Settings, *, source: str = "", weights: str = "", quiet: bool = False
) -> Predictions:
    """Segment a source with actors of Ray, and write the files that `gss predict` writes.

    An image that cannot be read, segmented or written is reported, and the others are done. The share of an actor that
    dies is done again. `predictions.json` is written at the end, also of a run that is stopped; until then there are
    records of the finished batches, from which a killed run goes on.

    Args:
        pipeline: the pipeline, on any device; the actors load their own.
        job: what is to be done.
        settings: choices that all results share.
        source: where the pipeline came from, for the JSON; its folder if empty.
        weights: digest of the pipeline's files, for the JSON.
        quiet: show no progress bar.

    Raises:
        InputError: Ray is missing, the source is not there, the output holds something or may not be written, an
            earlier run had other settings, or actors die again and again.
    """
    started = time.perf_counter()
    # 1. What there is to do, and what is there already.
    result = Predictions(
        source or job.folder,
        weights,
        job.dtype,
        settings,
        pipeline.processor.describe(settings.size),
        pipeline.id2label,
        Writer(pipeline, settings, Path()).thresholds,
    )
    sink = Sink(job.out)
    items = find_items(job.source, exclude=job.out)
    sink.prepare(overwrite=job.overwrite, resume=job.resume)
    order = {item.id: index for index, item in enumerate(items)}
    done = _earlier(sink, result, items) if job.resume else {}
    result.images, result.skipped = list(done.values()), len(done)

    # 2. The rest, on the cluster.
    failed: list[Failure] = []
    with contextlib.ExitStack() as stack:
        ray = stack.enter_context(cluster(job.address, job.actors))
        sink.begin(result)
        try:
            records = _segment(ray, sink, result, items, set(done), job)
            for record in _shown(records, sum(not item.is_shard and item.id not in done for item in items), quiet):
                if isinstance(record, Failure):
                    failed.append(record)
                else:
                    done[record.image] = record
        except BaseException:
            stack.close()
            # Batches that actors finished, and whose records had not come back yet.
            if not sink.only_here:
                with contextlib.suppress(InputError):
                    done = _earlier(sink, result, items) | done
            raise

        # 3. The records of all, in the order of the source.
        finally:
            result.images = sorted(done.values(), key=lambda record: _place(record.image, order))
            result.failed = sorted(failed, key=lambda record: _place(record.image, order))
            result.segmented = len(result.images) - result.skipped
            sink.finish(result)
    result.seconds = time.perf_counter() - started
    return result


def _shown(records: Iterator[Prediction | Failure], images: int, quiet: bool) -> Iterator[Prediction | Failure]:
    """Yield records while their progress is shown; images of shards are counted as they come."""
    with Progress(images, "segmenting", shown=not quiet) as bar:
        for record in records:
            yield record
            if bar.count == bar.total:
                bar.expect(1, "image")
            bar.update()


def _earlier(sink: Sink, head: Predictions, items: Sequence[Item]) -> dict[str, Prediction]:
    """Return what an earlier run has done of this source, in its order."""
    order = {item.id: index for index, item in enumerate(items)}
    changed = {item.id: time for item in items if not item.is_shard and (time := item.changed) is not None}
    found = {id: record for id, record in sink.earlier(head.head(), changed).items() if _item_id(id) in order}
    return {id: found[id] for id in sorted(found, key=lambda id: _place(id, order))}


def _segment(
    ray: Any, sink: Sink, head: Predictions, items: Sequence[Item], done: set[str], job: Job
) -> Iterator[Prediction | Failure]:
    """Yield the record of each image as it is written."""
    on_gpus, actors = _actors(ray, job)
    shares = list(_shares(items, done, job.batch_size, actors))
    if not shares:
        return
    settings = head.settings
    options = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    options |= {"batch_size": job.batch_size, "device": job.device, "dtype": job.dtype, "exact": job.exact}
    empty = replace(head, images=[], failed=[])
    source = ray.data.from_items([share.to_row() for share in shares], override_num_blocks=len(shares))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # limits of restarts have no other name yet than one that is to go
        rows = source.map_batches(
            Worker,
            fn_constructor_args=(job.folder, options, sink, empty),
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(shares)), max_tasks_in_flight_per_actor=2),
            num_cpus=1,
            num_gpus=1 if on_gpus else 0,
            ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": RETRIES},
        )
    try:
        for row in rows.iter_rows():
            yield _written(sink, row)
    except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
        raise InputError(
            f"actors of Ray died {RETRIES + 1} times at one share of the images, or could not begin; what is done is "
            f"kept, and --resume goes on: {' '.join(str(error).split())[:500]}"
        ) from error


def _actors(ray: Any, job: Job) -> tuple[bool, int]:
    """Return whether each actor gets a GPU, and how many actors there are."""
    there = ray.cluster_resources()
    on_gpus = bool(there.get("GPU")) if job.device is None else job.device.startswith("cuda")
    room = int(there.get("GPU" if on_gpus else "CPU", 0))
    if room < (job.actors or 1):
        kind = "GPUs" if on_gpus else "CPUs"
        raise InputError(f"the cluster of Ray has {room} {kind}, too few for {job.actors or 1} actors with one each")
    return on_gpus, job.actors or room


def _shares(items: Sequence[Item], done: set[str], batch_size: int, actors: int) -> Iterator[Share]:
    """Yield shards, and other images some batches at a time."""
    systems: Systems = {}
    images = [item for item in items if not item.is_shard and item.id not in done]
    batches = -(-len(images) // batch_size)
    size = batch_size * max(1, -(-batches // (actors * SHARES)))
    groups = [images[first : first + size] for first in range(0, len(images), size)]
    for group in groups + [[item] for item in items if item.is_shard]:
        here = any(item.only_here for item in group)
        contents = [read_item(item, systems) for item in group] if here else None
        known = {id for id in done if _item_id(id) == group[0].id} if group[0].is_shard else set()
        yield Share(group, frozenset(known), contents)


def _written(sink: Sink, row: Mapping[str, Any]) -> Prediction | Failure:
    """Return the record of a row, whose files are written here if the actor could not."""
    if row["failure"]:
        return Failure(**json.loads(row["failure"]))
    record = Prediction.from_json(json.loads(row["record"]))
    if sink.only_here:
        (written,) = sink.write_results([Segmented(record, {kind: row[kind] for kind in record.files})])
        return written
    return record


def _item_id(id: str) -> str:
    """Return the id of the file that an image comes from: itself, or a shard."""
    return id.partition("::")[2] if id.startswith("tar://") else id


def _place(id: str, order: Mapping[str, int]) -> tuple[int, Any]:
    """Return the key of the order of a source: files, and in a shard the paths in it."""
    return order.get(_item_id(id), len(order)), natural_key(Path(id))
