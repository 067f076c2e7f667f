"""Names of classes that lie beside the masks: `classes.json`, tables of colours, lists of names."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gss.core.errors import InputError, quoted, shorten, unknown_name
from gss.core.files import read_json, read_text, unique_keys
from gss.data.label_map import LabelMap
from gss.labels.space import IGNORE_INDEX, LabelSpace

CLASSES_FORM = '{"classes": {"0": "name", ...}, "ignore_index": 255}'
"""Form of `classes.json`, for messages."""

Color = tuple[int, int, int]

_NAME_FILES = ("classes.txt", "labels.txt", "names.txt", "codes.txt", "obj.names", "_classes.txt")
_COLOR_FILES = ("labelmap.txt", "class_dict.csv", "label_colors.txt", "colors.txt", "_classes.csv")
_YAML_FILES = ("data.yaml", "dataset.yaml", "data.yml")


@dataclass(frozen=True)
class ClassNames:
    """Names of classes as a file gives them.

    Attributes:
        source: path of the file; empty if there is none.
        by_order: names in the order of the class numbers.
        by_value: mask value to name.
        by_color: colour to name.
    """

    source: str = ""
    by_order: tuple[str, ...] = ()
    by_value: dict[int, str] = field(default_factory=dict)
    by_color: dict[Color, str] = field(default_factory=dict)


def find_class_names(folders: list[Path]) -> ClassNames:
    """Return the names of classes in the first known file of some folders.

    Raises:
        InputError: the file cannot be read as text.
    """
    for folder in folders:
        for name in _COLOR_FILES:
            if (folder / name).is_file() and (found := _read_table(folder / name)) is not None:
                return found
        for name in _NAME_FILES:
            if (folder / name).is_file():
                lines = [line.strip() for line in read_text(folder / name).splitlines()]
                names = tuple(line for line in lines if line and not line.startswith("#"))
                if names and len(set(names)) == len(names):
                    return ClassNames(str(folder / name), by_order=names)
        names = next((names for name in _YAML_FILES if (names := yolo_names(folder / name))), ())
        if names:
            return ClassNames(str(folder), by_order=names)
    return ClassNames()


def yolo_names(path: Path) -> tuple[str, ...]:
    """Return the class names in the settings of a YOLO data set; none if the file is none."""
    try:
        data = yaml.safe_load(read_text(path)) if path.is_file() else None
    except (yaml.YAMLError, InputError, ValueError):
        return ()
    if not isinstance(data, dict) or "image" in data or not ({"train", "val", "path", "nc"} & set(data)):
        return ()
    names = data.get("names")
    if isinstance(names, dict) and all(type(key) is int for key in names):
        names = [names[key] for key in sorted(names)]
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _read_table(path: Path) -> ClassNames | None:
    """Return the names in a table of colours or values: `name:r,g,b:…`, `name,r,g,b`, `r g b name` or `value, name`."""
    by_color: dict[Color, str] = {}
    by_value: dict[int, str] = {}
    text = read_text(path)
    if path.suffix == ".csv":
        rows = [[part.strip() for part in row] for row in csv.reader(io.StringIO(text, newline="")) if row]
    else:
        rows = [_fields(line) for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for row in rows:
        numbers = [int(part) for part in row if re.fullmatch(r"\d{1,5}", part)]
        words = [part for part in row if part and not re.fullmatch(r"\d{1,5}", part)]
        if len(words) != 1:
            continue  # the header
        if len(numbers) == 3 and max(numbers) < 256:
            by_color[numbers[0], numbers[1], numbers[2]] = words[0]
        elif len(numbers) == 1:
            by_value[numbers[0]] = words[0]
    if not by_color and not by_value:
        return None
    return ClassNames(str(path), by_color=by_color, by_value=by_value)


def _fields(line: str) -> list[str]:
    """Return the name and the numbers of a line of a text table."""
    match = re.fullmatch(r"\s*([^:]+):(\d+),(\d+),(\d+):.*", line)
    if match:
        return [match[1].strip(), match[2], match[3], match[4]]
    match = re.fullmatch(r"\s*(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(.+?)\s*", line)
    if match:
        return [match[4], match[1], match[2], match[3]]
    match = re.fullmatch(r"\s*(.+?)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\d+)\s*", line)
    return [match[1], match[2], match[3], match[4]] if match else []


_KEYS = ("classes", "colors", "ignore_index")
# Keys that are meant to decide something; notes of any kind may stand beside those that are known.
_SETTING = re.compile(r"(?i)(ignor|void|unlabel|background|colou?r|palette|class|label|names?$)")


def read_classes_json(path: Path) -> tuple[LabelSpace, LabelMap, dict[str, dict[str, Any]]]:
    """Return classes, the meaning of mask values, and the classes in other data sets, of a `classes.json`.

    Raises:
        InputError: malformed; names the file, the key and the form.
    """
    data = read_json(path, object_pairs_hook=unique_keys)
    if not isinstance(data, dict) or not isinstance(data.get("classes"), dict) or not data["classes"]:
        raise InputError(f"{path}: needs {CLASSES_FORM}")
    try:
        classes = _numbered(data["classes"], "classes")
        colors = _numbered(data.get("colors") or {}, "colors")
        for raw, name in classes.items():
            if not isinstance(name, str):
                raise InputError(
                    f'the name of class {raw} is {quoted(name)}; write text in quotes, such as "{raw}": "road"'
                )
        for key, value in data.items():
            if key not in _KEYS and not key.endswith("_map") and _SETTING.match(key) and not isinstance(value, str):
                raise unknown_name("key", key, [*_KEYS, "NAME_map"])
        void = data.get("ignore_index", IGNORE_INDEX)
        if void is not None and (isinstance(void, bool) or not isinstance(void, int)):
            raise InputError(f"ignore_index is {quoted(void)}; give one value of the masks, or null for none")
        if void is not None and void in classes:
            raise InputError(f"ignore_index {void} is also class {quoted(classes[void])}; remove one of them")
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
        raise InputError(f"{key} is {quoted(entries)}; write {CLASSES_FORM}")
    wrong = [raw for raw in entries if not re.fullmatch(r"-?\d{1,9}", raw)]
    if wrong and all(isinstance(value, int) for value in entries.values()):
        raise InputError(
            f"{key} has the key {quoted(wrong[0])}, but the keys are values of the masks and the values are names: "
            f'turn it round, as {{"{entries[wrong[0]]}": "{shorten(wrong[0])}", ...}}'
        )
    if wrong:
        raise InputError(f"{key} has the key {quoted(wrong[0])}, which is not a value of masks; write {CLASSES_FORM}")
    numbered = {int(raw): value for raw, value in entries.items()}
    if len(numbered) < len(entries):
        raise InputError(f"{key} names a value of the masks twice, such as 1 and 01; remove one")
    return dict(sorted(numbered.items()))
