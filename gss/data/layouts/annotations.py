"""Full masks as outlines in annotation files: COCO, LabelMe, CVAT, Label Studio and YOLO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gss.core.errors import InputError
from gss.core.files import read_text
from gss.data.layouts.classes import find_class_names
from gss.data.layouts.places import Place, find_split, read_place
from gss.data.layouts.survey import Group, Survey
from gss.data.weak.readers import READERS, ShapeTable
from gss.data.weak.readers.files import read_json_value, read_xml
from gss.data.weak.readers.shapes import yolo_polygon
from gss.labels.names import spelling_key

FORMAT_NAMES = {
    "coco_masks": "COCO instances",
    "labelme": "LabelMe polygons",
    "cvat": "CVAT shapes",
    "label_studio": "Label Studio shapes",
    "yolo_polygons": "YOLO polygons",
}
"""Formats of outlines, in words."""

_PEEK = 3


@dataclass(frozen=True)
class Outlines:
    """One reading of a folder: images, and outlines of objects in annotation files.

    Attributes:
        format: reader, a key of `FORMAT_NAMES`.
        image: pattern of the images.
        path: pattern of the annotation files.
        parts: words for the splits; empty without `{split}`.
        files: annotation files, ascending.
        images: number of images.
        labelled: number of images with an annotation file; of a file for all, of all images.
        order: names behind class numbers.
    """

    format: str
    image: str
    path: str
    parts: tuple[str, ...]
    files: tuple[Path, ...]
    images: int
    labelled: int
    order: tuple[str, ...] = ()

    def words(self) -> str:
        """Return the reading in words."""
        place = self.path.rpartition("/")[0]
        where = f"{place}/" if "{id}" in self.path and place else self.path
        folder = self.image.rpartition("/")[0]
        return f"images in {f'{folder}/' if folder else 'the folder itself'}, {FORMAT_NAMES[self.format]} in {where}"


def find_outlines(found: Survey) -> list[Outlines]:
    """Return the readings of a folder with outlines in annotation files.

    Files that cannot be read, and formats without outlines, are passed over.
    """
    return [*_per_image(found), *_for_all(found)]


def _per_image(found: Survey) -> Iterator[Outlines]:
    """Yield readings with one file per image."""
    groups: dict[tuple[str, str], dict[str, list[str]]] = {}
    for note in found.notes:
        folder, _, name = note.rpartition("/")
        suffix = Path(name).suffix.lower()
        if suffix in (".json", ".txt"):
            place, rest = read_place(folder)
            if not place.template and rest:
                place, rest = Place(rest.partition("/")[0]), rest.partition("/")[2]
            id = f"{rest}/{Path(name).stem}".lstrip("/")
            groups.setdefault((place.template, suffix), {}).setdefault(place.part, []).append(id)
    for (template, suffix), parts in groups.items():
        best = _best_images(found, template, parts)
        if best is None:
            continue
        images, count = best
        paths = [
            found.root / f"{template.replace('{split}', part)}/{id}{suffix}".lstrip("/")
            for part, ids in parts.items()
            for id in sorted(ids)
            if id in images.files.get(part if images.splits else "", {})
        ]
        format = _json_format(paths) if suffix == ".json" else _text_format(paths)
        if format:
            shared = tuple(part for part in images.splits if part in parts) if "{split}" in template else images.splits
            order = find_class_names([found.root, *(path.parent for path in paths[:1])]).by_order
            yield Outlines(
                format,
                _pattern(images.template, shared, "{id}.*"),
                _pattern(template, shared, f"{{id}}{suffix}"),
                shared if len(shared) > 1 else (),
                tuple(paths),
                sum(len(ids) for ids in images.files.values()),
                count,
                order if format == "yolo_polygons" else (),
            )


def _best_images(found: Survey, template: str, parts: dict[str, list[str]]) -> tuple[Group, int] | None:
    """Return the group of images that most of the files of a place belong to, with their number."""
    best: tuple[Group, int] | None = None
    for group in found.groups.values():
        if group.role == "mask" and group.template != template:
            continue
        if "{split}" in template and not group.splits:
            continue
        count = sum(
            id in group.files.get(part if group.splits else "", {}) for part, ids in parts.items() for id in ids
        )
        if count and 2 * count >= sum(map(len, parts.values())) and (best is None or count > best[1]):
            best = group, count
    return best


def _pattern(template: str, parts: tuple[str, ...], name: str) -> str:
    folder = template.replace("{split}", parts[0]) if len(parts) == 1 else template
    return f"{folder}/{name}".lstrip("/")


def _json_format(paths: list[Path]) -> str:
    """Return labelme if the first files look like it."""
    for path in paths[:_PEEK]:
        try:
            content = read_json_value(path).value
        except InputError:
            continue
        return "labelme" if isinstance(content, dict) and isinstance(content.get("shapes"), list) else ""
    return ""


def _text_format(paths: list[Path]) -> str:
    """Return yolo_polygons if the first lines that are not blank look like it."""
    for path in paths:
        try:
            lines = [line for line in read_text(path).splitlines() if line.strip()]
            if not lines:
                continue
            for number, line in enumerate(lines[:_PEEK], start=1):
                yolo_polygon(path, number, line)
        except InputError:
            return ""
        return "yolo_polygons"
    return ""


def _for_all(found: Survey) -> Iterator[Outlines]:
    """Yield readings with one file for many images."""
    groups: dict[tuple[str, str], dict[str, Path]] = {}
    for note in found.notes:
        suffix = Path(note).suffix.lower()
        path = found.root / note
        if suffix not in (".json", ".xml") or (note.count("/") and Path(note).stem in found.ids()):
            continue
        format = _table_format(path)
        if format:
            split = find_split(note)
            template, part = split or (note, "")
            groups.setdefault((template, format), {})[part] = path
    for (template, format), files in groups.items():
        listed = {part: _listed(format, path) for part, path in files.items()}
        best = _images_of(found, listed)
        if best is None:
            continue
        images, base, count = best
        parts = tuple(part for part in files if part)
        yield Outlines(
            format,
            _pattern(base, parts, "{id}.*"),
            template.replace("{split}", parts[0]) if len(parts) == 1 else template,
            parts if len(parts) > 1 else (),
            tuple(files.values()),
            images,
            count,
        )


def _images_of(found: Survey, listed: dict[str, list[str]]) -> tuple[int, str, int] | None:
    """Return number of images, template and number of those labelled, of the group that the file names belong to."""
    best: tuple[int, str, int] | None = None
    for group in found.groups.values():
        if group.role == "mask" or (len([part for part in listed if part]) > 1 and not group.splits):
            continue
        total = count = 0
        for part, names in listed.items():
            files = group.files.get(part, {}) if group.splits and part else _all_files(group)
            tails = {id.rpartition("/")[2] for id in files}
            total += len(files)
            count += sum(Path(name.replace("\\", "/")).stem in tails for name in names)
        if count and (best is None or count > best[2]):
            best = total, group.template, count
    return best


def _all_files(group: Group) -> dict[str, list[str]]:
    return {id: endings for files in group.files.values() for id, endings in files.items()}


def _table_format(path: Path) -> str:
    """Return the format of a file for many images; empty if it is none with outlines."""
    try:
        if path.suffix.lower() == ".xml":
            root = read_xml(path)
            return "cvat" if root.tag == "annotations" and root.find("image") is not None else ""
        content: Any = read_json_value(path).value
    except InputError:
        return ""
    if isinstance(content, dict) and isinstance(content.get("annotations"), list) and "categories" in content:
        return "coco_masks" if any(_has_outline(item) for item in content["annotations"]) else ""
    if isinstance(content, list) and content and isinstance(content[0], dict):
        first = content[0]
        studio = isinstance(first.get("data"), dict) and "annotations" in first
        return "label_studio" if studio or _minimal_task(first) else ""
    return ""


def _has_outline(item: Any) -> bool:
    return isinstance(item, dict) and bool(item.get("segmentation"))


def _minimal_task(task: dict[str, Any]) -> bool:
    """Return whether an entry looks like a task of Label Studio's short form."""
    shapes = [value for value in task.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    return any("original_width" in shape[0] for shape in shapes)


def _listed(format: str, path: Path) -> list[str]:
    reader = READERS[format]
    assert issubclass(reader, ShapeTable)
    try:
        return reader.listed(path)
    except InputError:
        return []


def used_classes(outlines: Outlines) -> list[str]:
    """Return the names of the classes of the shapes, those of COCO and YOLO in the order of the file.

    Names that differ in upper and lower case, blanks, hyphens and underscores are one.

    Raises:
        InputError: a file is damaged, or a class number has no name; names the file.
    """
    names: dict[str, str] = {}
    for name in _names(outlines):
        names.setdefault(spelling_key(name), name)
    return list(names.values())


def _names(outlines: Outlines) -> Iterable[str]:
    if outlines.format == "coco_masks":
        return _coco_names(outlines.files)
    if outlines.format == "labelme":
        found = Counter(
            str(shape["label"].name()) for path in outlines.files for shape in read_json_value(path)["shapes"]
        )
    elif outlines.format == "cvat":
        found = Counter(
            shape.get("label", "")
            for path in outlines.files
            for image in read_xml(path).iter("image")
            for shape in image
            if shape.tag in ("polygon", "box", "mask")
        )
    elif outlines.format == "label_studio":
        found = Counter(_studio_names(outlines.files))
    else:
        return _yolo_names(outlines)
    return sorted(name for name in found if name)


def _coco_names(files: Iterable[Path]) -> list[str]:
    names: dict[str, None] = {}
    for path in files:
        content = read_json_value(path)
        used = {item["category_id"].integer() for item in content["annotations"]}
        names |= {str(item["name"].name()): None for item in content["categories"] if item["id"].integer() in used}
    return list(names)


def _studio_names(files: Iterable[Path]) -> Iterator[str]:
    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key.endswith("labels") and isinstance(inner, list):
                    yield from (name for name in inner if isinstance(name, str))
                elif key not in ("predictions", "rle"):
                    yield from walk(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner)

    for path in files:
        yield from walk(read_json_value(path).value)


def _yolo_names(outlines: Outlines) -> list[str]:
    numbers: set[int] = set()
    for path in outlines.files:
        for count, line in enumerate(read_text(path).splitlines(), start=1):
            if line.strip():
                numbers.add(yolo_polygon(path, count, line)[0])
    if not outlines.order:
        return [f"class_{number}" for number in range(max(numbers) + 1)]
    if max(numbers) >= len(outlines.order):
        raise InputError(
            f"labels in {outlines.path} hold class {max(numbers)}, but {len(outlines.order)} classes are named; name "
            "them in data.yaml or classes.txt"
        )
    return [outlines.order[number] for number in sorted(numbers)]
