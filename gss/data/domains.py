"""Data set of several domains, and the share of each domain in an epoch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from gss.core.errors import InputError, quoted, unknown_name
from gss.data.datasets import SegmentationDataset
from gss.data.protocols import LabelledImages
from gss.labels.space import IGNORE_INDEX, LabelSpace

_FORMS = ("equal", "proportional", "temperature:T", "a positive number for each domain with commas")


class DomainDataset(Dataset[dict[str, Any]]):
    """Samples of several data sets in one label space; their images may differ in size.

    Args:
        parts: data set of each domain, by name.
        label_space: classes of all domains.
        annotated: classes that the masks of each domain can show.
        sampling: share of each domain in an epoch, see `share_out`.

    Attributes:
        ids: `DOMAIN/ID` of each sample.
        parts: data set of each domain.
        domains: positions of the samples of each domain.
        annotated: classes that the masks of each domain can show.
        quotas: for each domain the number of its samples and the number of samples that an epoch takes from it.
    """

    def __init__(
        self,
        parts: Mapping[str, LabelledImages],
        *,
        label_space: LabelSpace,
        annotated: Mapping[str, Sequence[int]],
        sampling: str = "equal",
    ) -> None:
        self.label_space, self.annotated = label_space, dict(annotated)
        self.parts = list(parts.values())
        sizes = [len(part) for part in self.parts]
        self._starts = [0, *accumulate(sizes)]
        self.ids = [f"{name}/{id}" for name, part in parts.items() for id in part.ids]
        self.domains = {name: range(*self._starts[i : i + 2]) for i, name in enumerate(parts)}
        drawn = share_out(sampling, dict(zip(parts, sizes, strict=True)))
        self.quotas = tuple(zip(sizes, drawn, strict=True))
        # A batch needs the same keys from every domain, though only some have weak labels or confidences.
        sources = [part.weak.source for part in self.parts if isinstance(part, SegmentationDataset) and part.weak]
        self._weak, self._doubtful = bool(sources), any(source.confidence for source in sources)

    def __len__(self) -> int:
        return len(self.ids)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose augmentations `__getitem__` draws, in every domain."""
        for part in self.parts:
            part.set_epoch(epoch)

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Return PIL RGB image and labels uint8 `[H, W]`, 255 where void, before augmentation."""
        part, inside = self._find(index)
        return part.read(inside)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a sample as `make_item` builds it; `id` and `index` are those of the mixture."""
        part, inside = self._find(index)
        item = {**part[inside], "id": self.ids[index], "index": index}
        if self._weak and "tags" not in item:
            tags = torch.zeros(self.label_space.num_classes, dtype=torch.bool)
            item |= {"tags": tags, "exhaustive": torch.tensor(False)}
        if self._doubtful and "confidence" not in item:
            item["confidence"] = (item["labels"] != IGNORE_INDEX).float()
        return item

    def _find(self, index: int) -> tuple[LabelledImages, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        number = bisect_right(self._starts, index) - 1
        return self.parts[number], index - self._starts[number]


def share_out(sampling: str, sizes: Mapping[str, int]) -> list[int]:
    """Return the number of samples that an epoch takes from each domain.

    An epoch is as long as all domains together. Shares are rounded by the largest remainder; each domain gets at least
    one sample.

    Args:
        sampling: `equal`; `proportional` to the number of samples n; `temperature:T`, proportional to n^(1/T), which is
            `proportional` at 1 and tends to `equal`; or one positive number for each domain, with commas.
        sizes: number of samples of each domain.

    Raises:
        InputError: none of these, or not one number for each domain.
    """
    counts = np.array(list(sizes.values()), dtype=np.float64)
    word, _, argument = sampling.partition(":")
    weights = _numbers(sampling)
    if sampling == "equal":
        shares = np.ones_like(counts)
    elif sampling == "proportional":
        shares = counts
    elif word == "temperature" and len(_numbers(argument)) == 1:
        shares = (counts / counts.max()) ** (1.0 / _numbers(argument)[0])
    elif weights and len(weights) == len(counts):
        shares = np.array(weights) / max(weights)
    elif weights:
        raise InputError(
            f"data.sampling={quoted(sampling)} has {len(weights)} numbers for {len(counts)} domains "
            f"({', '.join(sizes)}): give one each"
        )
    else:
        raise unknown_name("value", sampling, _FORMS, where="data.sampling")
    exact = shares / shares.sum() * counts.sum()
    drawn = np.maximum(np.floor(exact), 1)
    while drawn.sum() != counts.sum():
        # The domain farthest from its exact share loses or gains one sample.
        gap = exact - drawn
        step = 1 if drawn.sum() < counts.sum() else -1
        drawn[np.argmax(np.where((drawn > 1) | (step > 0), step * gap, -np.inf))] += step
    return drawn.astype(int).tolist()


def _numbers(text: str) -> list[float]:
    """Parse positive numbers with commas; return none if the text is something else."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return numbers if all(0 < number < math.inf for number in numbers) else []


def describe(dataset: DomainDataset) -> str:
    """Describe the domains in a line: samples, share of an epoch, and mean repeats of a sample in it."""
    total = sum(drawn for _, drawn in dataset.quotas)
    parts = (
        f"{name} {size} images, {100 * drawn / total:.1f} % (x {drawn / size:.2f})"
        for name, (size, drawn) in zip(dataset.domains, dataset.quotas, strict=True)
    )
    return f"domains: {'; '.join(parts)}"
