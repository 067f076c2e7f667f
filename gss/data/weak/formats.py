"""Which format weak labels are written in, by what their files look like."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from gss.core.errors import InputError
from gss.data.images import IMAGE_SUFFIXES
from gss.data.weak.readers.base import parse_xml
from gss.labels.names import spelling_key
from gss.labels.space import LabelSpace

FORM_FORMATS = {
    "points": ("gss", "clicks", "masks"),
    "scribbles": ("gss", "scribblesup", "masks"),
    "blocks": ("gss", "masks"),
    "boxes": ("gss", "voc_boxes", "coco_boxes", "yolo_boxes", "csv_boxes"),
    "coarse": ("gss", "polygons", "masks"),
    "tags": ("gss", "tags", "voc_tags"),
}
"""Form of weak labels to the formats it is written in."""


def find_format(labels: Path, form: str, space: LabelSpace) -> dict[str, str]:
    """`format` and `path` of labels, by what they look like.

    Args:
        labels: file or folder, exists.
        form: key of `FORM_FORMATS`, or "auto".
        space: classes, that folders of tagged images are named after.

    Raises:
        ValueError: no known format, or none of this form.
    """
    found = _file_formats(labels) if labels.is_file() else _folder_formats(labels, space)
    fitting = {name: path for name, path in found.items() if form == "auto" or name in FORM_FORMATS[form]}
    if not found:
        raise InputError(
            f"--labels {labels}: not recognised; give XML, JSON, text or mask files named as the images are, or one "
            ".json, .csv, .txt or .npy for all (docs/weak.md lists the formats)"
        )
    if not fitting:
        raise InputError(
            f"--labels {labels} look like {' or '.join(found)}, but --form {form} is written as "
            f"{', '.join(FORM_FORMATS[form])}; correct one of them"
        )
    name = next(iter(fitting))
    return {"format": name, "path": fitting[name]}


def _file_formats(path: Path) -> dict[str, str]:
    suffix, formats = path.suffix.lower(), []
    if suffix in (".txt", ".npy"):
        formats = ["tags"]
    elif suffix == ".csv":
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            header = next(csv.reader(file), [])
        formats = ["csv_boxes" if "xmin" in [name.strip().lower() for name in header] else "tags"]
    elif suffix == ".json":
        data = _json(path)
        if isinstance(data, dict) and "annotations" in data:
            boxed = any("bbox" in item for item in data["annotations"] if isinstance(item, dict))
            formats = ["coco_boxes", "tags"] if boxed else ["tags"]
        elif isinstance(data, dict):
            entries = [entry for value in data.values() if isinstance(value, list) for entry in value[:1]]
            formats = ["clicks" if entries and isinstance(entries[0], dict) else "tags"]
    return dict.fromkeys(formats, path.name)


def _folder_formats(folder: Path, space: LabelSpace) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    by_suffix: dict[str, Path] = {}
    for path in files:
        by_suffix.setdefault(path.suffix.lower(), path)
    if ".xml" in by_suffix:
        root = parse_xml(by_suffix[".xml"])
        boxed = next(root.iter("bndbox"), None) is not None
        drawn = next(root.iter("polygon"), None) is not None
        formats = ["scribblesup"] if drawn else [*(["voc_boxes"] if boxed else []), "voc_tags"]
        return dict.fromkeys(formats, "{id}.xml")
    if ".json" in by_suffix:
        data = _json(by_suffix[".json"])
        name = "polygons" if isinstance(data, dict) and "imgHeight" in data else "gss"
        return {name: "{id}.json"}
    if any(suffix in IMAGE_SUFFIXES for suffix in by_suffix):
        folders = [path for path in folder.iterdir() if path.is_dir()]
        names = {spelling_key(name) for name in space.names}
        if any(spelling_key(path.name) in names for path in folders):
            return {"tags": "."}
        return {"masks": "{id}.*"}
    return {"yolo_boxes": "{id}.txt"} if ".txt" in by_suffix else {}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read weak labels {path}: not valid JSON: {error}") from error
