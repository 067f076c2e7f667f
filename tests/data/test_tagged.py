"""Images with tags and folders of images without labels, as training reads them."""

import shutil

import pytest
import torch
from PIL import Image
from tag_toys import write

from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.data.tagged import ImageFolder, TaggedImages, fit_longer_side, read_tags
from gss.data.transforms import JointTransform


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("toys"))


def test_tagged_images_depend_on_seed_epoch_and_index_alone(data):
    base, others = open_split(load_spec(data), "train"), ImageFolder(data / "rails")
    assert len(others) == 12
    transform = JointTransform(crop=(64, 96), scale=(0.8, 1.2), shift=0.5, seed=3)
    first, second = (TaggedImages(base, transform, others=others) for _ in range(2))
    for dataset in (first, second):
        dataset.set_epoch(2)
    _ = first[0]
    a, b = first[5], second[5]  # a train and a ball
    assert torch.equal(a["image"], b["image"]) and torch.equal(a["other"], b["other"])
    assert a["image"].shape == a["other"].shape == (3, 64, 96) and not torch.equal(a["image"], a["other"])
    assert a["tags"].tolist() == [True, True, True] and bool(a["exhaustive"])
    alone = TaggedImages(base, transform)
    alone.set_epoch(2)
    assert torch.equal(alone[5]["image"], a["image"]) and "other" not in alone[5]
    first.set_epoch(3)
    assert not torch.equal(first[5]["image"], a["image"])


def test_tags_are_read_off_full_masks_too(data):
    weak, full = open_split(load_spec(data), "train"), open_split(load_spec(data / "full.yaml"), "train")
    for index in range(4):
        (a, everything), (b, also) = read_tags(weak, index), read_tags(full, index)
        assert a[1:].tolist() == b[1:].tolist() and everything and also
    assert fit_longer_side(Image.new("RGB", (30, 20)), 60).size == (60, 40)


def test_folders_of_images(tmp_path, data):
    with pytest.raises(ValueError, match="holds no picture"):
        ImageFolder(tmp_path)
    shutil.copytree(data / "rails", tmp_path / "images")
    (tmp_path / "page.png").write_bytes((data / "rails" / "0.png").read_bytes())
    assert len(ImageFolder(tmp_path)) == 12  # what `gss weak collect` writes: pages beside images/
