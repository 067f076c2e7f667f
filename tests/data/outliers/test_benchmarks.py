"""Out-of-distribution data sets: official layouts, label meaning, held-out classes, and what is refused."""

import numpy as np
import pytest
from benchmark_trees import TREES
from PIL import Image

from gss.data.generated import LABELS, ScenesDataset
from gss.data.outliers.benchmarks import OOD_LABELS, OODDataset, open_ood
from gss.data.specs.load import load_spec

RAW = {  # raw values and the truth they mean; 0 in, 1 out, 255 void by default
    "road_anomaly": ([0, 1, 2], [0, 1, 1]),
    "fishyscapes_lostandfound": ([0, 1, 255, 7], [0, 1, 255, 255]),
    "fishyscapes_static": ([0, 1, 255, 7], [0, 1, 255, 255]),
    "lost_and_found": ([0, 1, 2, 43, 255], [255, 0, 1, 1, 255]),
    "streethazards": ([0, 1, 13, 14], [255, 0, 0, 1]),
    "ade_ood": ([0, 1, 2, 254, 255], [0, 1, 0, 0, 255]),
}


def put(root, name, values):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


def build(root, name):
    split, images, masks, ids = TREES[name]
    raw, truth = RAW.get(name, ([0, 1, 255], [0, 1, 255]))
    for image, mask in zip(images, masks, strict=True):
        put(root, image, np.full((2, len(raw), 3), 100))
        put(root, mask, [raw, raw])
    return split, ids, [truth, truth]


def put_overlay(root, values):
    path = root / TREES["fishyscapes_static"][2][0].replace("_labels.png", "_rgb.npz")
    np.savez(path, rgb=values)
    return path


@pytest.mark.parametrize("name", TREES)
def test_official_layouts(tmp_path, name):
    split, ids, truth = build(tmp_path, name)
    if name == "fishyscapes_static":
        put_overlay(tmp_path, np.zeros((2, 4, 3), np.int16))
    dataset = OODDataset(load_spec(name, tmp_path), split)
    assert dataset.ids == ids and len(dataset) == len(ids)
    image, target = dataset.read(0)
    assert image.size == (len(truth[0]), 2)
    assert target.dtype == np.uint8 and target.tolist() == truth
    assert dataset.label_space is OOD_LABELS


@pytest.mark.parametrize("name", TREES)
def test_a_missing_label_is_refused(tmp_path, name):
    split, _, _ = build(tmp_path, name)
    for mask in TREES[name][2]:
        (tmp_path / mask).unlink()
    with pytest.raises(ValueError, match="(has|have) no mask, .*mask not found: |is empty: no labels"):
        OODDataset(load_spec(name, tmp_path), split)


def test_hidden_test_labels_are_refused(tmp_path):
    build(tmp_path, "smiyc_anomaly21")
    put(tmp_path, "images/airplane0000.jpg", np.zeros((2, 3, 3)))
    assert len(open_ood("smiyc_anomaly21", root=tmp_path)) == 1
    with pytest.raises(ValueError, match=r"1 image .* mask not found: .*airplane0000_labels_semantic\.png"):
        open_ood("smiyc_anomaly21", "all", root=tmp_path)


def test_obstacle_track_splits(tmp_path):
    for frame in ("validation_1", "validation_19", "validation_20", "validation_23", "validation_3"):
        put(tmp_path, f"images/{frame}.webp", np.zeros((2, 3, 3)))
        put(tmp_path, f"labels_masks/{frame}_labels_semantic.png", np.zeros((2, 3)))
    for frame in ("driveway_1", "snowstorm1_1", "gravel_1", "curvy-street_2"):
        put(tmp_path, f"images/{frame}.webp", np.zeros((2, 3, 3)))
        put(tmp_path, f"labels_masks/{frame}_labels_semantic.png", np.zeros((2, 3)))
    ids = {split: open_ood("smiyc_obstacle21", split, root=tmp_path).ids for split in ("val", "test", "night", "snow")}
    assert ids == {
        "val": ["validation_1", "validation_20", "validation_3"],
        "test": ["curvy-street_2", "gravel_1"],
        "night": ["driveway_1"],
        "snow": ["snowstorm1_1"],
    }


def test_noknown_leaves_out_the_scenes_of_the_benchmark(tmp_path):
    for scene, number in (("15_Rechbergstr_Deckenpfronn", 1), ("10_Schlossberg_9", 4), ("10_Schlossberg_9", 5)):
        frame = f"{scene}/{scene}_{number:06d}_000010"
        put(tmp_path, f"leftImg8bit/test/{frame}_leftImg8bit.png", np.zeros((2, 3, 3)))
        put(tmp_path, f"gtCoarse/test/{frame}_gtCoarse_labelIds.png", np.zeros((2, 3)))
    spec = load_spec("lost_and_found", tmp_path)
    assert len(OODDataset(spec, "test")) == 3
    assert OODDataset(spec, "test_noknown").ids == ["10_Schlossberg_9/10_Schlossberg_9_000005_000010"]


