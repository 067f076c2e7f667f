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
# More full masks than these are not searched for rare classes: these are only warned of.
_FULL_MASKS = 4000


def check_seeds(dataset: LabelledImages, *, allow: bool, partial: bool = False, source: str = "") -> None:
    """Require a labelled pixel, and that every class has one somewhere.

    Masks are read until every class was seen, so a usual data set costs a few reads. Where a class is absent from
    thousands of full masks and others are left, it is only warned of.

    Args:
        dataset: training images.
        allow: True warns of classes that no pixel has.
        partial: True if ordinary masks are partial labels too.
        source: name of the labels in messages; split and name of the data set when empty.

    Raises:
        InputError: no image has any label, or no pixel has the label of some class.
    """
    names = dataset.label_space.names
    full = not partial and not (isinstance(dataset, SegmentationDataset) and dataset.weakly_labelled)
    seen, read = np.zeros(len(names), bool), 0
    for index in _spread(len(dataset)):
        labels = dataset.read_labels(index) if isinstance(dataset, SegmentationDataset) else dataset.read(index)[1]
        seen |= count_labels(labels)[: len(names)] > 0
        read += 1
        if seen.all():
            return
        if full and read >= _FULL_MASKS and seen.any():
            break
    missing = [name for name, present in zip(names, seen, strict=True) if not present]
    absent = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
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
    if not allow and (not full or read == len(dataset)):
        fix = "check the masks and the classes with 'gss data check'" if full else "label some"
        raise InputError(f"{message}: {fix}, or set weak.allow_missing=true to train without these classes")
    warnings.warn(f"{message}: these classes will not be learnt", stacklevel=2)


def _spread(count: int) -> Iterator[int]:
    """Yield every position once, neighbours far apart: they look alike, and rare classes are found after few reads."""
    stride = max(1, round(count * (math.sqrt(5) - 1) / 2))
    while math.gcd(stride, count) != 1:
        stride += 1
    return (number * stride % count for number in range(count))
