"""Steps of a long computation, told to whoever shows them, without passing a bar through all functions between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[int, int], None]
"""Function from the steps just done and the steps that are new to do."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def watching(listen: Listener) -> Iterator[None]:
    """Call `listen` at every step inside the block, in this thread."""
    token = _listener.set(listen)
    try:
        yield
    finally:
        _listener.reset(token)


def expect_steps(count: int) -> None:
    """Say that `count` steps follow."""
    listen = _listener.get()
    if listen is not None:
        listen(0, count)


def count_steps(count: int) -> None:
    """Say that `count` of the expected steps are done."""
    listen = _listener.get()
    if listen is not None:
        listen(count, 0)
