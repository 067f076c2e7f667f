"""The key `label_flips` of a data spec: classes that turn into a second one, for a whole image at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gss.core.errors import InputError, quoted
from gss.data.flips.label_flip import LabelFlip
from gss.data.specs.spec import DataSpec
from gss.labels.space import LabelSpace

MOST_FLIPS = 6
"""Largest number of classes that flip: there are 2^6 = 64 modes then."""


def with_flips(spec: DataSpec, flips: Any) -> DataSpec:
    """Return a spec with further classes `NAME_2`, one for each class that flips.

    Args:
        spec: spec of files or of a generated data set.
        flips: value of the key: class name to the probability of the second class, in 0..1.

    Raises:
        InputError: something else, an unknown class, too many, or weak labels.
    """
    if not isinstance(flips, Mapping) or not flips:
        raise InputError(f"label_flips is {quoted(flips)}; it must map class names to probabilities, as {{road: 0.3}}")
    if spec.weak is not None:
        raise InputError("label_flips and weak exclude each other: weak labels name classes that do not flip")
    if len(flips) > MOST_FLIPS:
        raise InputError(f"label_flips names {len(flips)} classes, at most {MOST_FLIPS} can flip")
    space, parsed = spec.label_space, []
    names, colors = list(space.names), list(space.colors)
    for name, probability in flips.items():
        label = space.index(str(name))
        number = isinstance(probability, int | float) and not isinstance(probability, bool)
        if not number or not 0 <= probability <= 1:
            raise InputError(f"label_flips: {name} is {quoted(probability)}; it must be a probability from 0 to 1")
        parsed.append(LabelFlip(label, len(names), float(probability)))
        names.append(f"{name}_2")
        red, green, blue = colors[label]
        colors.append((255 - red, 255 - green, 255 - blue))
    values = spec.label_map.values
    label_map = replace(spec.label_map, values=(*values, *((),) * len(parsed))) if values else spec.label_map
    return replace(spec, label_space=LabelSpace(tuple(names), tuple(colors)), label_map=label_map, flips=tuple(parsed))
