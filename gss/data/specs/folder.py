"""Specs of plain folders with `images/` and `masks/`; classes from `classes.json` or from the masks."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from gss.core.errors import InputError
from gss.core.files import read_json
from gss.data.files.lists import LIST_NAMES, ImageNames, count_images, names_images
from gss.data.files.patterns import find_files
from gss.data.files.walk import is_hidden
from gss.data.images import IMAGE_SUFFIXES, MASK_SUFFIXES, load_mask
from gss.data.label_map import LabelMap, interpolated_values
from gss.data.specs.spec import DataSpec
from gss.labels.space import IGNORE_INDEX, MAX_CLASSES, LabelSpace

_SCAN_LIMIT = 2000
_CLASSES_FORM = '{"classes": {"0": "name", ...}, "ignore_index": 255}'
_logger = logging.getLogger(__name__)


def folder_spec(root: Path) -> DataSpec:
    """Return the spec of a folder that holds `images/` and `masks/`.

    Splits are text files `NAME.txt` that list images, or sub-folders that exist in both `images/` and `masks/`;
    without either, everything is the split `all`, and `train` and `val` are parts of it (`DataSpec.undivided`).
    Classes come from `classes.json` (`{"classes": {"0": "sky", ...}, "ignore_index": 255, "colors": {"0": [r, g, b],
    ...}}`, colours optional); without it, from the mask values. A key `NAME_map` holds the names of the classes in
    data set NAME (`DataSpec.maps`).

    Raises:
        InputError: not such a folder, images both beside and in split folders, malformed `classes.json`, or masks from
            which classes cannot be inferred.
    """
    for part in ("images", "masks"):
        if not (root / part).is_dir():
            raise InputError(f"{root} has no folder {part}/; a data folder needs images/ and masks/, else a YAML spec")
    name = re.sub(r"\W+", "_", root.resolve().name)
    layout = _layout(root)
    if (root / "classes.json").is_file():
        label_space, label_map, maps = _read_classes(root / "classes.json")
        return DataSpec(name=name, label_space=label_space, label_map=label_map, root=root, maps=maps, **layout)
    label_space, label_map, note = _infer_classes(root)
    _logger.warning(note)
    return DataSpec(name=name, label_space=label_space, label_map=label_map, root=root, note=note, **layout)


def _layout(root: Path) -> dict[str, Any]:
    """Return patterns, list and splits of a folder as arguments of `DataSpec`."""
    images = find_files(root, "images/{id}.*", IMAGE_SUFFIXES)
    names = ImageNames(images, root)
    folders = sorted(_sub_folders(root / "images") & _sub_folders(root / "masks"))
    lists = [path.stem for path in sorted(root.glob("*.txt")) if is_split_list(path, names)]
    layout: dict[str, Any] = {"image": "images/{id}.*", "mask": "masks/{id}.*"}
    in_folders = {"image": "images/{split}/{id}.*", "mask": "masks/{split}/{id}.*"}
    if lists:
        layout |= {"list_file": "{split}.txt", "splits": {split: split for split in lists}}
        return layout | (in_folders if _lists_name_files_of_folders(root, lists, folders, names) else {})
    if not folders:
        return layout
    flat = sum("/" not in id for id in images)
    if flat:
        raise InputError(
            f"{root / 'images'} mixes {flat} images with the folders {', '.join(folders)}, which also exist in masks/ "
            "and would be splits: move all images into such folders, move these folders away, or add lists such as "
            "train.txt and val.txt"
        )
    return layout | in_folders | {"splits": {split: split for split in folders}}


def _sub_folders(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)}


def is_split_list(path: Path, images: ImageNames) -> bool:
    """Return True for text files with the name of a split, and for those that name images in most lines."""
    if is_hidden(path.name) or not path.is_file():
        return False
    return path.stem.lower() in LIST_NAMES or names_images(path, images)


def _lists_name_files_of_folders(root: Path, lists: list[str], folders: Collection[str], names: ImageNames) -> bool:
    """Return True if lists hold ids within the folders of their splits; False if within `images/`."""
    if not set(lists) & set(folders):
        return False
    for split in lists:
        path = root / f"{split}.txt"
        inside, total = count_images(path, names.below(split))
        if inside < total and count_images(path, names)[0] > inside:
            return False
    return True


def _read_classes(path: Path) -> tuple[LabelSpace, LabelMap, dict[str, dict[str, Any]]]:
    data = read_json(path, object_pairs_hook=_unique_keys)
    if not isinstance(data, dict) or not isinstance(data.get("classes"), dict) or not data["classes"]:
        raise InputError(f"{path}: needs {_CLASSES_FORM}")
    try:
        classes = _numbered(data["classes"], "classes")
        colors = _numbered(data.get("colors") or {}, "colors")
        for raw, name in classes.items():
            if not isinstance(name, str):
                raise InputError(f'the name of class {raw} is {name!r}; write text in quotes, such as "{raw}": "road"')
        void = data.get("ignore_index", IGNORE_INDEX)
        if void is not None and (isinstance(void, bool) or not isinstance(void, int)):
            raise InputError(f"ignore_index is {void!r}; give one value of the masks, or null for none")
        if void is not None and void in classes:
            raise InputError(f"ignore_index {void} is also class {classes[void]!r}; remove one of them")
        if colors and set(colors) != set(classes):
            raise InputError("colors must name the same values as classes")
        space = LabelSpace(tuple(classes.values()), tuple(colors[raw] for raw in classes) if colors else ())
        maps = {key.removesuffix("_map"): names for key, names in data.items() if key.endswith("_map")}
        for name, names in maps.items():
            if not isinstance(names, dict):
                raise InputError(f"{name}_map must hold the class there of each class, as {{class: class}}")
        return space, LabelMap(tuple((raw,) for raw in classes), () if void is None else (void,)), maps
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _numbered(entries: Any, key: str) -> dict[int, Any]:
    """Return the entries of `classes` or `colors` by mask value, in ascending order."""
    if not isinstance(entries, dict):
        raise InputError(f"{key} is {entries!r}; write {_CLASSES_FORM}")
    wrong = [raw for raw in entries if not re.fullmatch(r"-?\d{1,9}", raw)]
    if wrong and all(isinstance(value, int) for value in entries.values()):
        raise InputError(
            f"{key} has the key {wrong[0]!r}, but the keys are values of the masks and the values are names: turn it "
            f'round, as {{"{entries[wrong[0]]}": "{wrong[0]}", ...}}'
        )
    if wrong:
        raise InputError(f"{key} has the key {wrong[0]!r}, which is not a value of masks; write {_CLASSES_FORM}")
    numbered = {int(raw): value for raw, value in entries.items()}
    if len(numbered) < len(entries):
        raise InputError(f"{key} names a value of the masks twice, such as 1 and 01; remove one")
    return dict(sorted(numbered.items()))


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise InputError(f"key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return dict(pairs)


def _infer_classes(root: Path) -> tuple[LabelSpace, LabelMap, str]:
    """Return classes `class_0..class_N` up to the largest mask value other than 255, and a note on them."""
    images = find_files(root, "images/{id}.*", IMAGE_SUFFIXES)
    masks = [path for id, path in find_files(root, "masks/{id}.*", MASK_SUFFIXES).items() if id in images]
    if not masks:
        raise InputError(f"{root}: no mask in masks/ has the name of an image in images/")
    step = -(-len(masks) // _SCAN_LIMIT)
    counts = np.zeros(0x10000, np.int64)
    for path in tqdm(masks[::step], desc="reading mask values", disable=len(masks) < 200, leave=False):
        counts += np.bincount(load_mask(path).ravel(), minlength=len(counts))
    values = np.flatnonzero(counts).tolist()
    fix = (
        f"say what they mean in {root / 'classes.json'}, for example "
        '{"classes": {"0": "background", "255": "object"}, "ignore_index": null}'
    )
    if values == [0, IGNORE_INDEX]:
        raise InputError(f"masks in {root} hold only 0 and 255; {fix}")
    between = interpolated_values(counts)
    if len(between):
        raise InputError(
            f"masks in {root} hold {values[0]}, {values[-1]} and, in {counts[between].sum() / counts.sum():.1%} of the "
            f"pixels, {len(between)} values in between: they were resized with interpolation, anti-aliased or "
            f"compressed; make them again with nearest neighbour, or threshold them, and {fix}"
        )
    valid = [value for value in values if value != IGNORE_INDEX]
    if not valid or max(valid) >= MAX_CLASSES:
        held = f"values up to {max(valid)}" if valid else "only 255"
        raise InputError(f"masks in {root} hold {held}; write {root / 'classes.json'} with the values that are classes")
    count = max(valid) + 1
    names = tuple(f"class_{k}" for k in range(count))
    note = (
        f"{root} has no classes.json: inferred {count} classes {names[0]}..{names[-1]} and void 255 from "
        f"the values of {len(masks[::step])} of {len(masks)} masks; write classes.json to name them"
    )
    return LabelSpace(names), LabelMap(tuple((k,) for k in range(count))), note
