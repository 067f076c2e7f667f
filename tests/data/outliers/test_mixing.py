import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from object_toys import GREEN, RED, folder
from PIL import Image, ImageDraw

from gss.cli import main
from gss.data.outliers.coco import CocoObjects, decode_runs, instance_mask
from gss.data.outliers.mixing import MixedImages, MixedTruth, Mixer, feathered
from gss.data.outliers.objects import check_unknown, fingerprint, open_objects
from gss.data.outliers.scenes import open_scenes
from gss.data.transforms import JointTransform, sample_generator
from gss.labels.space import LabelSpace


class OneObject:
    """A red disc, or the RGBA picture given."""

    ids, categories = ["disc"], ["ball"]

    def __init__(self, picture=None):
        if picture is None:
            picture = Image.new("RGBA", (40, 20), (*GREEN, 0))
            ImageDraw.Draw(picture).ellipse((0, 0, 39, 19), fill=(*RED, 255))
        self.picture = picture

    def __len__(self):
        return 1

    def cut(self, index):
        return self.picture


class Base:
    """Unaugmented pictures of noise; labels 0..2 with a void row."""

    label_space = LabelSpace(("road", "sky", "tree"))

    def __init__(self, count=3, size=(48, 64)):
        self.ids, self.size, self.epoch = [f"base{i}" for i in range(count)], size, 0

    def __len__(self):
        return len(self.ids)

    def set_epoch(self, epoch):
        self.epoch = epoch

    def read(self, index):
        random = np.random.default_rng(index)
        labels = random.integers(0, 3, self.size).astype(np.uint8)
        labels[0] = 255
        return Image.fromarray(random.integers(0, 256, (*self.size, 3)).astype(np.uint8)), labels

    def __getitem__(self, index):
        image, labels = self.read(index)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return {"image": pixels, "labels": torch.from_numpy(labels).long(), "id": self.ids[index], "index": index}


def plain(**options):
    return Mixer(OneObject(), **({"count": (1, 1), "flip": 0.0, "photometric": 0.0} | options))


def mix(mixer, seed=0, size=(48, 64)):
    image, labels = torch.full((3, *size), 0.5), torch.ones(size, dtype=torch.int64)
    return image, labels, *mixer(image, labels, torch.Generator().manual_seed(seed))


def test_pasting_changes_the_object_and_nothing_else():
    image, labels, mixed, marked = mix(plain(size=(0.5, 0.5)))
    assert (image == 0.5).all() and (labels == 1).all()  # the given tensors are not written to
    pasted = marked == 254
    assert set(marked.unique().tolist()) == {1, 254}
    assert (mixed[:, ~pasted] == 0.5).all()
    red = torch.tensor(RED)[:, None] / 255
    assert (mixed[:, pasted] - red).abs().max() < 0.02  # nothing green from around the object
    rows, columns = pasted.any(1).nonzero(), pasted.any(0).nonzero()
    assert columns.max() - columns.min() + 1 == 24 and rows.max() - rows.min() + 1 == 12
    assert 0.7 < pasted.sum() / (24 * 12) < 0.85  # an ellipse


@given(
    st.integers(0, 500),
    st.tuples(st.integers(5, 40), st.integers(5, 40)),
    st.floats(0.01, 4),
    st.floats(0, 1),
    st.floats(0, 3),
    st.integers(1, 3),
)
def test_every_object_lies_inside(seed, size, share, depth, feather, count):
    mixer = plain(size=(share, share), depth=depth, feather=feather, count=(count, count))
    image, _, mixed, marked = mix(mixer, seed, size)
    assert mixed.shape == image.shape and mixed.min() >= 0 and mixed.max() <= 1
    assert (marked == 254).any() and set(marked.unique().tolist()) <= {1, 254, 255}
    assert (mixed[:, marked == 1] == 0.5).all()


