"""Progress of long work: a bar on a terminal, now and then a line elsewhere, nothing on other processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from tqdm import tqdm

from gss.core.distributed import is_main
from gss.core.words import with_article

_T = TypeVar("_T")
_Item = TypeVar("_Item", covariant=True)

Listener = Callable[[int, int], None]
"""Function from the steps just done and the steps that are new to do."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)

_EVERY = 30.0
"""Seconds between two lines where the output is no terminal."""


class Progress:
    """Progress of one phase, to be used in a `with` block.

    Args:
        total: number of units of the phase.
        desc: what is done, such as "segmenting".
        unit: what is counted, such as "image".
        shown: False shows nothing.
        initial: units that are done already.
        leave: keep the bar on the screen when the phase ends.
    """

    def __init__(
        self, total: int, desc: str, *, unit: str = "image", shown: bool = True, initial: int = 0, leave: bool = True
    ) -> None:
        shown = shown and is_main()
        terminal = sys.stderr.isatty()
        self.total, self.count, self._words = total, initial, (desc, unit)
        self._bar = tqdm(
            total=total,
            desc=desc,
            unit=unit,
            initial=initial,
            leave=leave,
            dynamic_ncols=True,
            disable=not (shown and terminal),
        )
        self._lines = shown and not terminal
        self._start, self._first = time.monotonic(), initial
        self._said = self._start

    @property
    def unit(self) -> str:
        """What is counted."""
        return self._words[1]

    def update(self, count: int = 1) -> None:
        """Count units that are done."""
        self.count += count
        self._bar.update(count)
        if self._lines and time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            desc, unit = self._words
            each = (self._said - self._start) / max(1, self.count - self._first)
            left = tqdm.format_interval(each * max(0, self.total - self.count))
            rate = f"{each:.2f} s {with_article(unit)}" if each >= 0.1 else f"{1 / max(each, 1e-9):.0f} {unit}s/s"
            print(f"{desc}: {self.count} of {self.total} {unit}s, {rate}, {left} left", file=sys.stderr, flush=True)

    def expect(self, count: int, unit: str) -> None:
        """Count in another unit, of which `count` more are expected; what was counted in an earlier unit is dropped."""
        if unit != self._words[1]:
            self._words = (self._words[0], unit)
            self.total = self.count = self._first = 0
            self._bar.unit = unit
            self._bar.reset(0)
        self.total += count
        self._bar.total = self.total
        self._bar.refresh()

    def note(self, **figures: Any) -> None:
        """Show figures behind the bar."""
        self._bar.set_postfix(refresh=False, **figures)

    def close(self) -> None:
        """End the phase."""
        self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Items(Protocol[_Item]):
    """Items that can be counted and gone through."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __iter__(self) -> Iterator[_Item]:
        """Go through the items."""


def tracked(
    items: Items[_T], desc: str, *, unit: str = "image", shown: bool = True, leave: bool = True
) -> Iterator[_T]:
    """Yield items while their progress is shown; arguments as for `Progress`."""
    with Progress(len(items), desc, unit=unit, shown=shown, leave=leave) as progress:
        for item in items:
            yield item
            progress.update()


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
