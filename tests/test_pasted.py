import json

import numpy as np
import pytest
from PIL import Image

from gss.data.ood import OODDataset
from gss.data.pasted import PastedOutliers
from gss.data.specs import load_spec

SCENE = (40, 60)


class Scenes:
    """Grey pictures, each of its own shade."""

    def __init__(self):
        self.reads = []

    def __len__(self):
        return 3

    def read(self, index):
        self.reads.append(index)
        return Image.new("RGB", SCENE[::-1], (50 * index,) * 3), np.zeros(SCENE, np.uint8)


@pytest.fixture
def objects(tmp_path):
    """A red box of 8 x 16 pixels in a green picture; one high object; one picture with void and no object."""
    masks = [np.zeros((30, 20), np.uint8) for _ in range(3)]
    masks[0][5:13, 2:18] = 1
    masks[0][4] = 255
    masks[1][:, 9:11] = 1
    masks[2][:5] = 255
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for index, mask in enumerate(masks):
        pixels = np.where(mask[..., None] == 1, [255, 0, 0], [0, 255, 0]).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{index}.png")
    (tmp_path / "classes.json").write_text(json.dumps({"classes": {"0": "in", "1": "out"}, "ignore_index": 255}))
    return OODDataset(load_spec(tmp_path), "all")


def test_truth_is_what_was_pasted(objects):
    scenes = Scenes()
    for seed in range(20):
        data = PastedOutliers(objects, scenes, scale=(0.1, 1.0), seed=seed)
        for index in range(2):
            image, truth = data.read(index)
            pixels = np.asarray(image)
            assert pixels.shape == (*SCENE, 3) and truth.shape == SCENE and truth.dtype == np.uint8
            shade = (50 * scenes.reads[-1],) * 3
            np.testing.assert_array_equal((pixels != shade).any(-1), truth == 1)
            assert (pixels[truth == 1, 0] > pixels[truth == 1, 1]).all()  # the object, not what was around it
            ys, xs = np.nonzero(truth)
            sides = np.ptp(ys) + 1, np.ptp(xs) + 1
            assert len(ys) == sides[0] * sides[1]  # the boxes stay whole
            assert 3 <= max(sides) <= 40 and (sides[1] > sides[0]) == (index == 0)


def test_everything_follows_from_the_seed(objects):
    first, again, other = (PastedOutliers(objects, Scenes(), scale=(0.2, 0.5), seed=seed) for seed in (1, 1, 2))
    for index in range(2):
        np.testing.assert_array_equal(first.read(index)[1], again.read(index)[1])
    assert any((first.read(index)[1] != other.read(index)[1]).any() for index in range(2))
    assert len(first) == 3 and first.ids == objects.ids


def test_a_picture_without_outliers_pastes_nothing(objects):
    image, truth = PastedOutliers(objects, Scenes(), scale=(0.2, 0.5)).read(2)
    assert not truth.any() and len(np.unique(np.asarray(image))) == 1