def test_an_object_larger_than_the_crop_is_scaled_down():
    huge = Image.new("RGBA", (900, 300), (*RED, 255))
    mixer = Mixer(OneObject(huge), count=(1, 1), size=(9.0, 9.0), photometric=0.0)
    _, _, mixed, marked = mix(mixer)
    assert (marked == 254).any(0).all() and (marked == 254).any(1).sum() == 21  # 64 wide, 64 / 3 high
    assert (mixed[0, marked == 254] > 0.85).all()


def test_thin_and_tiny_objects_leave_a_pixel():
    line = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    ImageDraw.Draw(line).line((0, 0, 199, 199), fill=(*RED, 255), width=2)
    for seed in range(5):
        assert (mix(Mixer(OneObject(line), size=(0.05, 0.2)), seed)[3] == 254).any()


def test_objects_shrink_towards_the_top():
    def heights(depth):
        found = []
        for seed in range(40):
            rows = (mix(plain(size=(0.6, 0.6), depth=depth), seed, (96, 96))[3] == 254).any(1).nonzero()
            found.append((int(rows.max()), len(rows)))
        return sorted(found)

    flat, deep = heights(0.0), heights(0.9)
    assert len({height for _, height in flat}) == 1
    assert np.corrcoef(np.array(deep).T)[0, 1] > 0.9 and deep[-1][1] > 3 * deep[0][1]


def test_feathered_edges_rise_inwards():
    mask = np.zeros((30, 40), bool)
    mask[5:25, 5:35] = True
    alpha = feathered(mask, 3.0)
    np.testing.assert_allclose(alpha[15, 4:10], [0, 0.25, 0.5, 0.75, 1, 1])
    assert np.array_equal(feathered(mask, 0), mask.astype(np.float32))
    assert not alpha[~mask].any() and feathered(mask, 500.0).max() == 1
    _, _, mixed, marked = mix(plain(size=(0.9, 0.9), feather=3.0))
    ring = marked == 255
    assert ring.any() and (marked == 254).any()
    assert (mixed[0, ring] < 0.75).all() and (mixed[0, marked == 254] > 0.69).all()


def test_an_image_without_objects_is_a_real_one():
    dataset = MixedImages(Base(8), plain(probability=0.5), seed=3)
    unmixed = 0
    for index in range(8):
        sample, original = dataset[index], Base(8)[index]
        if not (sample["labels"] == 254).any():
            unmixed += 1
            assert torch.equal(sample["image"], original["image"]) and torch.equal(sample["labels"], original["labels"])
        assert sample["image"].std() > 0.1
    assert 0 < unmixed < 8


def test_samples_depend_on_seed_epoch_and_index_alone(tmp_path):
    scenes = folder(tmp_path / "scenes", {"a": GREEN, "b": RED})
    options = {"scenes": open_scenes(scenes, objects=["object"]), "crop": (24, 32)}
    first, second = MixedImages(Base(), Mixer(OneObject()), seed=1, **options), None
    first.set_epoch(2)
    torch.rand(7)
    second = MixedImages(Base(), Mixer(OneObject()), seed=1, **options)
    second[0]
    second.set_epoch(2)
    a, b = first[1], second[1]
    assert a.keys() == {"image", "labels", "id", "index", "context_image", "context_labels"}
    assert all(torch.equal(a[key], b[key]) for key in a if isinstance(a[key], torch.Tensor))
    assert first.base.epoch == 2 and a["context_image"].shape == (3, 24, 32)
    second.set_epoch(3)
    assert not torch.equal(a["labels"], second[1]["labels"])
    other = MixedImages(Base(), Mixer(OneObject()), seed=2, **options)
    other.set_epoch(2)
    assert not torch.equal(a["labels"], other[1]["labels"])
    # Nor are the random numbers those of the augmentation of the same sample.
    streams = [torch.rand(4, generator=sample_generator(1, 2, 3, *more)) for more in ((), (254,))]
    assert not torch.equal(*streams)