def test_overlays_are_signed_and_clipped(tmp_path):
    split, _, _ = build(tmp_path, "fishyscapes_static")
    overlay = np.zeros((2, 4, 3), np.int16)
    overlay[0, 0], overlay[0, 1], overlay[1, 2] = -30, 200, -200
    path = put_overlay(tmp_path, overlay)
    dataset = OODDataset(load_spec("fishyscapes_static", tmp_path), split)
    pixels = np.asarray(dataset.read(0)[0])[..., 0]
    assert pixels.tolist() == [[70, 255, 100, 100], [100, 100, 0, 100]]
    for damage in (lambda: path.write_bytes(b"PK no archive"), path.unlink):
        damage()
        with pytest.raises(ValueError, match=r"cannot add overlay .*_rgb\.npz") as error:
            dataset.read(0)
        assert "\n" not in str(error.value)


def test_numbered_labels_name_the_image_they_lack(tmp_path):
    split, _, _ = build(tmp_path, "fishyscapes_lostandfound")
    put(tmp_path, "fishyscapes_lostandfound/0001_99_Nowhere_000000_000000_labels.png", np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"1 file .* is missing, .*99_Nowhere_000000_000000_leftImg8bit\.png"):
        OODDataset(load_spec("fishyscapes_lostandfound", tmp_path), split)


@pytest.mark.parametrize("folder", ["plain", "fishyscapes_static"])
def test_plain_folders_of_two_classes(tmp_path, folder):
    root = tmp_path / folder
    put(root, "images/018.png", np.zeros((2, 3, 3)))
    put(root, "masks/018.png", [[0, 1, 255], [0, 0, 1]])
    (root / "classes.json").write_text('{"classes": {"0": "usual", "1": "strange"}, "ignore_index": 255}')
    dataset = open_ood(root)
    assert dataset.split == "all"
    assert dataset.read(0)[1].tolist() == [[0, 1, 255], [0, 0, 1]]


def test_classes_held_out_of_training_are_outliers(tmp_path):
    put(tmp_path, "images/train/a.jpg", np.zeros((2, 3, 3)))
    put(tmp_path, "masks/train/a.png", [[0, 9, 11], [10, 3, 9]])
    (tmp_path / "train.txt").write_text("a\n")
    spec = load_spec("camvid", tmp_path)
    names = spec.label_space.names
    dataset = OODDataset(spec, "train", outliers=[names[9], names[10]])
    assert dataset.read(0)[1].tolist() == [[0, 1, 255], [1, 0, 1]]
    # Known classes are numbered anew without the outliers, which come after them.
    assert dataset.known_names == names[:9] and dataset.outlier_names == names[9:11]
    assert dataset.read_labels(0)[1].tolist() == [[0, 9, 255], [9, 3, 9]]
    other = OODDataset(spec, "train", outliers=[names[0], names[10]])
    assert other.known_names == names[1:10]
    assert other.read_labels(0)[1].tolist() == [[9, 8, 255], [9, 2, 8]]
    assert other.truth(other.read_labels(0)[1]).tolist() == other.read(0)[1].tolist() == [[1, 0, 255], [1, 0, 0]]
    with pytest.raises(ValueError, match="has 11 classes and none is said to be unknown"):
        OODDataset(spec, "train")
    with pytest.raises(ValueError, match="unknown class 'Bicyclst', did you mean"):
        OODDataset(spec, "train", outliers=["Bicyclst"])
    with pytest.raises(ValueError, match="all 11 classes"):
        OODDataset(spec, "train", outliers=names)
    with pytest.raises(ValueError, match="give a list"):
        OODDataset(spec, "train", outliers="Sky")


def test_generated_scenes_know_their_unknown_objects():
    dataset = open_ood("scenes_unknown")
    assert dataset.split == "val" and dataset.ids[0] == "val_00000"
    held_out = open_ood("scenes_unknown", "val", outliers=[LABELS.names[0]])
    scenes = ScenesDataset("val", length=60, unknown=True)
    seen = 0
    for index in range(3):
        scene = scenes.read_full(index)
        image, target = dataset.read(index)
        assert (np.asarray(image) == scene.image).all()
        assert ((target == 1) == scene.unknown).all()
        assert ((target == 255) == ((scene.labels == 255) & ~scene.unknown)).all()
        assert ((held_out.read(index)[1] == 1) == (scene.unknown | (scene.labels == 0))).all()
        seen += int(scene.unknown.sum())
    assert seen > 0
    with pytest.raises(ValueError, match="none is said to be unknown"):
        open_ood("scenes", "val")


def test_split_must_be_named_where_none_is_usual(tmp_path):
    build(tmp_path, "fishyscapes_static")
    with pytest.raises(ValueError, match="has the splits v3, v2, v1; name one"):
        open_ood("fishyscapes_static", root=tmp_path)
    with pytest.raises(ValueError, match="no split 'v4'"):
        open_ood("fishyscapes_static", "v4", root=tmp_path)
