"""Reading ahead: threads read the next items while the caller works on the present one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")


def read_ahead(read: Callable[[K], T], keys: Iterable[K], workers: int = 0) -> Iterator[T]:
    """Yield `read(key)` for every key, in order; an error is raised when its key's turn comes.

    Args:
        read: function that may be called from several threads at once.
        keys: arguments of its calls.
        workers: number of threads, at most twice as many items are held; 0 reads in the calling thread.
    """
    if workers < 1:
        yield from map(read, keys)
        return
    remaining = iter(keys)
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as threads:
        waiting: deque[Future[T]] = deque(threads.submit(read, key) for key in islice(remaining, 2 * workers))
        try:
            while waiting:
                item = waiting.popleft().result()
                waiting.extend(threads.submit(read, key) for key in islice(remaining, 1))
                yield item
        finally:
            for future in waiting:
                future.cancel()
