"""Specs for plain folders of `images/` and `masks/`; classes from `classes.json` or from the masks."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from gss.core.errors import InputError
from gss.data.files import find_ids, pair_up, read_list
from gss.data.images import load_mask
from gss.data.label_map import LabelMap
from gss.data.specs.spec import DataSpec
from gss.labels.space import IGNORE_INDEX, MAX_CLASSES, LabelSpace

_SCAN_LIMIT = 2000
_logger = logging.getLogger(__name__)


def folder_spec(root: Path) -> DataSpec:
    """Spec of a folder that holds `images/` and `masks/`.

    Splits are text files `NAME.txt` with ids, or sub-folders that exist in both `images/` and `masks/`;
    without either, everything is the split `all`, and `train` and `val` are parts of it (`DataSpec.undivided`).
    Classes come from `classes.json` (`{"classes": {"0": "sky", ...}, "ignore_index": 255, "colors": {"0": [r, g, b],
    ...}}`, colours optional); without it, from the mask values. A key `NAME_map` holds what the classes are called in
    data set NAME (`DataSpec.maps`).

    Raises:
        ValueError: not such a folder, malformed `classes.json`, or masks from which classes cannot be
            inferred.
    """
    for part in ("images", "masks"):
        if not (root / part).is_dir():
            raise InputError(f"{root} has no folder {part}/; a data folder needs images/ and masks/, else a YAML spec")
    known = set(find_ids(root, "images/{id}.*"))
    folders = {path.name for path in (root / "images").iterdir() if path.is_dir()}
    nested = sorted(name for name in folders if (root / "masks" / name).is_dir())
    lists = [path.stem for path in sorted(root.glob("*.txt")) if _is_list(path, known)]
    layout: dict[str, Any] = {"image": "images/{id}.*", "mask": "masks/{id}.*"}
    if lists:
        layout |= {"list_file": "{split}.txt", "splits": {name: name for name in lists}}
    elif nested:
        layout |= {"splits": {name: name for name in nested}}
    if any(name in folders for name in lists or nested):
        layout |= {"image": "images/{split}/{id}.*", "mask": "masks/{split}/{id}.*"}
    name = re.sub(r"\W+", "_", root.resolve().name)
    if (root / "classes.json").is_file():
        label_space, label_map, maps = _read_classes(root / "classes.json")
        return DataSpec(name=name, label_space=label_space, label_map=label_map, root=root, maps=maps, **layout)
    label_space, label_map, note = _infer_classes(root)
    _logger.warning(note)
    return DataSpec(name=name, label_space=label_space, label_map=label_map, root=root, note=note, **layout)


def _is_list(path: Path, known: set[str]) -> bool:
    """Whether a text file lists ids (and is no read-me): it is empty, or one of its lines names an image."""
    try:
        ids = read_list(path)
    except ValueError:
        return False
    return not ids or any(id in known or f"{path.stem}/{id}" in known for id in ids)


def _read_classes(path: Path) -> tuple[LabelSpace, LabelMap, dict[str, dict[str, Any]]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique_keys)
        classes = {int(raw): str(name) for raw, name in sorted(data["classes"].items(), key=lambda item: int(item[0]))}
        colors = {int(raw): tuple(color) for raw, color in data.get("colors", {}).items()}
        void = data.get("ignore_index", IGNORE_INDEX)
        if void is not None and void in classes:
            raise InputError(f"ignore_index {void} is also class {classes[void]!r}; remove one of them")
        if colors and set(colors) != set(classes):
            raise InputError("colors must name the same values as classes")
        space = LabelSpace(tuple(classes.values()), tuple(colors[raw] for raw in classes) if colors else ())
        maps = {key.removesuffix("_map"): names for key, names in data.items() if key.endswith("_map")}
        for name, names in maps.items():
            if not isinstance(names, dict):
                raise InputError(f"{name}_map must hold the class there of each class, as {{class: class}}")
        return space, LabelMap(tuple((raw,) for raw in classes), () if void is None else (int(void),)), maps
    except (KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(f'{path}: needs {{"classes": {{"0": "name", ...}}, "ignore_index": 255}}') from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise InputError(f"key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return dict(pairs)


def _infer_classes(root: Path) -> tuple[LabelSpace, LabelMap, str]:
    """Classes `class_0..class_N` up to the largest mask value other than 255."""
    pairs = pair_up(root, "images/{id}.*", "masks/{id}.*", find_ids(root, "images/{id}.*"))
    masks = [pair.mask for pair in pairs if "mask" not in pair.missing]
    if not masks:
        raise InputError(f"{root}: no mask in masks/ has the name of an image in images/")
    step = -(-len(masks) // _SCAN_LIMIT)
    values: set[int] = set()
    for path in tqdm(masks[::step], desc="reading mask values", disable=len(masks) < 200, leave=False):
        values.update(np.unique(load_mask(path)).tolist())
    if values == {0, IGNORE_INDEX}:
        raise InputError(
            f"masks in {root} hold only 0 and 255; say what they mean in {root}/classes.json, for example "
            '{"classes": {"0": "background", "255": "object"}, "ignore_index": null}'
        )
    valid = values - {IGNORE_INDEX}
    if not valid or max(valid) >= MAX_CLASSES:
        found = f"values up to {max(valid)}" if valid else "only 255"
        raise InputError(
            f"masks in {root} hold {found}; write {root / 'classes.json'} with the values that are classes"
        )
    count = max(valid) + 1
    names = tuple(f"class_{k}" for k in range(count))
    note = (
        f"{root} has no classes.json: inferred {count} classes {names[0]}..{names[-1]} and void 255 from "
        f"the values of {len(masks[::step])} of {len(masks)} masks; write classes.json to name them"
    )
    return LabelSpace(names), LabelMap(tuple((k,) for k in range(count))), note
