import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gss.data.generated import LABELS, ScenesDataset
from gss.data.open import open_split
from gss.data.protocols import LabelledImages
from gss.data.scenes import labels as names
from gss.data.scenes import layout as scene_layout
from gss.data.scenes.canvas import Camera
from gss.data.scenes.scene import render, split_seed
from gss.data.scenes.strangers import STRANGERS, stranger
from gss.data.specs.load import load_spec
from gss.data.transforms import JointTransform

SMALL = (96, 128)


def same(a, b) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))


@pytest.mark.parametrize("domain", ["clear", "fog", "night"])
def test_scene_is_a_function_of_its_arguments(domain):
    first = render(3, 5, size=SMALL, domain=domain, unknown=True)
    render(4, 1, size=(40, 70))  # whatever was drawn in between
    assert same(first, render(3, 5, size=SMALL, domain=domain, unknown=True))


def test_scenes_differ_by_index_and_seed():
    scenes = [render(seed, index, size=SMALL) for seed, index in ((0, 0), (0, 1), (1, 0), (1, 1))]
    for i, a in enumerate(scenes):
        for b in scenes[:i]:
            assert (a.labels != b.labels).mean() > 0.02
            assert np.abs(a.image.astype(int) - b.image).mean() > 5


def test_global_random_state_is_left_alone():
    np.random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    render(0, 0, size=(32, 48), unknown=True)
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())


def test_objects_of_some_kinds_alone(monkeypatch):
    drawn = set()

    def recorded(canvas, x, z, kind, *rest, **more):
        drawn.add(STRANGERS[kind])
        return stranger(canvas, x, z, kind, *rest, **more)

    monkeypatch.setattr(scene_layout, "stranger", recorded)
    scenes = [render(0, index, size=(24, 32), unknown=["lump", "cone"]) for index in range(12)]
    assert drawn == {"lump", "cone"} and any(scene.unknown.any() for scene in scenes)
    assert same(render(0, 1, size=SMALL, unknown=STRANGERS), render(0, 1, size=SMALL, unknown=True))
    assert same(render(0, 1, size=SMALL, unknown=[]), render(0, 1, size=SMALL))
    for unknown, reason in (
        (["bal"], "did you mean 'ball'"),
        ("ball", "or a list of crate"),
        (3, "unknown is 3"),
    ):
        with pytest.raises(ValueError, match=reason):
            ScenesDataset("val", length=1, unknown=unknown)


@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(16, 120),
    columns=st.integers(16, 150),
    index=st.integers(0, 10**6),
    domain=st.sampled_from(["clear", "fog", "night"]),
    unknown=st.booleans(),
)
def test_any_size_gives_valid_arrays(rows, columns, index, domain, unknown):
    scene = render(7, index, size=(rows, columns), domain=domain, unknown=unknown)
    assert scene.image.shape == (rows, columns, 3) and scene.image.dtype == np.uint8
    assert scene.labels.shape == scene.depth.shape == scene.unknown.shape == (rows, columns)
    assert scene.labels.dtype == np.uint8 and scene.depth.dtype == np.float32 and scene.unknown.dtype == bool
    assert ((scene.labels < LABELS.num_classes) | (scene.labels == 255)).all()
    assert np.isfinite(scene.depth).all() and scene.depth.min() > 0 and scene.depth.max() <= 1000.5
    assert (scene.labels[scene.unknown] == 255).all()
    assert unknown or not scene.unknown.any()


def test_every_class_appears_and_shares_are_those_of_a_street():
    counts = sum(np.bincount(render(1, i).labels.ravel(), minlength=256) for i in range(40))
    share = dict(zip(LABELS.names, counts[: LABELS.num_classes] / counts.sum(), strict=True))
    assert all(share[name] > 0.001 for name in LABELS.names), share
    assert share["road"] > 0.2 and share["building"] > 0.1 and share["sky"] > 0.1
    assert all(share[rare] < 0.03 for rare in ("pole", "sign", "cyclist", "person", "fence")), share
    assert 0 < counts[255] / counts.sum() < 0.06


