"""Speed and memory of plain pipeline calls."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from gss.core.distributed import gather_objects, sum_across
from gss.data.protocols import ReadableImages
from gss.pipeline.pipeline import GSSPipeline

# At most so many images, and about so many seconds.
SPEED_IMAGES, SPEED_SECONDS = 8, 10.0


def measure_speed(
    pipeline: GSSPipeline,
    dataset: ReadableImages,
    indices: Sequence[int],
    *,
    mode: str,
    batch_size: int,
    options: dict[str, Any],
) -> tuple[float, float]:
    """Measure plain pipeline calls after one call to warm up; reading is not part of it.

    Args:
        pipeline: the pipeline, on its device.
        dataset: images.
        indices: images of this process, of which the first are used.
        mode: decode mode.
        batch_size: images of one call.
        options: further arguments of the call.

    Returns:
        Images per second, summed over processes, and the largest peak memory of one process in MiB.
    """
    images = [dataset.read(index)[0] for index in indices[:SPEED_IMAGES]]
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    speed = 0.0
    on_gpu = pipeline.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(pipeline.device)
    if batches:
        pipeline(batches[0], decode=mode, batch_size=batch_size, **options)
        done, start_time = 0, time.perf_counter()
        for batch in batches:
            # The call returns NumPy arrays, so the GPU has finished when it does.
            pipeline(batch, decode=mode, batch_size=batch_size, **options)
            done += len(batch)
            if time.perf_counter() - start_time > SPEED_SECONDS:
                break
        speed = done / (time.perf_counter() - start_time)
    memory = torch.cuda.max_memory_allocated(pipeline.device) / 2**20 if on_gpu else resident_mib()
    return float(sum_across(torch.tensor(speed))), max(gather_objects(memory))


def resident_mib() -> float:
    """Return the largest resident size of this process so far, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
