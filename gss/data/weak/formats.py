"""Recognition of the format of weak labels, by what their files look like."""

from __future__ import annotations

from pathlib import Path

from gss.core.errors import InputError
from gss.data.images import IMAGE_SUFFIXES
from gss.data.weak.readers.files import read_csv, read_json_value, read_xml
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
"""Formats that each form of weak labels is written in."""


def find_format(labels: Path, form: str, space: LabelSpace) -> dict[str, str]:
    """Return `format` and `path` of the key `weak` for labels, by what the files look like.

    Args:
        labels: existing file or folder.
        form: key of `FORM_FORMATS`, or "auto".
        space: classes; folders of tagged images are named after them.

    Raises:
        InputError: no known format, or none of this form.
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
    """Return the possible formats of one file for all images."""
    suffix, formats = path.suffix.lower(), []
    if suffix in (".txt", ".npy"):
        formats = ["tags"]
    elif suffix == ".csv":
        header = [name.strip().lower() for _, row in read_csv(path)[:1] for name in row]
        formats = ["csv_boxes" if "xmin" in header else "tags"]
    elif suffix == ".json":
        content = read_json_value(path)
        annotations = content.get("annotations")
        if annotations is not None:
            boxed = any(item.get("bbox") is not None for item in annotations)
            formats = ["coco_boxes", "tags"] if boxed else ["tags"]
        else:
            listed = [entries.value for _, entries in content.items() if isinstance(entries.value, list)]
            firsts = [entries[0] for entries in listed if entries]
            formats = ["clicks" if firsts and isinstance(firsts[0], dict) else "tags"]
    return dict.fromkeys(formats, path.name)


def _folder_formats(folder: Path, space: LabelSpace) -> dict[str, str]:
    """Return the possible formats of a folder of files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    by_suffix: dict[str, Path] = {}
    for path in files:
        by_suffix.setdefault(path.suffix.lower(), path)
    if ".xml" in by_suffix:
        root = read_xml(by_suffix[".xml"])
        boxed = next(root.iter("bndbox"), None) is not None
        drawn = next(root.iter("polygon"), None) is not None
        formats = ["scribblesup"] if drawn else [*(["voc_boxes"] if boxed else []), "voc_tags"]
        return dict.fromkeys(formats, "{id}.xml")
    if ".json" in by_suffix:
        name = "gss" if read_json_value(by_suffix[".json"]).get("imgHeight") is None else "polygons"
        return {name: "{id}.json"}
    if any(suffix in IMAGE_SUFFIXES for suffix in by_suffix):
        folders = [path for path in folder.iterdir() if path.is_dir()]
        names = {spelling_key(name) for name in space.names}
        if any(spelling_key(path.name) in names for path in folders):
            return {"tags": "."}
        return {"masks": "{id}.*"}
    return {"yolo_boxes": "{id}.txt"} if ".txt" in by_suffix else {}