def test_truth_of_validation_images():
    dataset = MixedTruth(Base(), plain(size=(0.5, 0.5)), seed=0)
    image, truth = dataset.read(1)
    again, _ = dataset.read(1)
    original, labels = Base().read(1)
    assert np.array_equal(image, again) and set(np.unique(truth)) == {0, 1, 255}
    assert np.array_equal(np.asarray(image)[truth == 0], np.asarray(original)[truth == 0])
    assert (truth[(truth != 1)] == np.where(labels == 255, 255, 0)[truth != 1]).all()


def test_more_or_fewer_mixtures_than_images():
    base = Base()
    more = MixedTruth(base, plain(), length=2 * len(base))
    assert more.ids == [id for id in base.ids for _ in range(2)] and len(more) == 2 * len(base)
    first, second = (more.read(index)[1] == 1 for index in (2, 3))  # of one image
    assert first.any() and second.any() and not np.array_equal(first, second)
    fewer = MixedTruth(base, plain(), length=len(base) - 1)
    assert len(fewer) == len(base) - 1 and len(set(fewer.ids)) == len(fewer)


def test_no_label_is_left_for_objects():
    full = Base()
    full.label_space = LabelSpace(tuple(f"class {k}" for k in range(255)))
    for dataset in (MixedImages, MixedTruth):
        with pytest.raises(ValueError, match=r"255 classes, so label 254 is 'class 254'"):
            dataset(full, plain())
    full.label_space = LabelSpace(tuple(f"class {k}" for k in range(254)))
    MixedImages(full, plain())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"count": (0, 1)}, "count"),
        ({"count": (3, 2)}, "count"),
        ({"size": (0.5, 0.1)}, "size"),
        ({"depth": 1.5}, "depth"),
        ({"feather": -1.0}, "feather"),
        ({"probability": 2.0}, "probability"),
    ],
)
def test_bad_settings(change, what):
    with pytest.raises(ValueError, match=what):
        plain(**change)


# Sources of objects


def test_objects_of_a_folder(tmp_path):
    root = folder(tmp_path / "objects", {"a": RED, "b": GREEN, "c": RED, "d": GREEN, "e": RED})
    objects = open_objects(root)
    assert objects.ids == ["a", "b", "c", "d", "e"] and objects.categories[1] == "thing b"
    picture = np.asarray(objects.cut(1))
    assert picture.shape == (20, 30, 4) and (picture[picture[..., 3] == 255][:, :3] == GREEN).all()
    assert set(np.unique(picture[..., 3])) == {0, 255}
    assert open_objects(root, "train").ids == ["a", "b", "c", "d"] and open_objects(root, "val").ids == ["e"]
    assert open_objects(root, exclude=["Thing A", "thing e"]).ids == ["b", "c", "d"]
    with pytest.raises(ValueError, match="holds no object .* 10000 pixels"):
        open_objects(root, min_pixels=10_000)
    (root / "held.txt").write_text("e\n")
    assert open_objects(root, "held").ids == ["e"]


def test_bad_object_folders(tmp_path):
    root = folder(tmp_path / "some", {"a": RED, "b": RED, "c": GREEN}, empty=("b", "c"))
    with pytest.raises(ValueError, match=r"2 of 3 masks of .* show no object, first: .*b\.png"):
        open_objects(root)
    with pytest.raises(ValueError, match="split 'all' of data set 'none' is empty"):
        open_objects(folder(tmp_path / "none", {}))
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="has no folder images/"):
        open_objects(tmp_path / "bare")
    with pytest.raises(ValueError, match="no data spec"):
        open_objects(tmp_path / "nowhere")
    lost = folder(tmp_path / "lost", {"a": RED, "b": RED})
    (lost / "masks" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"1 objects of .* lack a file, first: .*b"):
        open_objects(lost)
    (lost / "objects.json").write_text('{"a": 1}')
    (lost / "images" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"objects.json: needs a list"):
        open_objects(lost)


def test_objects_of_known_classes_are_refused(tmp_path):
    objects = open_objects(folder(tmp_path / "objects", {"a": RED, "b": GREEN}))
    check_unknown(objects, ["road", "thing"])
    with pytest.raises(ValueError, match=r"'thing b' are no outliers, because 'Thing B' .* add thing b to"):
        check_unknown(objects, ["road", "Thing B"])


