"""Formats of weak labels that others wrote: read exactly, and refused with the file and the fix named."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gss.data.datasets import SegmentationDataset
from gss.data.specs.load import load_spec

CLASSES = ["background", "aeroplane", "car", "person"]
SIZE = (20, 30)  # H, W


@pytest.fixture
def root(tmp_path):
    """Three images of 30x20 without masks."""
    (tmp_path / "images").mkdir()
    for name in ("a", "b", "c"):
        Image.new("RGB", SIZE[::-1], (10, 80, 120)).save(tmp_path / f"images/{name}.png")
    (tmp_path / "w").mkdir()
    return tmp_path


def spec(root, weak, **keys):
    text = {"root": ".", "image": "images/{id}.png", "splits": ["train"], "classes": CLASSES, "weak": weak} | keys
    (root / "spec.yaml").write_text(json.dumps(text))  # JSON is YAML
    return load_spec(root / "spec.yaml")


def opened(root, weak, **keys):
    return SegmentationDataset(spec(root, weak, **keys), "train")


def each(root, name, text):
    for id in ("a", "b", "c"):
        (root / "w" / name.replace("ID", id)).write_text(text)


SCRIBBLE = """<annotation><size><width>{w}</width><height>20</height></size>
<polygon><tag>plane</tag><point><X>4</X><Y>5</Y></point><point><X>14</X><Y>5</Y></point></polygon>
<polygon><tag>{tag}</tag><point><X>{x}</X><Y>15</Y></point></polygon></annotation>"""


def test_scribblesup(root):
    each(root, "ID.xml", SCRIBBLE.format(w=30, tag="background", x=9))
    data = opened(root, {"format": "scribblesup", "path": "w/{id}.xml"})
    labels = data.read(0)[1]
    assert (labels[4:7, 4:15] == 1).all() and labels[5, 3] == labels[5, 15] == 1 and labels[7, 9] == 255
    assert (labels[14:17, 8:11] == 0).all() and (labels == 0).sum() == 9
    item = data[1]
    assert item["tags"].tolist() == [True, True, False, False] and bool(item["exhaustive"])
    wide = opened(root, {"format": "scribblesup", "path": "w/{id}.xml", "width": 1}).read(0)[1]
    assert (wide == 1).sum() == 11 and (wide == 0).sum() == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SCRIBBLE.format(w=31, tag="car", x=9), r"w/a\.xml is for an image of 31x20 pixels, but image 'a' has 30x20"),
        (SCRIBBLE.format(w=30, tag="kat", x=9), r"w/a\.xml: unknown class 'kat'.*aliases or ignore.*background, aero"),
        (SCRIBBLE.format(w=30, tag="pedestrian", x=9), r"write 'aliases: {pedestrian: person}' under weak"),
        (
            SCRIBBLE.format(w=30, tag="car", x=45),
            r"1 labels of image 'a' reach outside its 30x20 pixels.*outside: clip",
        ),
        (SCRIBBLE.format(w=30, tag="car", x="left"), r"<point> needs a number in <X>, got 'left'"),
        ("<annotation>", r"cannot read weak labels .*a\.xml"),
    ],
)
def test_bad_scribbles(root, text, message):
    each(root, "ID.xml", text)
    with pytest.raises(ValueError, match=message):
        opened(root, {"format": "scribblesup", "path": "w/{id}.xml"}).read(0)


def test_ways_out_of_bad_labels(root):
    weak = {"format": "scribblesup", "path": "w/{id}.xml"}
    each(root, "ID.xml", SCRIBBLE.format(w=30, tag="pedestrian", x=45))
    labels = opened(root, {**weak, "aliases": {"pedestrian": "person"}, "outside": "clip"}).read(0)[1]
    assert labels[15, 29] == 3
    labels = opened(root, {**weak, "ignore": ["Pedestrian"]}).read(0)[1]
    assert set(np.unique(labels)) == {1, 255}


def test_clicks_of_two_files(root):
    (root / "fg.json").write_text(json.dumps({i: [{"cls": 2, "x": 7, "y": 3, "rank": 1}] for i in "abc"}))
    (root / "bg.json").write_text(json.dumps({i: [{"cls": "background", "x": 20, "y": 10}] for i in "ab"}))
    weak = {"format": "clicks", "path": ["fg.json", "bg.json"]}
    data = opened(root, weak)
    assert data.read(0)[1][3, 7] == 2 and (data.read(0)[1] == 2).sum() == 9
    assert data.read(1)[1][10, 20] == 0
    (root / "fg.json").write_text(json.dumps({"a": [{"cls": 9, "x": 7, "y": 3}], "c": [], "b": [{"x": 1}]}))
    with pytest.raises(
        ValueError, match=r"image 'a': .*fg\.json: class number 9 is outside 0\.\.3; .* from 0: background"
    ):
        opened(root, weak).read(0)
    with pytest.raises(ValueError, match=r"fg\.json: entry 'b' is malformed"):
        opened(root, weak).read(1)


def test_missing_and_unknown_images_of_a_table(root):
    (root / "t.json").write_text(json.dumps({"a": ["car"], "b.png": ["person"], "zz.jpg": ["car"], "c": []}))
    weak = {"format": "tags", "path": "t.json"}
    with pytest.raises(ValueError, match=r"t\.json names 1 images that are not in the data set, first: 'zz'.*remove"):
        opened(root, weak)
    (root / "t.json").write_text(json.dumps({"a": ["car"], "b.png": ["person"]}))
    with pytest.raises(ValueError, match=r"1 images of the split have no entry in .*t\.json, first: 'c'"):
        opened(root, weak)
    data = opened(root, {**weak, "unlabelled": "allow"})
    assert data[1]["tags"].tolist() == [True, False, False, True]
    assert not data[2]["tags"].any() and not data[2]["exhaustive"]
    with pytest.raises(ValueError, match="file of weak labels not found|files of split 'train'"):
        opened(root, {"format": "tags", "path": "none.json"})


def test_masks_coded_by_255_and_by_the_number_of_classes(root):
    mask = np.full(SIZE, 255, np.uint8)
    mask[2:5, 3:9], mask[10:, :4] = 2, 0
    for id, unlabelled in (("a", 255), ("b", 4), ("c", 4)):
        Image.fromarray(np.where(mask == 255, unlabelled, mask).astype(np.uint8)).save(root / f"w/{id}.png")
    raw = np.array(Image.open(root / "w/c.png"))
    raw[0, 0] = 255  # padding beside the other code
    Image.fromarray(raw).save(root / "w/c.png")
    data = opened(root, {"format": "masks", "path": "w/{id}.png"})
    with pytest.warns(UserWarning) as said:
        for index in range(3):
            np.testing.assert_array_equal(data.read(index)[1], mask)
    count = (mask == 255).sum()
    assert [f"b.png marks {count} unlabelled pixels with 4" in str(warning.message) for warning in said] == [True]
    assert data.weak.reader.coding == "4 (the number of classes)"
    assert not data[0]["exhaustive"]
    Image.fromarray(np.full(SIZE, 7, np.uint8)).save(root / "w/a.png")
    with pytest.raises(ValueError, match=r"w/a\.png holds 7; allowed are classes 0\.\.3.*values: raw"):
        data.read(0)
    Image.fromarray(mask[:, :-1]).save(root / "w/a.png")
    with pytest.raises(ValueError, match=r"w/a\.png is for an image of 29x20"):
        data.read(0)


def test_raw_masks_use_the_label_map(root):
    raw = np.full(SIZE, 77, np.uint8)
    raw[3:6] = 30
    for id in "abc":
        Image.fromarray(raw).save(root / f"w/{id}.png")
    weak = {"format": "masks", "path": "w/{id}.png", "values": "raw"}
    keys = {"label_map": [10, 20, 30, 40], "mask": "none/{id}.png", "ignore": 77}
    labels = opened(root, weak, **keys).read(0)[1]
    assert (labels[3:6] == 2).all() and (labels == 255).sum() == 17 * 30
    with pytest.raises(ValueError, match=r"holds values unknown to the data spec: 77"):
        opened(root, weak, **{**keys, "ignore": 0}).read(0)


def polygon_file(root, label="cargroup", **more):
    corners = [[5, 5], [15, 5], [15, 12], [5, 12]]
    objects = [
        {"label": "out of roi", "polygon": [[0, 0], [29, 0], [29, 19], [0, 19]]},
        {"label": label, "polygon": corners},
        {"label": "person", "polygon": [[8, 8], [10, 8], [10, 10], [8, 10]]},
        {"label": "car", "polygon": corners, "deleted": 1},
    ]
    each(root, "ID.json", json.dumps({"imgHeight": 20, "imgWidth": 30, "objects": objects} | more))
    return opened(root, {"format": "polygons", "path": "w/{id}.json"})


def test_coarse_polygons(root):
    data = polygon_file(root)
    labels = data.read(0)[1]
    assert labels[6, 7] == 2 and labels[9, 9] == 3 and labels[0, 0] == 255 and not data[0]["exhaustive"]
    with pytest.raises(ValueError, match="unknown class 'tree'"):
        polygon_file(root, "tree").read(0)
    with pytest.raises(ValueError, match="for an image of 60x20"):
        polygon_file(root, imgWidth=60).read(0)
    with pytest.raises(ValueError, match=r"cannot read weak labels .*KeyError"):
        each(root, "ID.json", "{}")
        opened(root, {"format": "polygons", "path": "w/{id}.json"}).read(0)


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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.txt", "a car\nb.png person aeroplane\nc\n"),
        ("t.txt", "a, car\nb, person, aeroplane\nc,\n"),
        ("t.txt", "a 2\nb 3 1\nc\n"),
        ("t.csv", "image,aeroplane,car,person\na,0,1,0\nb,1,0,1\nc,0,0,0\n"),
        ("t.csv", "image,tags\na,car\nb,person;aeroplane\nc,\n"),
        ("t.json", '{"a": ["car"], "b": ["person", 1], "c": []}'),
        (
            "t.json",
            '{"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"},'
            '{"id": 3, "file_name": "c"}],'
            '"categories": [{"id": 5, "name": "car"}, {"id": 6, "name": "person"}, {"id": 8, "name": "aeroplane"}],'
            '"annotations": [{"image_id": 1, "category_id": 5}, {"image_id": 2, "category_id": 6},'
            '{"image_id": 2, "category_id": 8}, {"image_id": 2, "category_id": 6}]}',
        ),
    ],
)
def test_tags_of_every_format_agree(root, name, text):
    (root / name).write_text(text)
    data = opened(root, {"format": "tags", "path": name})
    wanted = [[1, 0, 1, 0], [1, 1, 0, 1], [1, 0, 0, 0]]
    for index in range(3):
        item = data[index]
        assert item["tags"].int().tolist() == wanted[index] and bool(item["exhaustive"])
        assert item["labels"].eq(255).all() and item["filled"].eq(0).all()


def test_tags_as_arrays_folders_and_xml(root):
    (root / "ids.txt").write_text("c\na.png\nb\n")
    weak = {"format": "tags", "path": "t.npy", "ids": "ids.txt"}
    values = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], np.float32)  # c person, a car, b aeroplane
    np.save(root / "t.npy", values)
    data = opened(root, weak)
    assert [data[i]["tags"].nonzero()[:, 0].tolist() for i in range(3)] == [[0, 2], [0, 1], [0, 3]]
    np.save(root / "t.npy", np.hstack([np.ones((3, 1)), values]))
    assert opened(root, weak)[0]["tags"].nonzero()[:, 0].tolist() == [0, 2]
    with pytest.raises(ValueError, match="do not name their images; set 'ids'"):
        opened(root, {"format": "tags", "path": "t.npy"})
    np.save(root / "t.npy", values[:2])
    with pytest.raises(ValueError, match=r"have shape \[2, 3\]; 3 ids and 4 classes"):
        opened(root, weak)
    np.save(root / "t.npy", np.array({"a": values[0]}, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"t\.npy are pickled Python objects.*plain array \[N, K\].*CSV or JSON"):
        opened(root, weak)
    for name, ids in (("car", "ab"), ("person", "bc")):
        (root / "sorted" / name).mkdir(parents=True)
        for id in ids:
            (root / "sorted" / name / f"{id}.png").touch()
    data = opened(root, {"format": "tags", "path": "sorted"})
    assert data[1]["tags"].tolist() == [True, False, True, True]
    each(root, "ID.xml", "<a><object><name>car</name></object><object><name>Car</name></object></a>")
    assert opened(root, {"format": "voc_tags", "path": "w/{id}.xml"})[0]["tags"].tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "image,car,person\na,0,2\n", "the row of 'a' needs 0 or 1"),
        ("t.csv", "", r"t\.csv names no image with its classes: it needs a header"),
        ("t.csv", "image,car\n", r"t\.csv names no image with its classes"),
        ("t.txt", "a car\na person\n", "image 'a' has two lines"),
        ("t.json", '{"a": [1}', "not valid JSON"),
        ("t.json", '{"images": [], "annotations": []}', "key 'categories' is missing"),
        ("t.dat", "a car", "must end in .txt, .csv, .json, .npy"),
    ],
)
def test_bad_tags(root, name, text, message):
    (root / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        opened(root, {"format": "tags", "path": name})


@pytest.mark.parametrize(
    ("weak", "message"),
    [
        ("tags", "weak must be a mapping with format and path"),
        ({"format": "tag", "path": "x"}, r"no format 'tag' did you mean 'tags'\?"),
        ({"format": "tags", "path": "x", "widht": 3}, r"unknown key 'widht' did you mean 'width'\?"),
        ({"format": "tags", "path": "x", "outside": "drop"}, "outside is 'drop'; it must be error or clip"),
        ({"format": "tags", "path": "/abs/x"}, "path must be relative"),
        ({"format": "masks", "path": "{id}.png", "confidence": "c.png"}, r"the pattern must contain {id}"),
        ({"format": "masks", "path": "{id}.png", "width": 0}, "width must be above 0"),
    ],
)
def test_bad_specs(root, weak, message):
    with pytest.raises(ValueError, match=message):
        spec(root, weak)


def test_weak_labels_of_some_splits(root):
    (root / "full").mkdir()
    Image.fromarray(np.full(SIZE, 1, np.uint8)).save(root / "full/c.png")
    (root / "t.json").write_text(json.dumps({"a": ["car"], "b": ["car"]}))
    (root / "train.txt").write_text("a\nb\n")
    (root / "val.txt").write_text("c\n")
    keys = {"list": "{split}.txt", "splits": ["train", "val"], "mask": "full/{id}.png"}
    both = spec(root, {"format": "tags", "path": "t.json", "splits": "train"}, **keys)
    train, val = (SegmentationDataset(both, split) for split in ("train", "val"))
    assert train.read(0)[1].min() == 255 and (val.read(0)[1] == 1).all() and val.weak is None
    assert torch.equal(val[0]["valid"], torch.ones(SIZE, dtype=torch.bool))
    only = spec(root, {"format": "tags", "path": "t.json", "splits": "train"}, **{**keys, "mask": ""})
    with pytest.raises(ValueError, match="split 'val' .* has no masks"):
        SegmentationDataset(only, "val")
