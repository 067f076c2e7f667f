"""Classes of a data spec, and the map from mask values to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gss.core.errors import InputError, quoted
from gss.data.label_map import LabelMap
from gss.data.scenes.labels import LABELS
from gss.labels.colors import are_grey, voc_colors
from gss.labels.space import IGNORE_INDEX, LabelSpace


def make_label_space(classes: Any, *, color_coded: bool = False) -> LabelSpace:
    """Build a label space from the `classes` key: a list of names, or a mapping of names to colours.

    Colours that are black, white and grey alone are no colours to look at, and are replaced.

    Args:
        classes: the key.
        color_coded: whether the colours say how masks are stored; then they are checked, and not shown.

    Raises:
        InputError: it is something else, or names or colours are invalid.
    """
    if isinstance(classes, list):
        return LabelSpace(tuple(map(str, classes)))
    if not isinstance(classes, dict):
        raise InputError("classes must be a list of names or a mapping of name: [r, g, b]")
    colors = tuple(classes.values())
    if all(color is None for color in colors):
        return LabelSpace(tuple(map(str, classes)))
    stated = LabelSpace(tuple(map(str, classes)), colors)
    return LabelSpace(stated.names) if color_coded or are_grey(colors, stated.names) else stated


def generated_labels(data: dict[str, Any]) -> tuple[LabelSpace, LabelMap]:
    """Return the classes of a generated data set: those of the generator, or others given by `label_map`.

    Raises:
        InputError: only one of `classes` and `label_map`, or a class of the generator without a target.
    """
    if not data.get("classes"):
        if data.get("label_map"):
            raise InputError("label_map of a generated data set needs the classes that it maps to; give classes too")
        return LABELS, LabelMap(())
    space = make_label_space(data["classes"])
    label_map = spec_label_map(data, space)
    if data.get("label_map") is None or label_map.apply(np.arange(LABELS.num_classes, dtype=np.uint8))[1].size:
        raise InputError(
            f"classes of a generated data set need a label_map of all its classes 0..{LABELS.num_classes - 1}: "
            f"{', '.join(LABELS.names)}"
        )
    return space, label_map


def spec_label_map(data: dict[str, Any], space: LabelSpace) -> LabelMap:
    """Build the map from raw mask values to classes from `label_map`, `ignore`, `unlisted` and `color_coded`.

    Raises:
        InputError: a key that is malformed or does not fit the classes.
    """
    color_coded = bool(data.get("color_coded", False))
    unlisted = data.get("unlisted", "error")
    if unlisted not in ("error", "ignore"):
        raise InputError(f"unlisted is {quoted(unlisted)}; it must be error or ignore")
    ignore = list(_raws(data.get("ignore", [] if color_coded else IGNORE_INDEX), color_coded))
    mapping = data.get("label_map")
    values: list[list[int]] = [[] for _ in space.names]
    if mapping is None:
        values = _stored_colors(data["classes"]) if color_coded else [[k] for k in range(len(values))]
    elif isinstance(mapping, list):
        if len(mapping) != space.num_classes:
            raise InputError(f"label_map lists {len(mapping)} entries for {space.num_classes} classes; give one each")
        values = [_raws(entry, color_coded) for entry in mapping]
    elif isinstance(mapping, dict) and not color_coded:
        for raw, label in mapping.items():
            target = ignore if label == "ignore" else values[space.index(str(label))]
            target.extend(_raws(raw, False))
    else:
        raise InputError("label_map must list the raw value(s) of each class, or map raw values to class names")
    return LabelMap(tuple(map(tuple, values)), tuple(ignore), unlisted, color_coded)


def _stored_colors(classes: Any) -> list[list[int]]:
    """Return the colour of each class in colour-coded masks; without any, that of PASCAL VOC from number 1 on."""
    stated: list[Any] = list(classes.values()) if isinstance(classes, dict) else [None] * len(classes)
    colors: Any = voc_colors(len(stated)) if all(color is None for color in stated) else stated
    return [_raws(list(color), True) for color in colors]


def _raws(entry: Any, color_coded: bool) -> list[int]:
    """Return a raw value, or a list of them, as a list; colours `[r, g, b]` become 0xRRGGBB."""
    if color_coded:
        several = isinstance(entry, list) and all(isinstance(item, list) for item in entry)
        triples = entry if several else [entry]
        if any(not isinstance(t, list) or len(t) != 3 for t in triples) or any(
            not isinstance(v, int) or not 0 <= v <= 255 for t in triples for v in t
        ):
            raise InputError(f"{quoted(entry)} is not a colour; a colour-coded value is [r, g, b] with 0..255")
        return [r << 16 | g << 8 | b for r, g, b in triples]
    raws = entry if isinstance(entry, list) else [entry]
    if any(isinstance(raw, bool) or not isinstance(raw, int) for raw in raws):
        raise InputError(f"{quoted(entry)} is not a raw label value; it must be a whole number or a list of them")
    return list(raws)