def test_fingerprint_of_ids():
    assert fingerprint(["a", "b"], []) == fingerprint(("a", "b"), ())
    assert len({fingerprint(*ids) for ids in ((["a", "b"],), (["b", "a"],), (["a"], ["b"]), (["ab"],))}) == 4


def pack(counts):
    """COCO's compressed run lengths, written after their description."""
    text = ""
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = not (value == -1 and bits & 0x10 or value == 0 and not bits & 0x10)
            text += chr((bits | 0x20 if more else bits) + 48)
    return text


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 100))
def test_run_lengths_round_trip(height, width, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.3
    flat = mask.T.ravel()
    borders = np.flatnonzero(np.diff(flat, prepend=False, append=not flat[-1]))
    counts = np.diff(borders, prepend=0).tolist()
    assert np.array_equal(decode_runs(counts, (height, width)), mask)
    packed = {"size": [height, width], "counts": pack(counts)}
    assert np.array_equal(instance_mask(packed, (height, width)), mask)


def test_polygons_cover_whole_pixels():
    mask = instance_mask([[2, 1, 7, 1, 7, 4, 2, 4]], (6, 9))
    assert mask[1:4, 2:7].all() and mask.sum() <= 24  # at most one more row and column, as Pillow draws borders
    with pytest.raises(ValueError, match="run lengths cover 3 pixels"):
        instance_mask({"size": [2, 2], "counts": [1, 2]}, (2, 2))


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
    assert abs(picture.shape[0] - 20) <= 1 and (picture[..., 0] == 80).all() and (picture[..., 3] == 255).mean() > 0.9
    assert open_objects(coco, "train", images=pictures).ids == ["1:10", "2:20", "3:30", "3:31", "4:40"]
    assert open_objects(coco, "val", images=pictures).ids == ["5:50"]
    assert len(open_objects(coco, "all", images=pictures, min_pixels=300)) == 5
    scenes = open_scenes(coco, "all", images=pictures, exclude=["person"])
    _, labels = scenes.read(3)
    assert labels[35, 17] == 255 and labels[10, 12] == 254 and labels[35, 50] == 0


def test_bad_coco_files(coco):
    pictures = coco.parent / "pictures"
    for options, reason in (
        ({"images": None}, "images='' is no folder"),
        ({"images": pictures, "split": "test"}, "a COCO file has train, val and all"),
    ):
        with pytest.raises(ValueError, match=reason):
            open_objects(coco, **options)
    with pytest.raises(ValueError, match="annotation file not found"):
        open_objects(coco.with_name("other.json"), images=pictures)
    (pictures / "4.png").unlink()
    with pytest.raises(ValueError, match=r"1 pictures of .* are missing, first: .*4\.png"):
        open_objects(coco, images=pictures)
    coco.write_text("[1]")
    with pytest.raises(ValueError, match="is no COCO instance or panoptic file"):
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


def test_objects_of_a_spec_in_another_folder(tmp_path):
    folder(tmp_path / "here", {"a": RED, "b": GREEN})
    spec = tmp_path / "own.yaml"
    spec.write_text("image: images/{id}.png\nmask: masks/{id}.png\nclasses: [background, object]\nignore: 255\n")
    assert open_objects(spec, root=tmp_path / "here").ids == ["a", "b"]


def test_objects_of_generated_scenes():
    objects = open_objects("scenes_unknown", "val", min_pixels=60)
    assert len(objects) == 60 and objects.ids[3].endswith("/val_00003")
    half = open_objects("scenes_outliers", "val")
    assert half.ids[3] == "clear 0 crate+ball+sofa+suitcase/val_00003" and not set(half.ids) & set(objects.ids)
    pictures = [objects.cut(index) for index in (0, 1)]
    assert all((np.asarray(picture)[..., 3] == 255).sum() >= 60 for picture in pictures)
    assert np.array_equal(pictures[0], objects.cut(0)) and not np.array_equal(
        *map(np.asarray, (pictures[0], pictures[1]))
    )


# Foreign scenes


def test_foreign_scenes(tmp_path):
    root = folder(tmp_path / "scenes", {"a": RED, "b": GREEN})
    _, labels = open_scenes(root, objects=["object"]).read(0)
    assert set(np.unique(labels)) == {0, 254, 255} and labels[0, 0] == 255 and labels[15, 25] == 254
    _, labels = open_scenes(root, exclude=["object"]).read(0)
    assert set(np.unique(labels)) == {0, 255} and labels[15, 25] == 255
    pictures = open_scenes(root / "images")
    assert pictures.ids == ["a", "b"] and not pictures.read(1)[1].any()
    with pytest.raises(ValueError, match="unknown class 'dog'"):
        open_scenes(root, objects=["dog"])
    with pytest.raises(ValueError, match="has no masks/"):
        open_scenes(root / "images", objects=["object"])
    generated = open_scenes("scenes_fog", "val", objects=["car"], exclude=["person"])
    assert len(generated) == 60 and set(np.unique(generated.read(0)[1])) == {0, 254, 255}
    (tmp_path / "void").mkdir()
    with pytest.raises(ValueError, match="holds no picture"):
        open_scenes(tmp_path / "void")


def test_things_are_those_of_coco(tmp_path):
    root = folder(tmp_path / "scenes", {"a": RED})
    (root / "classes.json").write_text(json.dumps({"classes": {"0": "sky", "1": "zebra"}}))
    assert open_scenes(root, objects=["things"]).read(0)[1][15, 25] == 254


def test_scenes_without_objects_get_some(tmp_path):
    root = folder(tmp_path / "scenes", {"a": GREEN}, size=(90, 70))
    for scenes, own in ((open_scenes(root / "images"), False), (open_scenes(root, objects=["object"]), True)):
        sample = MixedImages(Base(), plain(size=(0.3, 0.3)), scenes=scenes, crop=(24, 32))[0]
        picture, labels = sample["context_image"], sample["context_labels"]
        assert picture.shape == (3, 24, 32) and labels.shape == (24, 32)
        red = picture[0] > 0.8
        assert red.any() is not own and (labels == 254).sum() > 0 if not own else not red.any()


def test_mixing_after_augmentation_keeps_the_crop(tmp_path):
    class Augmented(Base):
        def __getitem__(self, index):
            image, labels = self.read(index)
            pixels, cropped = JointTransform((24, 40))(image, labels, epoch=self.epoch, index=index)
            cropped = torch.from_numpy(cropped.astype(np.int64))
            return {"image": pixels, "labels": cropped, "id": self.ids[index], "index": index}

    sample = MixedImages(Augmented(), plain())[0]
    assert sample["image"].shape == (3, 24, 40) and (sample["labels"] == 254).any()


# The command


def test_preview_from_the_command_line(tmp_path, capsys):
    root = folder(tmp_path / "objects", {"a": RED, "b": GREEN, "c": RED, "d": GREEN, "e": RED})
    sheet = tmp_path / "sheet.png"
    command = ["data", "mix", "scenes", "--objects", str(root), "--preview", str(sheet), "outliers.feather=2"]
    assert main([*command, "--context", str(root / "images"), "context.split=all", "data.crop=[48,64]"]) == 0
    said = capsys.readouterr().out
    assert "4 objects to train on, 1 held out" in said and "thing b 1" in said and "5 foreign scenes" in said
    with Image.open(sheet) as picture:
        assert picture.width > 4 * 320
    for change, reason in (
        (["--preview", "sheet.gif"], "must end in .png"),
        (["--objects", str(tmp_path)], "has no folder images/"),
        (["outliers.val_split=train"], "are trained and validated on, such as a"),
        (["outliers.colour=1"], "unknown key"),
    ):
        assert main([*command, *change]) == 2
        assert reason in capsys.readouterr().err
