"""Clicks and scribbles: the scribbles of ScribbleSup (XML) and the clicks of What's the Point (JSON)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gss.core.errors import InputError
from gss.core.json_value import JsonValue
from gss.data.weak.labels import Size, WeakLabels
from gss.data.weak.names import VOC_SHORT_NAMES
from gss.data.weak.raster import check_pixels
from gss.data.weak.readers.base import Reader, TableReader, check_size
from gss.data.weak.readers.files import read_json_value, read_xml, xml_number


class ScribbleReader(Reader):
    """Reader of one XML file per image: `size`, and a `polygon` with `tag` and `point`s (X, Y) for each stroke.

    Lin et al., ScribbleSup, CVPR 2016; its short names of PASCAL VOC classes are known.
    """

    suffixes = (".xml",)

    def read(self, path: Path, id: str, size: Size) -> WeakLabels:
        """See `Reader.read`."""
        root = read_xml(path)
        names = self.names.extended(VOC_SHORT_NAMES)
        stated = root.find("size")
        if stated is not None:
            check_size(path, id, (xml_number(stated, "height", path), xml_number(stated, "width", path)), size)
        strokes = []
        for polygon in root.iter("polygon"):
            name = polygon.findtext("tag")
            if name is None:
                raise InputError(f"{path}: a <polygon> has no <tag> with its class")
            vertices = [(xml_number(point, "X", path), xml_number(point, "Y", path)) for point in polygon.iter("point")]
            label = names.find(name.strip(), path)
            check_pixels(path, vertices)
            if label is not None and vertices:
                # A file counts pixels, a stroke runs through their centers.
                strokes.append(self.stroke(path, size, label, np.array(vertices) + 0.5, self.options.width))
        return self.build(id, size, strokes=strokes)


class ClickReader(TableReader):
    """Reader of one JSON file: `{image: [{"cls": class, "x": column, "y": row}, ...]}`; a class by number or name.

    Bearman et al., What's the Point, ECCV 2016, which keeps clicks on background in a second file of this form.
    """

    suffixes = (".json",)

    def parse(self, path: Path) -> dict[str, Any]:
        """See `TableReader.parse`."""
        return dict(read_json_value(path).items())

    def entry(self, path: Path, id: str, size: Size, entry: JsonValue) -> WeakLabels:
        """See `TableReader.entry`."""
        strokes = []
        for click in entry:
            kind = click["cls"]
            label = self.names.find(kind.name(), kind.where())
            xy = np.array([[click["x"].number(), click["y"].number()]])
            check_pixels(kind.where(), xy)
            if label is not None:
                strokes.append(self.stroke(path, size, label, xy + 0.5, self.options.width))
        return self.build(id, size, strokes=strokes)
