"""Specs of the MSeg family, ACDC and LabelMeFacade: class counts, names, and a small tree of each layout read back."""

import json

import numpy as np
import pytest
from PIL import Image

from gss.data.check import check_split
from gss.data.datasets import SegmentationDataset
from gss.data.specs.load import load_spec

CITY = "cityscapes"
# split, image, mask, id, other files, raw values of the mask, and the class they mean (None: void)
TREES = {
    "bdd100k": (
        *("train", "images/10k/train/0a-7c.jpg", "labels/sem_seg/masks/train/0a-7c.png", "0a-7c"),
        *({}, [0, 18, 255], ["road", "bicycle", None]),
    ),
    "bdd100k_seg": (
        *("val", "seg/images/val/0a-7c.jpg", "seg/labels/val/0a-7c_train_id.png", "0a-7c"),
        *({}, [0, 18, 255], ["road", "bicycle", None]),
    ),
    "kitti": (
        *("train", "training/image_2/000000_10.png", "training/semantic/000000_10.png", "000000_10"),
        *({}, [7, 33, 0, 29], ["road", "bicycle", None, None]),
    ),
    "wilddash": (
        *("val", "wd_val_01/au0000_100000.png", "wd_val_01/au0000_100000_labelIds.png", "au0000"),
        *({}, [7, 26, 4], ["road", "car", None]),
    ),
    "acdc": (
        "train",
        "rgb_anon/fog/train/GOPR0475/GOPR0475_frame_000041_rgb_anon.png",
        "gt/fog/train/GOPR0475/GOPR0475_frame_000041_gt_labelTrainIds.png",
        "fog/GOPR0475/GOPR0475_frame_000041",
        {},
        [0, 18, 255],
        ["road", "bicycle", None],
    ),
    "idd": (
        "train",
        "leftImg8bit/train/0/024541_leftImg8bit.png",
        "gtFine/train/0/024541_gtFine_labellevel3Ids.png",
        "0/024541",
        {},
        [0, 8, 25, 255],
        ["road", "autorickshaw", "sky + fallback background", None],
    ),
    "idd_ids": (
        "val",
        "leftImg8bit/val/3/9_leftImg8bit.jpg",
        "gtFine/val/3/9_gtFine_labelids.png",
        "3/9",
        {},
        [0, 11, 34, 36, 255],
        ["road", "autorickshaw", "fallback background", None, None],
    ),
    "mapillary": (
        *("val", "validation/images/--1G_lk.jpg", "validation/labels/--1G_lk.png", "--1G_lk"),
        *({}, [0, 27, 64, 65], ["Bird", "Sky", "Ego Vehicle", None]),
    ),
    "sunrgbd": (
        *("test", "image/test/img-000001.jpg", "label37/test/00000001.png", "000001"),
        *({}, [0, 1, 24, 37], [None, "wall", "refridgerator", "bag"]),
    ),
    "scannet": (
        "val",
        "scannet_frames_25k/scene0011_00/color/000100.jpg",
        "scannet_frames_25k/scene0011_00/label/000100.png",
        "scene0011_00/000100",
        {"scannetv2_val.txt": "scene0011_00\n"},
        [0, 1, 14, 16, 36, 39, 40],
        [None, "wall", "desk", "curtain", "bathtub", "otherfurniture", None],
    ),
    "pascal_context": (
        "val",
        "JPEGImages/2008_000002.jpg",
        "SegmentationClassContext/2008_000002.png",
        "2008_000002",
        {"ImageSets/SegmentationContext/val.txt": "2008_000002\n"},
        [0, 1, 2, 59],
        ["background", "aeroplane", "bag", "wood"],
    ),
    "pascal_context59": (
        "train",
        "JPEGImages/2008_000002.jpg",
        "SegmentationClassContext/2008_000002.png",
        "2008_000002",
        {"ImageSets/SegmentationContext/train.txt": "2008_000002\n"},
        [0, 1, 2, 59],
        [None, "aeroplane", "bag", "wood"],
    ),
    "coco_panoptic": (
        "val",
        "images/val2017/000000000139.jpg",
        "annotations/panoptic_val2017/000000000139.png",
        "000000000139",
        {
            "annotations/panoptic_val2017.json": json.dumps(
                {
                    "images": [{"id": 139, "file_name": "000000000139.jpg"}],
                    "annotations": [
                        {
                            "image_id": 139,
                            "file_name": "000000000139.png",
                            "segments_info": [
                                {"id": 70_000, "category_id": 200, "iscrowd": 0, "area": 2},
                                {"id": 258, "category_id": 1, "iscrowd": 0, "area": 2},
                                {"id": 3, "category_id": 1, "iscrowd": 0, "area": 2},
                            ],
                        }
                    ],
                    "categories": [{"id": 1, "name": "person"}, {"id": 200, "name": "rug-merged"}],
                }
            )
        },
        [[0, 0, 0], [2, 1, 0], [3, 0, 0], [112, 17, 1]],
        [None, "person", "person", "rug-merged"],
    ),
    "labelmefacade": (
        "test",
        "images/05june05__p1.jpg",
        "labels/05june05__p1.png",
        "05june05__p1",
        {"train.txt": "images/other.jpg\n", "test.txt": "images/05june05__p1.jpg\n"},
        [[0, 0, 0], [128, 0, 0], [128, 64, 0], [0, 0, 128]],
        [None, "building", "road", "window"],
    ),
}
CLASSES = {
    **{"idd": 26, "idd_ids": 35, "mapillary": 65, "sunrgbd": 37, "scannet": 20, "pascal_context": 60},
    **{"pascal_context59": 59, "coco_panoptic": 133, "labelmefacade": 8},
}