@pytest.mark.parametrize("unknown", [False, True])
def test_domains_show_the_same_street(unknown):
    for index in range(3):
        clear, fog, night = (
            render(2, index, size=SMALL, domain=domain, unknown=unknown) for domain in ("clear", "fog", "night")
        )
        for other in (fog, night):
            assert np.array_equal(clear.labels, other.labels)
            assert np.array_equal(clear.depth, other.depth)
            assert np.array_equal(clear.unknown, other.unknown)
            assert np.abs(clear.image.astype(int) - other.image).mean() > 10


def test_fog_hides_what_is_far():
    def contrast(domain, near, far):
        values = []
        for i in range(6):
            scene = render(0, i, domain=domain)
            values.append(scene.image[(scene.depth > near) & (scene.depth < far)].std())
        return np.mean(values)

    assert contrast("fog", 60, 200) < 0.5 * contrast("clear", 60, 200)
    assert contrast("fog", 60, 200) < 0.8 * contrast("fog", 3, 15)


def test_unknown_objects_are_there_and_change_little_else():
    for index in range(12):
        plain, strange = render(9, index), render(9, index, unknown=True)
        assert not plain.unknown.any()
        assert 20 <= strange.unknown.sum() < 0.2 * strange.unknown.size
        assert np.array_equal(plain.labels[~strange.unknown], strange.labels[~strange.unknown])
        known = ~strange.unknown & (strange.labels != names.ROAD) & (strange.labels != names.PAVEMENT)
        changed = np.abs(plain.image.astype(int) - strange.image).max(-1)[known] > 40
        assert changed.mean() < 0.01  # only softened edges


def test_unknown_object_stands_on_the_ground_at_its_depth():
    for index in range(10):
        plain, strange = render(11, index), render(11, index, unknown=True)
        assert (strange.depth[strange.unknown] <= plain.depth[strange.unknown] * 1.1 + 0.6).all()


def neighbours(scene, label, other, step):
    """Depths of `label` pixels and of the `other` pixels right above (step -1) or below (1) them."""
    pixels = (scene.labels == label) & (np.roll(scene.labels, -step, axis=0) == other)
    pixels[-1 if step == 1 else 0] = False
    return scene.depth[pixels], np.roll(scene.depth, -step, axis=0)[pixels]


def test_nearer_things_cover_farther_ones():
    for index in range(8):
        scene = render(21, index)
        for label in (names.CAR, names.PERSON, names.CYCLIST, names.SIGN, names.POLE):
            for behind in (names.SKY, names.BUILDING):
                front, back = neighbours(scene, label, behind, -1)
                assert (front < back).mean() > 0.97 if len(front) else True
        body, ground = neighbours(scene, names.CAR, names.ROAD, 1)
        assert (ground < body * 1.1 + 0.5).mean() > 0.9 if len(body) else True


def test_depth_of_the_road_is_that_of_a_plane():
    scene = render(0, 3, size=(120, 160))
    rows, _ = np.nonzero((scene.labels == names.ROAD) & (scene.depth < 100))
    inverse = 1 / scene.depth[(scene.labels == names.ROAD) & (scene.depth < 100)]
    design = np.stack([np.ones_like(rows), *np.nonzero((scene.labels == names.ROAD) & (scene.depth < 100))], 1)
    fit, *_ = np.linalg.lstsq(design.astype(float), inverse, rcond=None)
    assert np.abs(design @ fit - inverse).max() < 1e-4


def test_rays_invert_projection():
    camera = Camera(rows=90, columns=130, focal=101.0, height=1.6, center_x=70.0, center_y=41.0, roll=0.03)
    slope_x, slope_y = camera.rays()
    for row, column, depth in ((0, 0, 3.0), (50, 7, 12.0), (89, 129, 40.0)):
        point = (slope_x[row, column] * depth, camera.height + slope_y[row, column] * depth, depth)
        assert camera.project(point) == pytest.approx((column, row), abs=1e-3)


def test_trap_ties_cyclists_to_the_cycle_lane():
    paired = [render(0, i, size=SMALL, trap="paired") for i in range(24)]
    riders = [bool((s.labels == names.CYCLIST).any()) for s in paired]
    assert 5 < sum(riders) < 20
    for index in range(6):
        assert not (render(0, index, size=SMALL, trap="context").labels == names.CYCLIST).any()


