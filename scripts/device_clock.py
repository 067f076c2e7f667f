"""Time, memory and facts of a device, for `device_check.py`."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


def wait(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[dict[str, float | None]]:
    """Yield a dictionary whose "mb" is the peak of allocated device memory in MB; None on a CPU."""
    found: dict[str, float | None] = {"mb": None}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    if device.type == "cuda":
        found["mb"] = torch.cuda.max_memory_allocated(device) / 1e6


def seconds_of(run: Callable[[], Any], device: torch.device, *, quick: bool) -> float:
    """Return the least seconds of some calls, after two that do not count."""
    times = []
    for number in range(3 if quick else 9):
        wait(device)
        start = time.perf_counter()
        run()
        wait(device)
        if number > 1:
            times.append(time.perf_counter() - start)
    return min(times)


def measured(run: Callable[[], Any], device: torch.device, *, quick: bool) -> tuple[float, float | None]:
    """Return seconds and peak memory in MB of a call."""
    with peak_memory(device) as peak:
        seconds = seconds_of(run, device, quick=quick)
    return seconds, peak["mb"]


def facts(device: torch.device) -> dict[str, Any]:
    """Describe the device and the software."""
    found: dict[str, Any] = {"device": str(device), "torch": torch.__version__, "python": platform.python_version()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"name": properties.name, "memory_mb": properties.total_memory / 1e6, "cuda": torch.version.cuda}
    else:
        found |= {"name": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    return found
