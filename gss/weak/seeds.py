"""Check that weak labels show every class somewhere."""

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


def check_seeds(dataset: LabelledImages, *, allow: bool, partial: bool = False, source: str = "") -> None:
    """Require that weak labels show every class somewhere.

    Images are read until every class was seen, so a usual data set costs a few reads.

    Args:
        dataset: training images; a data set with full masks is not read.
        allow: True warns of missing classes instead.
        partial: True if ordinary masks are partial too and have to be read.
        source: name of the labels in messages; split and name of the data set when empty.

    Raises:
        InputError: some class has no labelled pixel, or no image has any label.
    """
    if not isinstance(dataset, SegmentationDataset) or (dataset.weak is None and not partial):
        return
    names = dataset.label_space.names
    seen = np.zeros(len(names), bool)
    for index in _spread(len(dataset)):
        seen |= count_labels(dataset.read(index)[1])[: len(names)] > 0
        if seen.all():
            return
    absent = ", ".join(name for name, present in zip(names, seen, strict=True) if not present)
    where = source or f"split {dataset.split!r} of data set {dataset.spec.name!r}"
    if not seen.any():
        weak = [dataset.read_weak(index)[0] for index in range(min(_PEEK, len(dataset)))]
        fix = "all of them are unlabelled (255), so there is nothing to learn"
        if any(labels is not None and labels.present().any() for labels in weak):
            fix = "tags alone need masks first: gss train weak-tags and gss weak produce, or gss weak run for all"
        raise InputError(f"no pixel of {where} has a label: {fix}")
    message = f"no pixel of {where} is labelled {absent}"
    if not allow:
        raise InputError(f"{message}: label some, or set weak.allow_missing=true to train without these classes")
    warnings.warn(f"{message}: these classes will not be learnt", stacklevel=2)


def _spread(count: int) -> Iterator[int]:
    """Yield every position once, neighbours far apart: they look alike, and rare classes are found after few reads."""
    stride = max(1, round(count * (math.sqrt(5) - 1) / 2))
    while math.gcd(stride, count) != 1:
        stride += 1
    return (number * stride % count for number in range(count))
