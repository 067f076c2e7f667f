"""Loaders whose order and content depend on (seed, epoch) alone, so that training can resume bit-exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from gss.data.transforms import sample_generator

__all__ = ["SeededSampler", "build_loader", "collate"]


class SeededSampler(Sampler[int]):
    """Order of the samples of an epoch: a permutation drawn from `(seed, epoch)`, entered at `start`.

    Args:
        length: number of samples.
        seed: seed of the permutations.
        shuffle: False gives 0, 1, 2, ... in every epoch.

    Raises:
        ValueError: negative length.
    """

    def __init__(self, length: int, seed: int, shuffle: bool = True) -> None:
        if length < 0:
            raise ValueError(f"length is {length}; it must be 0 or larger")
        self.length = length
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch and the position of its first sample (where a resumed run goes on).

        Raises:
            ValueError: `start` lies outside the epoch.
        """
        if not 0 <= start <= self.length:
            raise ValueError(f"start is {start}; an epoch has positions 0 to {self.length}")
        self.epoch, self.start = epoch, start

    def order(self, epoch: int) -> list[int]:
        """Sample index at every position of `epoch`."""
        if not self.shuffle:
            return list(range(self.length))
        # The last word keeps this stream apart from the augmentation streams of the same seed and epoch.
        generator = sample_generator(self.seed, epoch, 2**32 - 1)
        return torch.randperm(self.length, generator=generator).tolist()

    def __iter__(self) -> Iterator[int]:
        return iter(self.order(self.epoch)[self.start :])

    def __len__(self) -> int:
        return self.length - self.start


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack samples to a batch; strings become a list.

    Raises:
        ValueError: the samples differ in size; the message says how to make them equal.
    """
    sizes = {tuple(sample["labels"].shape) for sample in samples}
    if len(sizes) > 1:
        listed = ", ".join(f"{sample['id']} {tuple(sample['labels'].shape)}" for sample in samples[:4])
        raise ValueError(
            f"samples of one batch differ in size ({listed}); set data.size=[H,W] or use batch size 1"
        )
    return default_collate(samples)


def build_loader(
    dataset: Dataset[dict[str, Any]], *, batch_size: int, train: bool, seed: int, workers: int
) -> DataLoader[dict[str, Any]]:
    """Loader over `dataset`, with a `SeededSampler` as `loader.sampler`.

    Call `loader.sampler.set_epoch(e)` and `dataset.set_epoch(e)` before iterating an epoch: worker processes
    start with each iteration and take over the epoch.

    Args:
        dataset: map-style data set giving dicts.
        batch_size: samples per batch, at least 1.
        train: shuffle and drop the incomplete last batch.
        seed: seed of the order and of the generator that PyTorch draws worker seeds from; left to the global
            generator, those draws would change everything that follows and break exact resuming.
        workers: worker processes; 0 reads in the main process.

    Raises:
        ValueError: `batch_size` or `workers` out of range, or fewer samples than one training batch.
    """
    length = len(dataset)  # type: ignore[arg-type]
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    if workers < 0:
        raise ValueError(f"workers is {workers}; it must be 0 or larger")
    if train and length < batch_size:
        raise ValueError(
            f"the training split has {length} samples, fewer than batch_size={batch_size}; lower it"
        )
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=SeededSampler(length, seed, shuffle=train),
        num_workers=workers,
        collate_fn=collate,
        drop_last=train,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(seed),
    )
