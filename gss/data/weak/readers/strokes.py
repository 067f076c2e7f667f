"""Clicks and scribbles: the scribbles of ScribbleSup (XML) and the clicks of What's the Point (JSON)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from gss.core.errors import InputError
from gss.data.weak.labels import Size, Stroke, WeakLabels
from gss.data.weak.names import VOC_SHORT_NAMES
from gss.data.weak.readers.base import Reader, TableReader, check_size, number, parse_xml


class ScribbleReader(Reader):
    """One XML file an image: `size`, and a `polygon` with `tag` and ordered `point` (X, Y) for each stroke.

    Lin et al., ScribbleSup, CVPR 2016; its short names of PASCAL VOC classes are known.
    """

    suffixes = (".xml",)

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        root = parse_xml(path)
        names = self.names.extended(VOC_SHORT_NAMES)
        stated = root.find("size")
        if stated is not None:
            check_size(path, id, (int(number(stated, "height", path)), int(number(stated, "width", path))), size)
        strokes = []
        for polygon in root.iter("polygon"):
            name = polygon.findtext("tag")
            if name is None:
                raise InputError(f"{path}: a <polygon> has no <tag> with its class")
            vertices = [(number(point, "X", path), number(point, "Y", path)) for point in polygon.iter("point")]
            label = names.find(name.strip(), path)
            if label is not None and vertices:
                strokes.append(Stroke(label, np.array(vertices) + 0.5, self.options.width))
        return self.build(id, size, strokes=strokes)


class ClickReader(TableReader):
    """One JSON file: `{image: [{"cls": class, "x": column, "y": row}, ...]}`; a class by number or by name.

    Bearman et al., What's the Point, ECCV 2016, which keeps clicks on background in a second file of this form.
    """

    suffixes = (".json",)

    def parse(self, path: Path) -> dict[str, Any]:
        """See `TableReader.parse`."""
        return dict(json.loads(path.read_text(encoding="utf-8")).items())

    def entry(self, path: Path, id: str, size: Size, entry: Any) -> WeakLabels:
        """See `TableReader.entry`."""
        strokes = []
        for click in entry:
            label = self.names.find(click["cls"], path)
            if label is not None:
                strokes.append(Stroke(label, np.array([[click["x"] + 0.5, click["y"] + 0.5]]), self.options.width))
        return self.build(id, size, strokes=strokes)