def test_specs_name_the_trap(tmp_path):
    path, text = tmp_path / "own.yaml", "base: scenes\nlength: {val: 6}\nimage_size: [48, 64]\n"
    found = {}
    for trap in ("off", "paired", "context"):
        path.write_text(f"{text}trap: {trap}\n")
        dataset = open_split(load_spec(path), "val")
        assert dataset.trap == trap
        found[trap] = [dataset.read(index)[1] for index in range(6)]
    assert not any((labels == names.CYCLIST).any() for labels in found["context"])
    assert any((a != b).any() for a, b in zip(found["off"], found["context"], strict=True))
    path.write_text(f"{text}trap: sometimes\n")
    with pytest.raises(ValueError, match="paired"):
        open_split(load_spec(path), "val")


def test_cyclists_of_the_trap_are_large_enough_to_learn():
    shares = [
        (scene.labels == names.CYCLIST).mean()
        for scene in (render(0, index, size=SMALL, trap="paired") for index in range(40))
    ]
    assert np.mean([share for share in shares if share > 0]) > 0.015


def test_specs_merge_classes_of_scenes(tmp_path):
    path = tmp_path / "own.yaml"
    text = "base: scenes\nlength: {val: 4}\nimage_size: [48, 64]\ntrap: paired\nclasses: [background, cyclist]\n"
    path.write_text(f"{text}label_map: [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 10]\n")
    dataset = open_split(load_spec(path), "val")
    assert dataset.label_space.names == ("background", "cyclist")
    for index in range(4):
        full = dataset.read_full(index).labels
        expected = np.where(full == 255, 255, full == names.CYCLIST)
        assert np.array_equal(dataset.read(index)[1], expected)
    wrong = {text: "label_map of all", f"{text}label_map: [[0, 1], 10]\n": "0..10: sky, building"}
    wrong["base: scenes\nlabel_map: [0]\n"] = "give classes too"
    for content, message in wrong.items():
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            load_spec(path)


def test_splits_share_no_scene():
    seeds = {split_seed(seed, split) for seed in range(4) for split in ("train", "val", "test")}
    assert len(seeds) == 12
    sets = [ScenesDataset(split, length=3, size=SMALL) for split in ("train", "val", "test")]
    pictures = [np.asarray(d.read(i)[0]).tobytes() for d in sets for i in range(3)]
    assert len(set(pictures)) == 9


def test_training_split_never_holds_unknown_objects():
    train = ScenesDataset("train", length=8, size=SMALL, unknown=True)
    assert not any(train.read_full(i).unknown.any() for i in range(8))
    val = ScenesDataset("val", length=4, size=SMALL, unknown=True)
    assert all(val.read_full(i).unknown.any() for i in range(4))


def test_dataset_interface():
    data: LabelledImages = ScenesDataset("val", length=3, size=(50, 70), cache=True)
    assert len(data) == 3 and data.label_space is LABELS and len(set(data.ids)) == 3
    image, labels = data.read(1)
    assert image.size == (70, 50) and labels.shape == (50, 70)
    again, _ = data.read(1)
    assert np.array_equal(np.asarray(image), np.asarray(again))
    item = data[1]
    assert item["image"].shape == (3, 50, 70) and item["image"].dtype == torch.float32
    assert item["labels"].dtype == torch.int64 and item["id"] == data.ids[1] and item["index"] == 1
    assert (item["filled"] < LABELS.num_classes).all()
    assert np.array_equal(item["labels"].numpy(), labels)
    with pytest.raises(IndexError):
        data.read(3)


def test_augmentation_follows_the_epoch():
    transform = JointTransform(crop=(32, 48), scale=(0.5, 2.0), flip=0.5, photometric=0.5, max_class_ratio=1.0, seed=0)
    data = ScenesDataset("train", length=2, size=SMALL, transform=transform)
    first = data[0]["image"]
    assert first.shape == (3, 32, 48) and torch.equal(first, data[0]["image"])
    data.set_epoch(1)
    assert not torch.equal(first, data[0]["image"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"domain": "fogg"}, "fog"),
        ({"size": (8, 100)}, "at least 16"),
        ({"seed": -1}, "0 or more"),
        ({"trap": "on"}, "paired"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        ScenesDataset("val", length=2, **arguments)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message):
        render(**{"seed": 0, "index": 0, **arguments})


def test_empty_split_is_refused():
    with pytest.raises(ValueError, match="at least 1 scene"):
        ScenesDataset("val", length=0)
