import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from gss.config.shared import DataConfig
from gss.data.balanced import ClassBalanced, class_presence
from gss.data.open import build_dataset
from gss.training.engine.batches import BatchStream, StepSampler


@pytest.fixture
def folder(tmp_path):
    """Ten pictures of class 0, one of which also shows class 1, and one without a label; class 2 never occurs."""
    random = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / kind / "train").mkdir(parents=True)
    for index in range(11):
        labels = np.zeros((24, 32), np.uint8)
        if index == 4:
            labels[:, 10:] = 1
        if index == 7:
            labels[:] = 255
        pixels = random.integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / "train" / f"{index:02}.png")
        Image.fromarray(labels).save(tmp_path / "masks" / "train" / f"{index:02}.png")
    for kind in ("images", "masks"):  # without a split val, a part of train would validate
        (tmp_path / kind / "val").mkdir()
        shutil.copy(tmp_path / kind / "train" / "00.png", tmp_path / kind / "val")
    (tmp_path / "classes.json").write_text(json.dumps({"classes": {"0": "a", "1": "b", "2": "c"}}))
    return tmp_path


def balanced(folder, seed=0, photometric=0.0):
    cfg = DataConfig(spec=str(folder), crop=(16, 16), photometric=photometric)
    return ClassBalanced(build_dataset(cfg, "train", train=True, seed=seed), seed=seed)


def test_presence(folder):
    found = class_presence(balanced(folder).dataset)
    assert found.shape == (11, 3)
    assert found[:, 0].sum() == 10 and found[:, 1].nonzero()[0].tolist() == [4] and not found[:, 2].any()


def test_every_class_is_drawn_equally_often(folder):
    data = balanced(folder)
    drawn = np.bincount([data.source(epoch, index) for epoch in range(200) for index in range(11)], minlength=11)
    share = drawn / drawn.sum()
    assert share[7] == 0  # nothing to learn from
    assert share[4] == pytest.approx(0.5 + 0.05, abs=0.04)  # as class 1, and now and then as class 0
    assert share[[0, 1, 2, 3, 5, 6, 8, 9, 10]] == pytest.approx(np.full(9, 0.05), abs=0.015)


def test_an_image_drawn_twice_is_augmented_in_two_ways(folder):
    data = balanced(folder)
    twice = [index for index in range(11) if data.source(0, index) == 4]
    assert len(twice) > 1
    first, second = (data[index] for index in twice[:2])
    assert first["id"] == second["id"] == "04" and [first["index"], second["index"]] == twice[:2]
    assert not torch.equal(first["image"], second["image"])
    assert (data.read(twice[0])[1] == 1).any()


@pytest.mark.parametrize("workers", [0, 1])
def test_the_stream_goes_on_exactly(folder, workers):
    def batches(first):
        sampler = StepSampler(
            size=11, batch_size=4, accumulate=1, seed=3, steps=range(first, 6), process=0, processes=1
        )
        stream = BatchStream(balanced(folder, seed=3, photometric=1.0), sampler, workers=workers)
        try:
            return [next(stream) for _ in sampler.steps]
        finally:
            stream.close()

    for straight, resumed in zip(batches(0)[4:], batches(4), strict=True):
        assert straight["id"] == resumed["id"] and torch.equal(straight["image"], resumed["image"])


def test_no_label_at_all():
    with pytest.raises(ValueError, match="no training image has a label"):
        ClassBalanced(object(), presence=np.zeros((3, 2), bool))
