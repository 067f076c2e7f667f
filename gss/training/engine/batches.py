"""Which samples make up which optimizer step.

The run reads one endless stream: the permutation of epoch 0, then of epoch 1, and so on, each derived from
(seed, epoch). Step s takes the positions s * batch_size ... (s + 1) * batch_size of it. So the samples of a
step are a function of (seed, step) alone, an epoch uses every sample exactly once, a batch may cross the
border of two epochs, and neither the number of processes nor a resume in mid-epoch changes anything.

A data set of several domains has such a stream for each, and an epoch takes a fixed number of samples from each
stream, evenly spread. The epoch of a sample, which chooses its augmentation, is then that of its own stream: a
sample that one epoch of the run takes several times is augmented in several ways.
"""

import functools
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

Sample = tuple[int, int]  # (epoch, index)
Quotas = tuple[tuple[int, int], ...]  # per domain: its samples, and how many of them an epoch takes


@functools.lru_cache(maxsize=4)
def _epoch_plan(quotas: Quotas, seed: int, epoch: int) -> np.ndarray:
    """(epoch of its stream, index) of every sample of an epoch, in order; int64 `[N, 2]`."""
    places, samples, first = [], [], 0
    for domain, (size, drawn) in enumerate(quotas):
        positions = np.arange(epoch * drawn, (epoch + 1) * drawn)
        rounds = positions // size
        streams = [
            np.random.default_rng([seed, round_, domain]).permutation(size)
            for round_ in range(rounds[0], rounds[-1] + 1)
        ]
        indices = first + np.concatenate(streams)[positions - rounds[0] * size]
        samples.append(np.stack([rounds, indices], axis=1))
        # Sample i of n lies anywhere in the i-th of n equal stretches, so that each batch has its share of each domain.
        shift = np.random.default_rng([seed, epoch, domain, 1]).random(drawn)
        places.append((np.arange(drawn) + shift) / drawn)
        first += size
    return np.concatenate(samples)[np.argsort(np.concatenate(places), kind="stable")]


def step_samples(step: int, *, size: int, batch_size: int, seed: int, quotas: Quotas = ()) -> list[Sample]:
    """Return the global batch of one optimizer step.

    Args:
        step: optimizer step, counted from 0.
        size: number of samples in the data set, at least 1.
        batch_size: samples per optimizer step over all processes; may exceed `size`.
        seed: seed of the run.
        quotas: domains of the data set, in order: number of samples, and how many of them an epoch takes; empty for a
            plain data set.

    Returns:
        `batch_size` pairs (epoch, index).
    """
    quotas = quotas or ((size, size),)
    length = sum(drawn for _, drawn in quotas)
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = range(positions[0] // length, positions[-1] // length + 1)
    plan = np.concatenate([_epoch_plan(quotas, seed, epoch) for epoch in epochs])
    return [(epoch, index) for epoch, index in plan[positions - epochs[0] * length].tolist()]


def named_samples(dataset: Any, step: int, *, batch_size: int, seed: int, quotas: Quotas) -> str:
    """Return the ids of the first 16 samples of an optimizer step, for a message."""
    samples = step_samples(step, size=len(dataset), batch_size=batch_size, seed=seed, quotas=quotas)
    ids = getattr(dataset, "ids", range(len(dataset)))
    source = getattr(dataset, "source", lambda epoch, index: index)
    shown = ", ".join(str(ids[source(epoch, index)]) for epoch, index in samples[:16])
    return f"{shown} and {len(samples) - 16} more" if len(samples) > 16 else shown


class StepSampler(Sampler[list[Sample]]):
    """Yields the micro-batches of one process, step after step."""

    def __init__(
        self,
        *,
        size: int,
        batch_size: int,
        accumulate: int,
        seed: int,
        steps: range,
        process: int,
        processes: int,
        quotas: Quotas = (),
    ) -> None:
        """Describe the stream; `batch_size` must divide by `accumulate * processes`.

        Args:
            size: number of samples in the data set.
            batch_size: samples per optimizer step over all processes.
            accumulate: micro-batches per optimizer step.
            seed: seed of the run.
            steps: optimizer steps to serve; a resumed run starts later.
            process: number of this process.
            processes: number of processes.
            quotas: domains of the data set, see `step_samples`.
        """
        self.quotas = quotas
        self.size, self.batch_size, self.accumulate, self.seed = size, batch_size, accumulate, seed
        self.steps, self.process, self.processes = steps, process, processes

    def __len__(self) -> int:
        return len(self.steps) * self.accumulate

    def __iter__(self) -> Iterator[list[Sample]]:
        count = self.batch_size // (self.accumulate * self.processes)
        for step in self.steps:
            samples = step_samples(step, size=self.size, batch_size=self.batch_size, seed=self.seed, quotas=self.quotas)
            for micro in range(self.accumulate):
                start = (micro * self.processes + self.process) * count
                yield samples[start : start + count]


class _EpochDataset(Dataset):
    """Reads (epoch, index): tells the data set the epoch of each sample, also inside a loader worker."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.epoch: int | None = None

    def __getitem__(self, sample: Sample) -> Any:
        epoch, index = sample
        if epoch != self.epoch:
            self.dataset.set_epoch(epoch)
            self.epoch = epoch
        return self.dataset[index]


def _ignore_signals(worker: int) -> None:
    # A terminal or a scheduler signals the whole group; the main process must still get the batches of the
    # step that it finishes before it saves. Workers leave when the stream is closed or the main process dies.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class BatchStream(Iterator[dict[str, Any]]):
    """Collated batches of a sampler, in its order, each on the CPU. Close it after use."""

    def __init__(self, dataset: Any, sampler: StepSampler, *, workers: int) -> None:
        """Start reading; nothing is drawn from the global generators.

        Args:
            dataset: data set with `set_epoch(epoch)` and `[index]`; a sample depends on (epoch, index) alone.
            sampler: stream of this process.
            workers: loader processes, 0 to read in this one.
        """
        loader = DataLoader(
            _EpochDataset(dataset),
            batch_sampler=sampler,
            num_workers=workers,
            worker_init_fn=_ignore_signals,
            generator=torch.Generator().manual_seed(sampler.seed),
            pin_memory=torch.cuda.is_available(),
        )
        self._batches = iter(loader)

    def __next__(self) -> dict[str, Any]:
        """Read one batch; an error about a file is one line, from a worker as from this process.

        Raises:
            ValueError, OSError: Whatever the data set raised, without the worker's traceback in the message.
        """
        try:
            return next(self._batches)
        except (ValueError, OSError) as error:
            lines = str(error).strip().splitlines()
            if not lines or not lines[0].startswith("Caught "):
                raise
            raise type(error)(lines[-1].partition(": ")[2]) from error

    def close(self) -> None:
        """End the workers.

        Not left to the garbage collector: a kept traceback would keep them alive, and Python waits at its
        exit for children that ignore SIGTERM.
        """
        shutdown = getattr(self._batches, "_shutdown_workers", None)
        if shutdown is not None:
            shutdown()
