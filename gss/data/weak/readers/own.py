"""The format of `gss weak make`: one JSON file an image, classes by name, coordinates continuous."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from gss.core.errors import InputError
from gss.core.files import atomic_path
from gss.data.images import MASK_SUFFIXES, load_mask
from gss.data.weak.labels import Size, Stroke, WeakLabels
from gss.data.weak.readers.base import Reader, check_size
from gss.data.weak.readers.masks import decode_mask
from gss.labels.space import LabelSpace


class OwnReader(Reader):
    """What `write_weak` wrote."""

    suffixes = (".json",)

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            check_size(path, id, tuple(data["size"]), size)
            strokes = [
                Stroke(label, np.array(item["points"]), float(item["width"]))
                for item in data.get("strokes", ())
                if (label := self.names.find(item["class"], path)) is not None
            ]
            boxes = [
                (*item["box"], label)
                for item in data.get("boxes", ())
                if (label := self.names.find(item["class"], path)) is not None
            ]
            tags = partial = None
            if data.get("tags") is not None:
                tags = np.zeros(len(self.names), bool)
                tags[[k for name in data["tags"] if (k := self.names.find(name, path)) is not None]] = True
            if data.get("partial"):
                mask = path.parent / data["partial"]
                if mask.suffix.lower() not in MASK_SUFFIXES:
                    raise InputError(f"{path}: partial is {data['partial']!r}; it must be an image file")
                raw = load_mask(mask)
                check_size(mask, id, (raw.shape[0], raw.shape[1]), size)
                partial = decode_mask(raw, len(self.names), mask)[0]
            parts: dict[str, Any] = {"boxes_exhaustive": bool(data.get("boxes_exhaustive", False))}
            if self.options.exhaustive is None:
                parts["exhaustive"] = bool(data.get("exhaustive", False))
        except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise InputError(f"cannot read weak labels {path}: {type(error).__name__} {error}") from error
        return self.build(id, size, strokes=strokes, boxes=np.array(boxes), tags=tags, partial=partial, **parts)


def write_weak(path: Path, weak: WeakLabels, space: LabelSpace, *, partial: str | None = None) -> None:
    """Write weak labels; coordinates are rounded to hundredths of a pixel.

    Args:
        path: JSON file.
        weak: labels at the size of the image.
        space: class names.
        partial: image file of the partial mask, relative to `path`; needed if there is one.
    """
    if (weak.partial is None) != (partial is None):
        raise InputError(
            f"{path}: partial names the file of the partial mask, and labels without one have no such file"
        )
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
