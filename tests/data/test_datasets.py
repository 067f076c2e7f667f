"""Data sets from files and scenes: exact labels, resizing, caching, augmentation, and bad files named."""

import numpy as np
import pytest
import torch
from PIL import Image

from gss.config.shared import DataConfig
from gss.data.datasets import SegmentationDataset
from gss.data.open import build_dataset
from gss.data.sample import fill_void
from gss.data.specs.load import load_spec
from gss.data.transforms import JointTransform

RNG = np.random.default_rng(0)


@pytest.fixture
def root(tmp_path):
    """Three images 30x20 with classes 0..2 stored as 10, 20, 30 and void as 0."""
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / f"images/{name}.png")
        mask = np.kron(RNG.integers(0, 4, (4, 6)), np.ones((5, 5))).astype(np.uint8) * 10
        mask[0, 0] = 0
        Image.fromarray(mask).save(tmp_path / f"masks/{name}.png")
    (tmp_path / "spec.yaml").write_text(
        "root: .\nimage: images/{id}.png\nmask: masks/{id}.png\nsplits: [train]\n"
        "classes: [x, y, z]\nlabel_map: [10, 20, 30]\nignore: 0\n"
    )
    return tmp_path


def dataset(root, **options):
    return SegmentationDataset(load_spec(root / "spec.yaml"), "train", **options)


def test_read_gives_mapped_labels(root):
    data = dataset(root)
    assert (len(data), data.ids) == (3, ["a", "b", "c"])
    assert data.label_space.names == ("x", "y", "z")
    image, labels = data.read(1)
    raw = np.asarray(Image.open(root / "masks/b.png"))
    np.testing.assert_array_equal(labels, np.where(raw == 0, 255, raw // 10 - 1))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(root / "images/b.png")))


def test_item(root):
    data = dataset(root)
    item = data[2]
    image, labels = data.read(2)
    assert (item["id"], item["index"]) == ("c", 2)
    assert item["image"].shape == (3, 20, 30)
    np.testing.assert_allclose(item["image"].numpy().transpose(1, 2, 0), np.asarray(image) / 255, atol=1e-6)
    assert item["labels"].dtype == item["filled"].dtype == torch.int64
    np.testing.assert_array_equal(item["labels"], labels)
    np.testing.assert_array_equal(item["filled"], fill_void(labels))
    assert item["filled"].max() < 3


@pytest.mark.parametrize("size", [None, (10, 16)])
def test_cache_changes_nothing(root, size):
    options = {"size": size, "transform": JointTransform((16, 24), photometric=1.0)}
    plain, cached = dataset(root, **options), dataset(root, **options, cache=True)
    for epoch in (0, 1):
        plain.set_epoch(epoch)
        cached.set_epoch(epoch)
        for index in range(3):
            for key in ("image", "labels", "filled"):
                assert torch.equal(plain[index][key], cached[index][key])
    for path in root.glob("*/*.png"):
        path.unlink()
    assert cached[0]["id"] == "a"
    with pytest.raises(ValueError, match="not found"):
        plain[0]


def test_resizing_keeps_the_label_set(root):
    image, labels = dataset(root, size=(7, 11)).read(0)
    assert image.size == (11, 7)
    assert labels.shape == (7, 11)
    assert set(np.unique(labels)) <= {0, 1, 2, 255}


def test_epochs_differ_and_repeat(root):
    data = dataset(root, transform=JointTransform((16, 24)))
    first = data[0]["image"]
    data.set_epoch(1)
    assert not torch.equal(first, data[0]["image"])
    data.set_epoch(0)
    assert torch.equal(first, data[0]["image"])


def test_missing_mask_is_counted_and_named(root):
    (root / "masks/b.png").unlink()
    with pytest.raises(ValueError, match=r"1 image of split 'train' .* has no mask, mask .*masks/b\.png, for .*: draw"):
        dataset(root)


def test_other_size_is_named(root):
    Image.new("L", (30, 19)).save(root / "masks/a.png")
    with pytest.raises(ValueError, match=r"images/a\.png is 30x20 but its mask .*masks/a\.png is 30x19; resize"):
        dataset(root)[0]


def test_rotated_image_with_upright_mask_is_explained(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(root / "images/a.png", exif=exif)
    with pytest.raises(ValueError, match="20x30 but its mask .* 30x20; .*EXIF rotation"):
        dataset(root)[0]


def test_unknown_label_value_is_named(root):
    Image.fromarray(np.full((20, 30), 40, np.uint8)).save(root / "masks/a.png")
    with pytest.raises(ValueError, match=r"masks/a\.png .*unknown to data set 'spec': 40; .*label_map or ignore"):
        dataset(root)[0]


def test_truncated_image_is_named(root):
    path = root / "images/a.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cannot read image .*images/a\.png"):
        dataset(root)[0]


def test_color_coded_masks(tmp_path):
    colors = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 0]]], np.uint8)
    for name in ("i", "m"):
        (tmp_path / name).mkdir()
        Image.fromarray(colors).save(tmp_path / f"{name}/a.png")
    (tmp_path / "spec.yaml").write_text(
        "root: .\nimage: i/{id}.png\nmask: m/{id}.png\nsplits: [train]\ncolor_coded: true\n"
        "ignore: [[0, 0, 0]]\nclasses: {red: [255, 0, 0], green: [0, 255, 0]}\n"
    )
    assert dataset(tmp_path).read(0)[1].tolist() == [[0, 1, 255]]


def test_bad_size(root):
    with pytest.raises(ValueError, match="size"):
        dataset(root, size=(0, 5))


def test_build_from_config(root):
    cfg = DataConfig(spec=str(root / "spec.yaml"), crop=(8, 12), size=(16, 24))
    train = build_dataset(cfg, "train", train=True, seed=3)
    assert train[0]["image"].shape == (3, 8, 12)
    again = build_dataset(cfg, "train", train=True, seed=3)
    assert torch.equal(train[1]["image"], again[1]["image"])
    assert not torch.equal(train[1]["image"], build_dataset(cfg, "train", train=True, seed=4)[1]["image"])
    assert build_dataset(cfg, "train", train=False)[0]["image"].shape == (3, 16, 24)


def test_build_scenes_from_config():
    cfg = DataConfig(spec="scenes", size=(48, 64), crop=(32, 48))
    train = build_dataset(cfg, "train", train=True, seed=0)
    assert len(train) == 400
    item = train[0]
    assert item["image"].shape == (3, 32, 48)
    assert item["filled"].shape == (32, 48)
    image, labels = build_dataset(cfg, "val", train=False).read(0)
    assert (image.size, labels.shape) == ((64, 48), (48, 64))
    with pytest.raises(ValueError, match="existing splits: train, val, test"):
        build_dataset(cfg, "nope", train=False)
