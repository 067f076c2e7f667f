"""Small good files of every format of weak labels and of COCO objects."""

from __future__ import annotations

import io
import json

import numpy as np
from PIL import Image

SIZE = (20, 30)  # H, W of the images that the labels are about
CLASSES = ("background", "aeroplane", "car", "person")

_SCRIBBLE = """<annotation><size><width>30</width><height>20</height></size>
<polygon><tag>plane</tag><point><X>4</X><Y>5</Y></point><point><X>14</X><Y>5</Y></point></polygon>
<polygon><tag>car</tag><point><X>9</X><Y>15</Y></point></polygon></annotation>"""
_VOC_BOX = """<a><size><width>30</width><height>20</height></size><object><name>car</name>
<bndbox><xmin>4</xmin><ymin>3</ymin><xmax>12</xmax><ymax>10</ymax></bndbox></object></a>"""
_POLYGON = {"label": "car", "polygon": [[5, 5], [15, 5], [15, 12], [5, 12]], "deleted": 0}
_OWN = {
    "id": "a",
    "size": [20, 30],
    "exhaustive": True,
    "tags": ["car"],
    "strokes": [{"class": "car", "width": 2.0, "points": [[3.5, 4.25], [20.0, 6.0]]}],
    "boxes": [{"class": "person", "box": [3.0, 2.0, 12.5, 10.0]}],
    "boxes_exhaustive": False,
}
_COCO_BOX = {
    "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
    "categories": [{"id": 7, "name": "Car"}],
    "annotations": [{"id": 5, "image_id": 1, "category_id": 7, "bbox": [3, 2, 9, 8], "iscrowd": 0}],
}
_COCO_TAGS = {
    "images": [{"id": 1, "file_name": "a.png"}, {"id": "2", "file_name": "b.png"}],
    "categories": [{"id": 7, "name": "Car"}],
    "annotations": [{"id": 5, "image_id": 1, "category_id": 7}],
}
_LABELME = {
    "imageHeight": 20,
    "imageWidth": 30,
    "shapes": [
        {"label": "car", "points": [[5, 5], [15, 5], [15, 12]], "shape_type": "polygon"},
        {"label": "person", "points": [[20, 3], [26, 18]], "shape_type": "rectangle"},
        {"label": "person", "points": [[9, 15], [11, 15]], "shape_type": "circle"},
    ],
}
_COCO_MASKS = {
    "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
    "categories": [{"id": 7, "name": "car"}],
    "annotations": [
        {"id": 5, "image_id": 1, "category_id": 7, "segmentation": [[5, 5, 15, 5, 15, 15, 5, 15]]},
        {"id": 6, "image_id": 1, "category_id": 7, "segmentation": {"size": [20, 30], "counts": [100, 60, 440]}},
    ],
}
_CVAT = """<annotations><image id="0" name="a.png" width="30" height="20">
<polygon label="car" points="5,5;15,5;15,12" z_order="1"/><box label="person" xtl="20" ytl="3" xbr="26" ybr="18"/>
<mask label="car" rle="2, 3, 4" left="2" top="14" width="3" height="3"/></image></annotations>"""
_BOXED = {"x": 50, "y": 25, "width": 20, "height": 40, "rotation": 0, "rectanglelabels": ["person"]}
_DRAWN = {"points": [[10, 20], [40, 20], [40, 60]], "polygonlabels": ["car"]}
_LABEL_STUDIO = [
    {
        "data": {"image": "/data/upload/1/0123abcd-a.png"},
        "annotations": [
            {
                "result": [
                    {"original_width": 30, "original_height": 20, "value": _DRAWN},
                    {"original_width": 30, "original_height": 20, "value": _BOXED},
                ]
            }
        ],
    }
]
COCO_OBJECTS = {
    "images": [{"id": 1, "file_name": "1.png", "height": 20, "width": 30}, {"id": 2, "file_name": "2.png"}],
    "categories": [{"id": 18, "name": "dog", "isthing": 1}, {"id": 52, "name": "banana"}],
    "annotations": [
        {"id": 11, "image_id": 1, "category_id": 18, "area": 100, "segmentation": [[5, 5, 15, 5, 15, 15, 5, 15]]},
        {"id": 12, "image_id": 1, "category_id": 52, "segmentation": {"size": [20, 30], "counts": [100, 60, 440]}},
        {"id": 21, "image_id": 2, "category_id": 18, "segmentation": {"size": [20, 30], "counts": "T3l1h="}},
        {"id": 22, "image_id": 2, "category_id": 18, "bbox": [1, 2, 3, 4], "iscrowd": 1, "segmentation": None},
    ],
}
PANOPTIC = {
    "images": [{"id": 1, "file_name": "1.png"}],
    "categories": [{"id": 18, "name": "dog", "isthing": 1}],
    "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": [{"id": 7, "category_id": 18, "area": 50}]}],
}


