"""Readers of weak labels, by the name of their format."""

from gss.data.weak.readers.base import Options, Reader, TableReader
from gss.data.weak.readers.boxes import CocoBoxReader, CsvBoxReader, VocBoxReader, YoloBoxReader
from gss.data.weak.readers.instances import CocoMaskReader, CvatReader, LabelStudioReader
from gss.data.weak.readers.masks import MaskReader, PolygonReader
from gss.data.weak.readers.own import OwnReader
from gss.data.weak.readers.shapes import LabelMeReader, ShapeTable, YoloPolygonReader
from gss.data.weak.readers.strokes import ClickReader, ScribbleReader
from gss.data.weak.readers.tags import TagReader, VocTagReader

__all__ = ["READERS", "Options", "Reader", "ShapeTable", "TableReader"]

READERS: dict[str, type[Reader]] = {
    "gss": OwnReader,
    "masks": MaskReader,
    "polygons": PolygonReader,
    "coco_masks": CocoMaskReader,
    "labelme": LabelMeReader,
    "cvat": CvatReader,
    "label_studio": LabelStudioReader,
    "yolo_polygons": YoloPolygonReader,
    "scribblesup": ScribbleReader,
    "clicks": ClickReader,
    "voc_boxes": VocBoxReader,
    "coco_boxes": CocoBoxReader,
    "yolo_boxes": YoloBoxReader,
    "csv_boxes": CsvBoxReader,
    "tags": TagReader,
    "voc_tags": VocTagReader,
}
