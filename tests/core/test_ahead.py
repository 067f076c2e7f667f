"""Items are read ahead by threads, in order and not too many."""

import threading
import time

import pytest

from gss.core.ahead import read_ahead


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_items_come_in_order(workers):
    def read(key):
        time.sleep(0.002 * (key % 3))
        return key * key

    assert list(read_ahead(read, range(20), workers)) == [key * key for key in range(20)]
    assert list(read_ahead(read, [], workers)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_when_its_turn_is(workers):
    def read(key):
        if key == 3:
            raise OSError(f"no {key}")
        return key

    items = read_ahead(read, range(9), workers)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="no 3"):
        next(items)


def test_threads_read_while_the_caller_works_but_not_all():
    started, release = [], threading.Event()

    def read(key):
        started.append(key)
        if key > 0:
            release.wait(5)
        return key

    items = read_ahead(read, range(100), 2)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while len(started) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert started == [0, 1, 2]  # two threads are busy, the rest waits
    release.set()
    assert next(items) == 1
    items.close()
    assert len(started) <= 8
