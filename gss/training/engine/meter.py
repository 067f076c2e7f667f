"""Loss values of a run, copied from the device to the log without waiting for the device."""

import math
import time
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from gss.core import distributed


class NonFiniteError(Exception):
    """A value of a step is NaN or infinite.

    Attributes:
        step: optimizer step, counted from 0.
        values: all values of that step, averaged over the global batch.
    """

    def __init__(self, step: int, values: dict[str, float]) -> None:
        """Keep step and values for a message."""
        super().__init__(f"step {step}: {values}")
        self.step, self.values = step, values


@dataclass
class _Pending:
    step: int
    names: list[str]
    values: Tensor
    copied: torch.cuda.Event | None


class StepMeter:
    """Averages the values of steps over processes and over the steps between two log lines.

    The values of a step are reduced on the device and copied asynchronously. They are looked at `lag` steps
    later: 1 on a GPU, where the step is still running when the next one is queued, and 0 on a CPU. A request
    to stop travels the same way, so all processes learn of it at the same step.
    """

    def __init__(self, device: torch.device) -> None:
        """Start empty.

        Args:
            device: device that computes the values.
        """
        self.lag = 1 if device.type == "cuda" else 0
        self.stopping = False
        self._pending: deque[_Pending] = deque()
        self.restart(0)

    def restart(self, step: int) -> None:
        """Forget sums and times; counting continues from `step` steps made."""
        self.waited = 0.0
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._started, self._first = time.perf_counter(), step

    def exclude(self, seconds: float) -> None:
        """Leave out time that was not spent on training."""
        self._started += seconds

    def push(self, step: int, values: dict[str, Tensor], *, stop: bool) -> None:
        """Take the values of one optimizer step.

        Args:
            step: optimizer step, counted from 0.
            values: detached scalars, the same names on every process.
            stop: True if this process was asked to stop.
        """
        stacked = torch.stack(list(values.values()))
        stacked = torch.cat([stacked, stacked.new_full((1,), float(stop))])
        reduced = distributed.sum_across(stacked) / distributed.num_processes()
        copied = torch.cuda.Event() if reduced.is_cuda else None
        host = reduced.to("cpu", non_blocking=True)
        if copied is not None:
            copied.record()
        self._pending.append(_Pending(step, list(values), host, copied))

    def read(self, *, everything: bool = False) -> None:
        """Read the values of all steps except the newest `lag`.

        Args:
            everything: True reads the newest too.

        Raises:
            NonFiniteError: a value is NaN or infinite; of the earliest such step.
        """
        while len(self._pending) > (0 if everything else self.lag):
            pending = self._pending.popleft()
            if pending.copied is not None:
                pending.copied.synchronize()
            *numbers, stop = pending.values.tolist()
            values = dict(zip(pending.names, numbers, strict=True))
            if not all(math.isfinite(number) for number in numbers):
                raise NonFiniteError(pending.step, values)
            self.stopping |= stop > 0
            for name, number in values.items():
                self._sums[name] = self._sums.get(name, 0.0) + number
                self._counts[name] = self._counts.get(name, 0) + 1

    def line(self, step: int, batch_size: int) -> dict[str, float]:
        """Return the means since the last `restart`, with the speed, and start anew.

        Args:
            step: optimizer steps made.
            batch_size: samples per optimizer step.
        """
        self.read(everything=True)
        elapsed = max(time.perf_counter() - self._started, 1e-9)
        values = {name: total / self._counts[name] for name, total in self._sums.items()}
        values["images_per_second"] = (step - self._first) * batch_size / elapsed
        values["data_wait"] = self.waited / elapsed
        self.restart(step)
        return values
