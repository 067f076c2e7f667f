"""COCO files: objects and foreign scenes of both kinds, and every damage named before training."""

import json

import numpy as np
import pytest
from PIL import Image

from gss.core.errors import InputError
from gss.data.outliers.coco import CocoObjects
from gss.data.outliers.objects import open_objects
from gss.data.outliers.scenes import open_scenes


@pytest.fixture
def coco(tmp_path):
    """Five pictures; the third shows a person, the fifth has a crowd beside its dog."""
    (tmp_path / "pictures").mkdir()
    categories = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}, {"id": 52, "name": "banana"}]
    square = [[10, 5, 30, 5, 30, 25, 10, 25]]
    images, annotations = [], []
    for id in range(1, 6):
        Image.new("RGB", (60, 40), (id * 40, 10, 10)).save(tmp_path / "pictures" / f"{id}.png")
        images.append({"id": id, "file_name": f"{id}.png"})
        shared = {"image_id": id, "iscrowd": 0, "area": 400}
        annotations.append({**shared, "id": 10 * id, "category_id": 18, "segmentation": square})
    runs = [600, 200, 40 * 60 - 800]
    for id, image, category, crowd in ((31, 3, 1, 0), (51, 5, 52, 1)):
        segmentation = {"size": [40, 60], "counts": runs}
        shared = {"segmentation": segmentation, "area": 200, "iscrowd": crowd}
        annotations.append({**shared, "id": id, "image_id": image, "category_id": category})
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def test_objects_of_a_coco_file(coco):
    pictures = coco.parent / "pictures"
    objects = open_objects(coco, "all", images=pictures, exclude=["person"])
    assert objects.ids == ["1:10", "2:20", "4:40", "5:50"] and set(objects.categories) == {"dog"}
    picture = np.asarray(objects.cut(1))
    assert picture.shape == (20, 20, 4) and (picture[..., 0] == 80).all() and (picture[..., 3] == 255).all()
    assert open_objects(coco, "train", images=pictures).ids == ["1:10", "2:20", "3:30", "3:31", "4:40"]
    assert open_objects(coco, "val", images=pictures).ids == ["5:50"]
    assert len(open_objects(coco, "all", images=pictures, min_pixels=300)) == 5
    scenes = open_scenes(coco, "all", images=pictures, exclude=["person"])
    _, labels = scenes.read(3)
    assert labels[35, 17] == 255 and labels[10, 12] == 254 and labels[35, 50] == 0


def test_bad_coco_files(coco):
    pictures = coco.parent / "pictures"
    for options, reason in (
        ({"images": None}, "images='' is not a folder"),
        ({"images": pictures, "split": "test"}, "unknown split 'test'. Splits: train, val, all"),
    ):
        with pytest.raises(ValueError, match=reason):
            open_objects(coco, **options)
    with pytest.raises(ValueError, match="annotation file not found"):
        open_objects(coco.with_name("other.json"), images=pictures)
    (pictures / "4.png").unlink()
    with pytest.raises(ValueError, match=r"1 pictures of .* are missing, first: .*4\.png"):
        open_objects(coco, images=pictures)
    coco.write_text("[1]")
    with pytest.raises(ValueError, match=r"instances\.json must be a mapping, but is \[1\]"):
        open_objects(coco, images=pictures)


def test_objects_of_a_panoptic_file(coco):
    root = coco.parent
    (root / "panoptic").mkdir()
    ids = np.zeros((40, 60), np.int64)
    ids[5:25, 10:30], ids[30:] = 70_000, 3
    colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    Image.fromarray(colors).save(root / "panoptic" / "2.png")
    segments = [
        {"id": 70_000, "category_id": 18, "area": 400, "iscrowd": 0},
        {"id": 3, "category_id": 190, "area": 600, "iscrowd": 0},
    ]
    content = {
        "images": [{"id": 2, "file_name": "2.png"}],
        "annotations": [{"image_id": 2, "file_name": "2.png", "segments_info": segments}],
        "categories": [{"id": 18, "name": "dog", "isthing": 1}, {"id": 190, "name": "floor", "isthing": 0}],
    }
    (root / "panoptic.json").write_text(json.dumps(content))
    objects = CocoObjects(root / "panoptic.json", "all", images=root / "pictures")
    assert objects.ids == ["2:70000"]
    assert objects.cut(0).size == (20, 20) and (np.asarray(objects.cut(0))[..., 3] == 255).all()


def changed(coco, change, **item):
    """Open the file after a change of its content, or of its second annotation."""
    content = json.loads(coco.read_text())
    annotation = content["annotations"][1]
    for key, value in item.items():
        annotation[key] = value
        if value is KeyError:
            del annotation[key]
    change(content)
    coco.write_text(json.dumps(content))
    return open_objects(coco, "all", images=coco.parent / "pictures")


@pytest.mark.parametrize("key", ["area", "iscrowd"])
@pytest.mark.parametrize("value", [KeyError, None])
def test_keys_that_may_be_missing(coco, key, value):
    objects = changed(coco, lambda content: None, **{key: value})
    assert "2:20" in objects.ids
    for least, held in ((400, True), (401, False)):
        assert ("2:20" in CocoObjects(coco, "all", images=coco.parent / "pictures", min_pixels=least).ids) is held


