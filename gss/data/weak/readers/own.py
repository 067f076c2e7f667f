"""The format of `gss weak make`: one JSON file per image, classes by name, coordinates continuous."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gss.core.files import atomic_path
from gss.core.json_value import JsonValue
from gss.data.images import MASK_SUFFIXES, load_mask
from gss.data.weak.labels import Size, WeakLabels
from gss.data.weak.readers.base import check_size
from gss.data.weak.readers.boxes import BoxReader
from gss.data.weak.readers.files import read_json_value
from gss.data.weak.readers.masks import decode_mask
from gss.labels.space import LabelSpace


class OwnReader(BoxReader):
    """Reader of what `write_weak` wrote."""

    suffixes = (".json",)

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        content = read_json_value(path)
        height, width = content["size"].numbers(2)
        check_size(path, id, (height, width), size)
        strokes = []
        for label, item in self._labelled(content.get("strokes")):
            points = [corner.numbers(2) for corner in item["points"]]
            if not points:
                raise item["points"].wrong("a list of at least one point")
            strokes.append(self.stroke(path, size, label, points, item["width"].number()))
        boxes = [(*item["box"].numbers(4), label) for label, item in self._labelled(content.get("boxes"))]
        labels = self.boxes(path, id, size, boxes)
        exhaustive, boxed = (content.get(key) for key in ("exhaustive", "boxes_exhaustive"))
        parts: dict[str, Any] = {"boxes_exhaustive": boxed is not None and boxed.flag()}
        if self.options.exhaustive is None:
            parts["exhaustive"] = exhaustive is not None and exhaustive.flag()
        return self.build(
            id,
            size,
            strokes=strokes,
            boxes=labels.boxes,
            tags=self._tags(content.get("tags")),
            partial=self._partial(content.get("partial"), path, id, size),
            **parts,
        )

    def _labelled(self, items: JsonValue | None) -> Iterator[tuple[int, JsonValue]]:
        """Yield the class number and the item of all items whose class is not ignored."""
        for item in items or ():
            kind = item["class"]
            label = self.names.find(kind.name(), kind.where())
            if label is not None:
                yield label, item

    def _tags(self, items: JsonValue | None) -> np.ndarray | None:
        """Return the tags, bool `[K]`."""
        if items is None:
            return None
        tags = np.zeros(len(self.names), bool)
        for item in items:
            label = self.names.find(item.name(), item.where())
            if label is not None:
                tags[label] = True
        return tags

    def _partial(self, file: JsonValue | None, path: Path, id: str, size: Size) -> np.ndarray | None:
        """Return the partial mask, uint8 `[H, W]`, from the image file that is named."""
        if file is None or not file.text():
            return None
        mask = path.parent / file.text()
        if mask.suffix.lower() not in MASK_SUFFIXES:
            raise file.wrong("an image file")
        raw = load_mask(mask)
        check_size(mask, id, (raw.shape[0], raw.shape[1]), size)
        return decode_mask(raw, len(self.names), mask)[0]


def write_weak(path: Path, weak: WeakLabels, space: LabelSpace, *, partial: str | None = None) -> None:
    """Write weak labels; coordinates are rounded to hundredths of a pixel.

    Args:
        path: JSON file.
        weak: labels at the size of the image.
        space: class names.
        partial: image file of the partial mask, relative to `path`; required exactly if there is one.
    """
    assert (weak.partial is None) == (partial is None), "partial is the file of the partial mask"
    data: dict[str, Any] = {"id": weak.id, "size": list(weak.size), "exhaustive": weak.exhaustive}
    if weak.tags is not None:
        data["tags"] = [space.names[k] for k in np.flatnonzero(weak.tags)]
    if weak.strokes:
        data["strokes"] = [
            {"class": space.names[s.label], "width": s.width, "points": np.round(s.xy, 2).tolist()}
            for s in weak.strokes
        ]
    if len(weak.boxes):
        data["boxes"] = [
            {"class": space.names[int(box[4])], "box": np.round(box[:4], 2).tolist()} for box in weak.boxes
        ]
    if weak.boxes_exhaustive:
        data["boxes_exhaustive"] = True
    if partial is not None:
        data["partial"] = partial
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(data, ensure_ascii=False) + "\n", encoding="utf-8")
