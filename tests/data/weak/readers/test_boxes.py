"""Boxes that others wrote."""

import json

import numpy as np
import pytest
from weak_readers import ReaderChecks, each, opened


def box_labels(data, index=0):
    weak, _ = data.read_weak(index)
    return weak, weak.rasterize().labels


def test_boxes_of_every_format_agree(root):
    voc = "<annotation><size><width>30</width><height>20</height></size>{}</annotation>"
    thing = (
        "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
    )
    each(root, "ID.xml", voc.format(thing.format("car", 4, 3, 12, 10) + thing.format("person", 20, 5, 29, 19)))
    boxes = [[3, 2, 9, 8], [19, 4, 10, 15]]
    coco = {
        "images": [{"id": k, "file_name": f"{i}.png", "height": 20, "width": 30} for k, i in enumerate("abc")],
        "categories": [{"id": 7, "name": "Car"}, {"id": 9, "name": "person"}],
        "annotations": [
            {"image_id": k, "category_id": c, "bbox": b} for k in range(3) for c, b in zip((7, 9), boxes, strict=True)
        ],
    }
    (root / "coco.json").write_text(json.dumps(coco))
    yolo = "".join(
        f"{c} {(x + w / 2) / 30} {(y + h / 2) / 20} {w / 30} {h / 20}\n"
        for c, (x, y, w, h) in zip((1, 2), boxes, strict=True)
    )
    each(root, "ID.txt", yolo)
    rows = [
        f"{i}.png,{n},{x},{y},{x + w},{y + h},30,20"
        for i in "abc"
        for n, (x, y, w, h) in zip(("car", "person"), boxes, strict=True)
    ]
    (root / "t.csv").write_text("\n".join(["filename,class,xmin,ymin,xmax,ymax,width,height", *rows]))
    found = []
    for form, path in (
        ("voc_boxes", "w/{id}.xml"),
        ("coco_boxes", "coco.json"),
        ("yolo_boxes", "w/{id}.txt"),
        ("csv_boxes", "t.csv"),
    ):
        weak, labels = box_labels(opened(root, {"format": form, "path": path}))
        np.testing.assert_allclose(weak.boxes, [[3, 2, 12, 10, 2], [19, 4, 29, 19, 3]], atol=1e-9)
        assert weak.exhaustive and weak.boxes_exhaustive and weak.present().tolist() == [True, False, True, True]
        found.append(labels)
    for labels in found[1:]:
        np.testing.assert_array_equal(labels, found[0])
    assert found[0][0, 0] == 0 and found[0][6, 7] == 2 and found[0][2, 3] == 255
    partly = opened(root, {"format": "coco_boxes", "path": "coco.json", "exhaustive": False, "core": 1.0})
    labels = box_labels(partly)[1]
    assert labels[0, 0] == 255 and (labels[2:10, 3:12] == 2).all()
    coco["annotations"][0]["iscrowd"] = 1
    (root / "coco.json").write_text(json.dumps(coco))
    weak, labels = box_labels(opened(root, {"format": "coco_boxes", "path": "coco.json"}))
    assert len(weak.boxes) == 1 and not weak.boxes_exhaustive and labels[0, 0] == 255


@pytest.mark.parametrize(
    ("form", "name", "text", "message"),
    [
        ("yolo_boxes", "ID.txt", "9 .5 .5 .1 .1", r"a\.txt, line 1: .* classes 0\.\.2; set 'order'"),
        ("yolo_boxes", "ID.txt", "0 15 10 4 4", r"a\.txt, line 1: .*relative to the image"),
        ("voc_boxes", "ID.xml", "<a><object><name>car</name></object></a>", "has no <bndbox>"),
        (
            "voc_boxes",
            "ID.xml",
            "<a><object><name>car</name><bndbox><xmin>9</xmin><ymin>3</ymin><xmax>5</xmax><ymax>9</ymax></bndbox></object></a>",
            "has no area; correct or remove it",
        ),
        (
            "voc_boxes",
            "ID.xml",
            "<a><object><name>car</name><bndbox><xmin>9</xmin><ymin>3</ymin><xmax>45</xmax><ymax>9</ymax></bndbox></object></a>",
            "reach outside its 30x20 pixels",
        ),
    ],
)
def test_bad_boxes(root, form, name, text, message):
    each(root, name, text)
    with pytest.raises(ValueError, match=message):
        opened(root, {"format": form, "path": "w/" + name.replace("ID", "{id}")}).read(0)


def test_yolo_order(root):
    each(root, "ID.txt", "0 .5 .5 .5 .5")
    weak = {"format": "yolo_boxes", "path": "w/{id}.txt", "order": ["person", "car"]}
    assert box_labels(opened(root, weak))[0].boxes[0, 4] == 3


class TestVocBoxReader(ReaderChecks):
    sample = "voc_boxes"


class TestCocoBoxReader(ReaderChecks):
    sample = "coco_boxes"


class TestYoloBoxReader(ReaderChecks):
    sample = "yolo_boxes"


class TestCsvBoxReader(ReaderChecks):
    sample = "csv_boxes"


@pytest.mark.parametrize(
    ("form", "path", "text"),
    [
        ("csv_boxes", "t.csv", "image,class,xmin,ymin,xmax,ymax\na,car,0.1,0.2,0.5,0.9\n"),
        (
            "coco_boxes",
            "coco.json",
            json.dumps(
                {
                    "images": [{"id": 1, "file_name": "a.png"}],
                    "categories": [{"id": 1, "name": "car"}],
                    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0.1, 0.2, 0.4, 0.7]}],
                }
            ),
        ),
        (
            "voc_boxes",
            "w/{id}.xml",
            "<a><object><name>car</name><bndbox><xmin>0.1</xmin><ymin>0.2</ymin><xmax>0.5</xmax><ymax>0.9</ymax>"
            "</bndbox></object></a>",
        ),
        ("clicks", "clicks.json", json.dumps({"a": [{"cls": "car", "x": 0.25, "y": 0.75}]})),
        (
            "scribblesup",
            "w/{id}.xml",
            "<a><polygon><tag>car</tag><point><X>0.2</X><Y>0.4</Y></point><point><X>1</X><Y>0.6</Y></point></polygon></a>",
        ),
        (
            "labelme",
            "w/{id}.json",
            json.dumps({"shapes": [{"label": "car", "points": [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]}]}),
        ),
        (
            "coco_masks",
            "masks.json",
            json.dumps(
                {
                    "images": [{"id": 1, "file_name": "a.png"}],
                    "categories": [{"id": 1, "name": "car"}],
                    "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[0.1, 0.1, 0.9, 0.1, 0.5, 1]]}],
                }
            ),
        ),
        (
            "cvat",
            "cvat.xml",
            '<annotations><image name="a.png"><box label="car" xtl="0.1" ytl="0.1" xbr="0.5" ybr="1"/></image>'
            "</annotations>",
        ),
    ],
)
def test_coordinates_relative_to_the_image_are_refused(root, form, path, text):
    each(root, path.removeprefix("w/").replace("{id}", "ID"), text) if "{id}" in path else (root / path).write_text(
        text
    )
    with pytest.raises(ValueError, match="lie between 0 and 1 .*pixels are expected: multiply x by the width"):
        opened(root, {"format": form, "path": path, "unlabelled": "allow"}).read(0)
