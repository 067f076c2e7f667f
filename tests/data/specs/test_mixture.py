"""Specs of the MSeg family, ACDC and LabelMeFacade: class counts, names, and a small tree of each layout read back."""

import numpy as np
import pytest
from mixture_trees import TREES
from PIL import Image

from gss.data.check.split import check_split
from gss.data.datasets import SegmentationDataset
from gss.data.specs.load import load_spec

CITY = "cityscapes"
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
    image = tmp_path / TREES[name][1]
    assert check_split(spec, split).missing == [f"mask not found: {mask}, for image {image}"]


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
