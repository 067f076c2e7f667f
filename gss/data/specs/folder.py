"""Specs of folders: the plain form with `images/` and `masks/`, and whatever else can be understood."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gss.core.errors import InputError, quoted, unknown_name
from gss.core.yaml import read_yaml
from gss.data.files.lists import LIST_NAMES, ImageNames, count_images, names_images, resolve_list
from gss.data.files.patterns import find_files, matching_files
from gss.data.files.walk import is_hidden
from gss.data.images import IMAGE_SUFFIXES, MASK_SUFFIXES
from gss.data.layouts.classes import ClassNames, find_class_names, read_classes_json, yolo_names
from gss.data.layouts.division import DEFAULT_SHARE, first_and_rest
from gss.data.layouts.meaning import find_meaning
from gss.data.layouts.understand import HINTS, understand
from gss.data.specs.spec import FOLDER_SPEC


def folder_keys(root: Path, hints: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], str]:
    """Return the keys of the spec of a folder, as in a YAML file without `root`, and what was understood in one line.

    The plain form is `images/` and `masks/` with files of the same names. Its splits are text files `NAME.txt` that
    list images, or sub-folders that exist in both; without either, everything is the split `all`, and `train` and
    `val` are parts of it (`DataSpec.undivided`). Its classes come from `classes.json` (`{"classes": {"0": "sky", ...},
    "ignore_index": 255, "colors": {"0": [r, g, b], ...}}`, colours optional); without it, from the masks. A key
    `NAME_map` holds the names of the classes in data set NAME (`DataSpec.maps`). Other folders are read by
    `gss.data.layouts.understand`.

    Args:
        root: the folder.
        hints: keys that the user gave, see `understand`.

    Raises:
        InputError: images both beside and in split folders, malformed `classes.json`, masks from which classes cannot
            be inferred, or a folder that cannot be understood.
    """
    name = re.sub(r"\W+", "_", root.resolve().name)
    plain = {} if hints else _plain_images(root)
    if not plain:
        layout = understand(root, hints)
        return {"name": name, **layout.keys}, layout.line
    layout_keys, words = _layout(root, plain)
    if (root / "classes.json").is_file():
        space, label_map, maps = read_classes_json(root / "classes.json")
        keys = {
            "classes": {name: list(color) for name, color in zip(space.names, space.colors, strict=True)},
            "label_map": [list(values) for values in label_map.values],
            "ignore": list(label_map.ignore),
        }
        return {"name": name, **layout_keys, **keys, **({"maps": maps} if maps else {})}, words
    masks = [path for id, path in find_files(root, "masks/{id}.*", MASK_SUFFIXES).items() if id in plain]
    meaning = find_meaning(masks, _named(root), {}, str(root / "masks"))
    return {"name": name, **layout_keys, **meaning.keys}, f"{words}, {meaning.words}"


def folder_hints(root: Path) -> dict[str, Any] | None:
    """Return the keys of a `data.yaml` that decides something about its folder and leaves the rest to be understood.

    A file that has `image`, or one of `mask` and `weak`, together with the classes, is a spec, for which None is
    returned. So it is with a `base`, a generator or domains. A file of another tool (YOLO) decides nothing.
    """
    path = root / FOLDER_SPEC
    if yolo_names(path):
        return {}
    try:
        data = read_yaml(path)
    except InputError as error:
        raise InputError(f"data spec {path}: {error}") from error
    if not isinstance(data, dict) or not data or not set(data) <= {*HINTS, "root"}:
        return None
    complete = "image" in data and "classes" in data and ("mask" in data or "weak" in data)
    return None if complete or "root" in data else data


def yolo_settings(root: Path) -> bool:
    """Return whether the `data.yaml` of a folder holds the settings of YOLO instead of a data spec."""
    return bool(yolo_names(root / FOLDER_SPEC))


def parse_hints(settings: Sequence[str]) -> dict[str, Any]:
    """Return keys of a spec out of `KEY=VALUE`, the values as in YAML.

    Raises:
        InputError: another form, an unknown key, or a value that is not YAML.
    """
    hints: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"{quoted(text)} is not KEY=VALUE; keys: {', '.join(HINTS)}")
        if key not in HINTS:
            raise unknown_name("key", key, HINTS)
        try:
            hints[key] = value if key in ("name", "image", "mask", "list") else yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"{key}={value}: not valid YAML: {' '.join(str(error).split())}") from error
    return hints


def _named(root: Path) -> ClassNames:
    return find_class_names([root, root / "masks"])


def _plain_images(root: Path) -> dict[str, Path]:
    """Return the files of `images/` by id; none unless `masks/` has at least one file of the same name."""
    if not (root / "images").is_dir() or not (root / "masks").is_dir():
        return {}
    images = find_files(root, "images/{id}.*", IMAGE_SUFFIXES)
    masks = matching_files(root, "masks/{id}.*", MASK_SUFFIXES)
    return images if any(id in images for id, *_ in masks) else {}


def _layout(root: Path, images: dict[str, Path]) -> tuple[dict[str, Any], str]:
    """Return patterns, list and splits of a plain folder with these images, and the same in words."""
    names = ImageNames(images, root)
    folders = sorted(_sub_folders(root / "images") & _sub_folders(root / "masks"))
    lists = [path.stem for path in sorted(root.glob("*.txt")) if is_split_list(path, names)]
    layout: dict[str, Any] = {"image": "images/{id}.*", "mask": "masks/{id}.*"}
    in_folders = {"image": "images/{split}/{id}.*", "mask": "masks/{split}/{id}.*"}
    words = "images in images/, masks in masks/"
    fifth = {"validate": DEFAULT_SHARE}
    if lists:
        layout |= {"list": "{split}.txt", "splits": {split: split for split in lists}}
        inside = _lists_name_files_of_folders(root, lists, folders, names)
        if lists == ["all"]:
            count = len(resolve_list(root / "all.txt", images, root))
            words += f", one list, all.txt: {first_and_rest(count)}"
            return layout | fifth, words
        listed = _below(images, "train") if inside else images
        held, held_words = _held_out(lists, lambda: len(resolve_list(root / "train.txt", listed, root)))
        words = f"{words}, splits {', '.join(lists)} from lists{held_words}"
        return layout | (in_folders if inside else {}) | held, words
    if not folders:
        return layout | fifth, f"{words}, no split given: {first_and_rest(len(images))}"
    flat = sum("/" not in id for id in images)
    if flat:
        raise InputError(
            f"{root / 'images'} mixes {flat} images with the folders {', '.join(folders)}, which also exist in masks/ "
            "and would be splits: move all images into such folders, move these folders away, or add lists such as "
            "train.txt and val.txt"
        )
    splits = {split: split for split in folders}
    held, held_words = _held_out(folders, lambda: len(_below(images, "train")))
    words = f"{words}, splits {', '.join(folders)} from folders{held_words}"
    return layout | in_folders | {"splits": splits} | held, words


def _held_out(splits: Collection[str], count: Callable[[], int]) -> tuple[dict[str, Any], str]:
    """Return the key that lets a part of `train` validate where there is no `val`, and the same in words."""
    if "train" not in splits or "val" in splits or count() < 2:
        return {}, ""
    return {"validate": DEFAULT_SHARE}, f", no val: {first_and_rest(count(), order='')}"


def _below(images: Mapping[str, Path], folder: str) -> dict[str, Path]:
    """Return the images of a sub-folder by the rest of their id."""
    return {id.removeprefix(f"{folder}/"): path for id, path in images.items() if id.startswith(f"{folder}/")}


def _sub_folders(folder: Path) -> set[str]:
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name)}


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
