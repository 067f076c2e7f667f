"""How far a job of several stages is, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from gss.core.words import duration


class StageClock:
    """Number and time of the stages of a job.

    Args:
        names: stages, in order.
        usual: seconds that stages take on some machine, from which what is left is reckoned; stages that are not
            among `names` follow them. Empty where this is not known.
    """

    def __init__(self, names: Sequence[str], usual: Mapping[str, float] | None = None) -> None:
        self._usual = dict(usual or {})
        self._names = [*names, *(name for name in self._usual if name not in names)]
        self._done: dict[str, float] = {}
        self._started = time.perf_counter()

    def place(self, name: str) -> str:
        """Return which stage of how many one is, with its name; the name alone where it is the only one."""
        count = len(self._names)
        return f"stage {self._names.index(name) + 1} of {count}, {name}" if count > 1 else name

    def finish(self, name: str, seconds: float) -> None:
        """Note how long a stage took."""
        self._done[name] = seconds

    def skip(self, name: str) -> None:
        """Note that a stage was finished before."""
        self._usual.pop(name, None)

    def elapsed(self) -> str:
        """Return the time since the start in words."""
        return duration(time.perf_counter() - self._started)

    def left(self) -> str:
        """Return the time since the start, and what is left if it can be reckoned; empty before a stage is done."""
        if not self._done:
            return ""
        so_far = f"; {self.elapsed()} so far"
        usual = sum(self._usual.get(name, 0.0) for name in self._done)
        rest = sum(seconds for name, seconds in self._usual.items() if name not in self._done)
        if not usual:
            return so_far
        return f"{so_far}, about {duration(rest * sum(self._done.values()) / usual)} left"
