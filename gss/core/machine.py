"""What a process asks of the processor and the C library, so that networks run fast on CPUs."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def flush_denormals(flush: bool) -> None:
    """Let CPUs take numbers below 1e-38 for 0, if torch is loaded; best before its threads start, which inherit it.

    Probabilities of unlikely codes and their gradients are that small, and would halve the speed of training.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(flush)


# Parameters of glibc's `mallopt`, and the size from which on freed memory goes back to the system.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**30


def keep_memory() -> None:
    """Let the C library keep freed memory, up to 1 GB, for the next tensors; only glibc can.

    Otherwise it gives every large tensor back to the system, which clears each page before the next one gets it: two
    fifths of the processor time of an image of 1024x2048 pixels. Settings of the user (`MALLOC_TRIM_THRESHOLD_`) stay.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)


@contextmanager
def uncollected() -> Iterator[None]:
    """Import modules without the search for cycles among their objects, a fifth of the time of large libraries."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
