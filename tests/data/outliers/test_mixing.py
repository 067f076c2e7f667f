import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from object_toys import GREEN, RED, folder
from PIL import Image, ImageDraw

from gss.data.outliers.mixing import MixedImages, MixedTruth, Mixer, feathered
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