def put(root, name, values):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


def build(root, name):
    split, image, mask, _, files, raw, _ = TREES[name]
    put(root, image, np.full((2, len(raw), 3), 90))
    put(root, mask, [raw, raw])
    for file, text in files.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
    return load_spec(name, root), split


@pytest.mark.parametrize("name", TREES)
def test_the_tree_in_the_header_is_read(tmp_path, name):
    spec, split = build(tmp_path, name)
    _, image, mask, id, _, _, classes = TREES[name]
    assert spec.label_space.num_classes == CLASSES.get(name, 19)
    assert split in spec.available_splits()
    dataset = SegmentationDataset(spec, split)
    assert dataset.ids == [id]
    assert (dataset.samples[0].image, dataset.samples[0].mask) == (tmp_path / image, tmp_path / mask)
    assert spec.stray_masks(split) == []
    expected = [255 if name is None else spec.label_space.index(name) for name in classes]
    assert dataset.read(0)[1].tolist() == [expected, expected]
    report = check_split(spec, split)
    assert report.num_problems == 0
    assert report.void == 2 * classes.count(None)


@pytest.mark.parametrize("name", TREES)
def test_a_missing_mask_is_named(tmp_path, name):
    spec, split = build(tmp_path, name)
    mask = tmp_path / TREES[name][2]
    mask.unlink()
    assert check_split(spec, split).missing == [f"mask not found: {mask}"]


@pytest.mark.parametrize("name", sorted(set(TREES) - set(CLASSES)))
def test_street_sets_have_the_classes_of_cityscapes(name):
    assert load_spec(name).label_space == load_spec(CITY).label_space
    assert load_spec(name).mseg


def test_names_stand_at_their_numbers():
    names = {name: load_spec(name).label_space.names for name in CLASSES}
    assert [names["mapillary"][k] for k in (13, 15, 19, 30, 55)] == ["Road", "Sidewalk", "Person", "Vegetation", "Car"]
    assert [names["idd_ids"][k] for k in (6, 12, 29, 33)] == ["person", "car", "building", "sky"]
    assert [names["idd"][k] for k in (2, 9, 22, 24)] == ["sidewalk", "car", "building", "vegetation"]
    assert [names["sunrgbd"][k - 1] for k in (5, 20, 28, 36)] == ["chair", "floor mat", "shower curtain", "bathtub"]
    assert names["pascal_context"][1:] == names["pascal_context59"] == tuple(sorted(names["pascal_context59"]))
    coco = load_spec("coco_panoptic")
    at = {raw: name for (raw,), name in zip(coco.label_map.values, names["coco_panoptic"], strict=True)}
    assert [at[k] for k in (1, 90, 92, 149, 187, 200)] == [
        *("person", "toothbrush", "banner", "road", "sky-other-merged", "rug-merged")
    ]


def test_acdc_conditions_are_splits(tmp_path):
    for condition in ("fog", "night"):
        for split in ("train", "val"):
            put(tmp_path, f"rgb_anon/{condition}/{split}/G1/G1_frame_1_rgb_anon.png", np.zeros((2, 2, 3)))
            put(tmp_path, f"gt/{condition}/{split}/G1/G1_frame_1_gt_labelTrainIds.png", np.zeros((2, 2)))
    put(tmp_path, "rgb_anon/fog/train_ref/G1/G1_frame_1_rgb_ref_anon.png", np.zeros((2, 2, 3)))
    spec = load_spec("acdc", tmp_path)
    assert [sample.id for sample in spec.samples("val")] == ["fog/G1/G1_frame_1", "night/G1/G1_frame_1"]
    (night,) = spec.samples("val_night")
    assert (night.id, night.missing) == ("G1/G1_frame_1", ())
    assert night.image == tmp_path / "rgb_anon/night/val/G1/G1_frame_1_rgb_anon.png"


def test_a_scene_stands_for_its_frames(tmp_path):
    for scene, frame in (("scene0011_00", "000200"), ("scene0011_00", "000100"), ("scene0011_01", "000000")):
        put(tmp_path, f"scannet_frames_25k/{scene}/color/{frame}.jpg", np.zeros((2, 2, 3)))
        put(tmp_path, f"scannet_frames_25k/{scene}/label/{frame}.png", np.ones((2, 2)))
    (tmp_path / "scannetv2_val.txt").write_text("scene0011_00\nscene0012_00\n")
    samples = load_spec("scannet", tmp_path).samples("val")
    assert [sample.id for sample in samples] == ["scene0011_00/000100", "scene0011_00/000200", "scene0012_00"]
    assert [sample.missing for sample in samples] == [(), (), ("image", "mask")]


def test_the_expected_place_of_a_missing_file_is_filled_in(tmp_path):
    put(tmp_path, "rgb_anon/fog/val/G1/G1_frame_1_rgb_anon.png", np.zeros((2, 2, 3)))
    (sample,) = load_spec("acdc", tmp_path).samples("val")
    assert sample.missing == ("mask",)
    assert sample.mask == tmp_path / "gt/fog/val/G1/G1_frame_1_gt_labelTrainIds.png"
