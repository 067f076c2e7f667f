"""SIGTERM as an exception, so that a stopped command cleans up and says what it leaves behind."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal stopped the process.

    Attributes:
        number: number of the signal.
        hint: what is left and how to continue.
        after: how far it got, such as "after 8 of 24 images".
        exit_code: 128 plus that number, as a shell gives it.
    """

    def __init__(self, number: int = signal.SIGINT, hint: str = "", after: str = "") -> None:
        """Keep the signal.

        Args:
            number: number of the signal.
            hint: what is left and how to continue.
            after: how far it got, such as "after 8 of 24 images".
        """
        name = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
        name = f"{name} {after}" if after else name
        super().__init__(f"{name}; {hint}" if hint else name)
        self.number, self.hint, self.after, self.exit_code = number, hint, after, 128 + number


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` at the first SIGTERM, as Python raises KeyboardInterrupt at Ctrl-C.

    Further ones are ignored for the time of the block, so that cleaning up is not interrupted. In another thread than
    the main one, where Python allows no handlers, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Interrupted(number)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGTERM and Ctrl-C back until the block ends, for writes that belong together.

    In another thread than the main one, which gets no signals, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    previous: dict[int, Any] = {}
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            previous[number] = signal.signal(number, lambda raised, frame: held.append(raised))
        yield
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)
    if held:
        signal.raise_signal(held[0])