@pytest.mark.parametrize("value", [KeyError, None, [], [[1, 2, 3, 4]]])
def test_annotations_without_a_mask_are_counted(coco, value):
    with pytest.warns(UserWarning, match=r"instances\.json: 1 annotations have no mask .* first: id 20") as said:
        objects = changed(coco, lambda content: None, segmentation=value)
    assert len(said) == 1 and objects.ids == ["1:10", "3:30", "3:31", "4:40", "5:50"]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("id", KeyError, r"annotations\[1\] has no 'id'"),
        ("id", 2.5, "id must be a whole number, but is 2.5"),
        ("id", [20], "id must be a whole number"),
        ("area", "large", r"annotations\[1\] \(id 20\)\.area must be a finite number, but is 'large'"),
        ("iscrowd", "no", r"\(id 20\)\.iscrowd must be true"),
        ("image_id", KeyError, r"\(id 20\) has no 'image_id'"),
        ("image_id", {}, r"\(id 20\)\.image_id must be a whole number"),
        ("category_id", KeyError, r"\(id 20\) has no 'category_id'"),
        ("category_id", 99, r"\(id 20\) is of category 99, which 'categories' does not list"),
        ("segmentation", "mask", r"\(id 20\)\.segmentation must be a list"),
        ("segmentation", [[1, 2, 3, 4, 5, 6, 7]], r"\(id 20\)\.segmentation\[0\] has 7 numbers"),
        ("segmentation", {"counts": [2400]}, r"\(id 20\)\.segmentation has no 'size'"),
        ("segmentation", {"size": [40, 60], "counts": [1]}, r"counts covers 1 pixels"),
    ],
)
def test_damage_names_file_and_annotation(coco, key, value, reason):
    with pytest.raises(InputError, match=rf"instances\.json: annotations\[1\].*{reason}|instances\.json: {reason}"):
        changed(coco, lambda content: None, **{key: value})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content.pop("categories"), "has no 'categories'"),
        (lambda content: content.pop("images"), "has no 'images'"),
        (lambda content: content.update(images=None), "has null as 'images'"),
        (lambda content: content.update(annotations={}), "annotations must be a list"),
        (lambda content: content["annotations"].append(3), r"annotations\[7\] must be a mapping, but is 3"),
        (lambda content: content["images"][0].pop("file_name"), r"images\[0\] \(id 1\) has no 'file_name'"),
        (lambda content: content["images"][0].update(file_name=3), r"images\[0\] \(id 1\)\.file_name must be text"),
        (lambda content: content["categories"][0].pop("name"), r"categories\[0\] \(id 1\) has no 'name'"),
        (
            lambda content: content["images"][1].update(height="x", width=60),
            r"images.1. .id 2.\.height must be a whole number",
        ),
    ],
)
def test_damage_of_the_lists(coco, change, reason):
    with pytest.raises(InputError, match=rf"instances\.json:? {reason}"):
        changed(coco, change)


def test_run_lengths_of_another_size_than_the_picture_name_the_annotation(coco):
    objects = changed(coco, lambda content: None, segmentation={"size": [4, 4], "counts": [8, 8]})
    with pytest.raises(InputError, match=r"instances\.json: annotation 20 of 2\.png: run lengths are of size \[4, 4\]"):
        objects.cut(objects.ids.index("2:20"))


def test_a_panoptic_mask_that_is_missing(coco):
    segment = {"id": 7, "category_id": 18}
    content = {
        "images": [{"id": 2, "file_name": "2.png"}],
        "annotations": [{"image_id": 2, "file_name": "2.png", "segments_info": [segment]}],
        "categories": [{"id": 18, "name": "dog"}],
    }
    path = coco.with_name("panoptic.json")
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"1 panoptic masks of .* are missing, first: .*panoptic/2\.png"):
        CocoObjects(path, "all", images=coco.parent / "pictures")
    (coco.parent / "panoptic").mkdir()
    colors = np.zeros((40, 60, 3), np.uint8)
    colors[:5, :4, 0] = 7
    Image.fromarray(colors).save(coco.parent / "panoptic/2.png")
    assert len(CocoObjects(path, "all", images=coco.parent / "pictures", min_pixels=20)) == 1  # area by its pixels
    assert len(CocoObjects(path, "all", images=coco.parent / "pictures", min_pixels=21)) == 0


def rewritten(coco, change):
    content = json.loads(coco.read_text())
    change(content)
    coco.write_text(json.dumps(content))
    return coco


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda file: file["images"][1].update(id=1), "two entries have the image id 1"),
        (lambda file: file["categories"].append({"id": 18, "name": "cat"}), "two entries have the category id 18"),
    ],
)
def test_ids_that_stand_for_two_things_are_refused(coco, change, reason):
    with pytest.raises(InputError, match=f"instances.json: {reason}"):
        CocoObjects(rewritten(coco, change), "all", images=coco.parent / "pictures")


def test_a_picture_of_another_size_than_stated_is_refused_before_masks_are_drawn(coco):
    path = rewritten(coco, lambda file: file["images"][1].update(width=61, height=40))
    objects = CocoObjects(path, "all", images=coco.parent / "pictures")
    assert objects.cut(0).size == (20, 20)
    with pytest.raises(InputError, match=r"2.png has 60x40 pixels, but .*instances.json states 61x40 for image 2"):
        objects.cut(1)


@pytest.mark.parametrize("area", [0, -5])
def test_an_area_that_is_none_is_computed(coco, area):
    path = rewritten(coco, lambda file: file["annotations"][0].update(area=area))
    assert "1:10" in CocoObjects(path, "all", images=coco.parent / "pictures", min_pixels=300).ids
