"""The cluster of Ray that a run uses: one that is there, or one of this machine for the time of the run."""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gss.core.errors import InputError

_OBJECT_STORE = 256 * 2**20  # bytes: what passes between processes are records, not images


def load_ray() -> Any:
    """Return Ray with Ray Data.

    Raises:
        InputError: it is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError("--engine ray needs Ray Data: pip install 'gss[ray]'") from error
    return ray


@contextmanager
def cluster(address: str | None = None, actors: int | None = None) -> Iterator[Any]:
    """Yield Ray, connected to a cluster.

    A connection that is there is used, and kept. Otherwise there is a new one for the time of the block: to a cluster
    by its address, or to a new one of this machine.

    Args:
        address: address of a cluster; `RAY_ADDRESS` if None.
        actors: number of actors that there must be room for on this machine.

    Raises:
        InputError: Ray is not installed, or no cluster is at the address.
    """
    ray = load_ray()
    if ray.is_initialized():
        with _quiet(ray):
            yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        _check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a run sends nothing to anybody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    here = {"num_cpus": max(actors or 0, os.cpu_count() or 1), "include_dashboard": False}
    options = {"address": address} if address else {**here, "object_store_memory": _OBJECT_STORE}
    try:
        with _stderr_kept():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, ValueError) as error:
        place = f"at {address}" if address else "on this machine"
        raise InputError(f"no cluster of Ray {place}: {' '.join(str(error).split())}") from error
    try:
        with _quiet(ray):
            yield ray
    finally:
        ray.shutdown()


@contextmanager
def _stderr_kept() -> Iterator[None]:
    """Keep back what the C++ part of Ray writes to stderr, such as its level of logging; show it if the block fails."""
    sys.stderr.flush()
    usual = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(usual, 2)
            kept.seek(0)
            sys.stderr.write(kept.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(usual, 2)
            os.close(usual)


def _check_address(address: str) -> None:
    """Require that something answers at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if "/" in address or not port.isdecimal():
        return  # another form, which Ray reads
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(f"no cluster of Ray at {address}: {reason}; check --address and RAY_ADDRESS") from error


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Keep Ray Data from drawing bars and telling its plan for the time of the block."""
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before[0]
        logger.setLevel(before[1])
