"""SIGTERM and SIGINT as a request that the training loop answers at the end of a step."""

import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """Context manager that catches SIGTERM and SIGINT while training runs.

    The first signal only sets `signal_number`. A second Ctrl-C ends the process at once; the newest
    checkpoint stays whole. Launchers repeat the Ctrl-C of the terminal to their children, so a repetition
    within a second counts as the same one.
    """

    def __init__(self) -> None:
        """Start without a request."""
        self.signal_number = 0
        self._first = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        # Python allows handlers only in the main thread; elsewhere the caller owns the signals.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.signal_number:
            self.signal_number, self._first = number, time.monotonic()
            sys.stderr.write(f"\n{signal.Signals(number).name}: saving at the end of this step\n")
        elif number == signal.SIGINT and time.monotonic() - self._first > 1.0:
            raise KeyboardInterrupt