def encoded(value: object) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value).encode()


def picture(array: np.ndarray, form: str = "PNG", **more: object) -> bytes:
    """Return an image file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, form, **more)  # type: ignore[arg-type]
    return file.getvalue()


def _mask() -> bytes:
    labels = np.full(SIZE, 255, np.uint8)
    labels[2:5, 3:9], labels[10:, :4] = 2, 0
    return picture(labels)


def _array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], np.float32))
    return file.getvalue()


IDS = b"c\na.png\nb\n"
"""The text file `ids.txt` beside the array of tags."""

WEAK_LABELS: dict[str, tuple[str, str, bytes]] = {
    "gss": ("gss", ".json", encoded(_OWN)),
    "masks": ("masks", ".png", _mask()),
    "polygons": ("polygons", ".json", encoded({"imgHeight": 20, "imgWidth": 30, "objects": [_POLYGON]})),
    "labelme": ("labelme", ".json", encoded(_LABELME)),
    "coco_masks": ("coco_masks", ".json", encoded(_COCO_MASKS)),
    "cvat": ("cvat", ".xml", _CVAT.encode()),
    "label_studio": ("label_studio", ".json", encoded(_LABEL_STUDIO)),
    "yolo_polygons": ("yolo_polygons", ".txt", b"1 0.1 0.1 0.5 0.1 0.5 0.6\n2 0.6 0.2 0.9 0.2 0.9 0.9 0.6 0.9\n"),
    "scribblesup": ("scribblesup", ".xml", _SCRIBBLE.encode()),
    "clicks": (
        "clicks",
        ".json",
        encoded({"a": [{"cls": 2, "x": 7, "y": 3}, {"cls": "person", "x": 17, "y": 13}], "b": []}),
    ),
    "voc_boxes": ("voc_boxes", ".xml", _VOC_BOX.encode()),
    "coco_boxes": ("coco_boxes", ".json", encoded(_COCO_BOX)),
    "yolo_boxes": ("yolo_boxes", ".txt", b"1 0.5 0.5 0.25 0.25\n2 0.25 0.25 0.1 0.1\n"),
    "csv_boxes": (
        "csv_boxes",
        ".csv",
        b"filename,class,xmin,ymin,xmax,ymax,width,height\na.png,car,3,2,12,10,30,20\nb,person,1,1,5,5,30,20\n",
    ),
    "tags in text": ("tags", ".txt", b"a car person\nb 2\n"),
    "tags by column": ("tags", ".csv", b"image,aeroplane,car,person\na,0,1,0\nb,1,0,1\n"),
    "tags by name": ("tags", ".csv", b"image,tags\na,car;person\nb,\n"),
    "tags in JSON": ("tags", ".json", encoded({"a": ["car", 3], "b.png": []})),
    "tags of instances": ("tags", ".json", encoded(_COCO_TAGS)),
    "tags in an array": ("tags", ".npy", _array()),
    "voc_tags": ("voc_tags", ".xml", b"<a><object><name>car</name></object><object><name>person</name></object></a>"),
}
"""Name to format, suffix and content; each is about an image 'a' of `SIZE`."""
