"""Check, before training, that the labels show something, and which classes they show."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np

from gss.core.errors import InputError
from gss.data.datasets import SegmentationDataset
from gss.data.protocols import LabelledImages
from gss.labels.counts import count_labels

_PEEK = 16
# Full masks are not searched further for rare classes: these are only warned of.
_FULL_MASKS = 500


def check_seeds(dataset: LabelledImages, *, allow: bool, partial: bool = False, source: str = "") -> None:
    """Require a labelled pixel, and that weak labels show every class somewhere; warn of classes without full masks.

    Images are read until every class was seen, so a usual data set costs a few reads.

    Args:
        dataset: training images.
        allow: True warns of classes that weak labels lack, as of those that full masks lack.
        partial: True if ordinary masks are partial labels too.
        source: name of the labels in messages; split and name of the data set when empty.

    Raises:
        InputError: no image has any label, or some class has no weak label.
    """
    names, weak = dataset.label_space.names, isinstance(dataset, SegmentationDataset) and dataset.weak is not None
    full = not weak and not partial
    seen, read = np.zeros(len(names), bool), 0
    for index in _spread(len(dataset)):
        seen |= count_labels(dataset.read(index)[1])[: len(names)] > 0
        read += 1
        if seen.all():
            return
        if full and read >= _FULL_MASKS and seen.any():
            break
    absent = ", ".join(name for name, present in zip(names, seen, strict=True) if not present)
    where = source or "the training images"
    if not source and isinstance(dataset, SegmentationDataset):
        where = f"split {dataset.split!r} of data set {dataset.spec.name!r}"
    if not seen.any():
        fix = "all of them are unlabelled (255), so there is nothing to learn: check the split with 'gss data check'"
        if isinstance(dataset, SegmentationDataset) and any(
            labels is not None and labels.present().any()
            for labels in (dataset.read_weak(index)[0] for index in range(min(_PEEK, len(dataset))))
        ):
            fix = "tags alone need masks first: gss train weak-tags and gss weak produce, or gss weak run for all"
        raise InputError(f"no pixel of {where} has a label: {fix}")
    message = f"no pixel of {f'{read} images of ' if read < len(dataset) else ''}{where} is labelled {absent}"
    if not allow and not full:
        raise InputError(f"{message}: label some, or set weak.allow_missing=true to train without these classes")
    warnings.warn(f"{message}: these classes will not be learnt", stacklevel=2)


def _spread(count: int) -> Iterator[int]:
    """Yield every position once, neighbours far apart: they look alike, and rare classes are found after few reads."""
    stride = max(1, round(count * (math.sqrt(5) - 1) / 2))
    while math.gcd(stride, count) != 1:
        stride += 1
    return (number * stride % count for number in range(count))
