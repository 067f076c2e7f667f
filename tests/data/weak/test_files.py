"""Files of weak labels beside the images of a split."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from weak_readers import SIZE, opened, spec

from gss.data.datasets import SegmentationDataset


def test_missing_and_unknown_images_of_a_table(root):
    (root / "t.json").write_text(json.dumps({"a": ["car"], "b.png": ["person"], "zz.jpg": ["car"], "c": []}))
    weak = {"format": "tags", "path": "t.json"}
    with pytest.raises(ValueError, match=r"t\.json names 1 images that are not in the data set, first: 'zz'.*remove"):
        opened(root, weak)
    (root / "t.json").write_text(json.dumps({"a": ["car"], "b.png": ["person"]}))
    with pytest.raises(ValueError, match=r"1 images of the split have no entry in .*t\.json, first: 'c'"):
        opened(root, weak)
    data = opened(root, {**weak, "unlabelled": "allow"})
    assert data[1]["tags"].tolist() == [True, False, False, True]
    assert not data[2]["tags"].any() and not data[2]["exhaustive"]
    with pytest.raises(ValueError, match="file of weak labels not found|3 files of split 'train'"):
        opened(root, {"format": "tags", "path": "none.json"})


def test_weak_labels_of_some_splits(root):
    (root / "full").mkdir()
    Image.fromarray(np.full(SIZE, 1, np.uint8)).save(root / "full/c.png")
    (root / "t.json").write_text(json.dumps({"a": ["car"], "b": ["car"]}))
    (root / "train.txt").write_text("a\nb\n")
    (root / "val.txt").write_text("c\n")
    keys = {"list": "{split}.txt", "splits": ["train", "val"], "mask": "full/{id}.png"}
    both = spec(root, {"format": "tags", "path": "t.json", "splits": "train"}, **keys)
    train, val = (SegmentationDataset(both, split) for split in ("train", "val"))
    assert train.read(0)[1].min() == 255 and (val.read(0)[1] == 1).all() and val.weak is None
    assert torch.equal(val[0]["valid"], torch.ones(SIZE, dtype=torch.bool))
    only = spec(root, {"format": "tags", "path": "t.json", "splits": "train"}, **{**keys, "mask": ""})
    with pytest.raises(ValueError, match="split 'val' .* has no masks"):
        SegmentationDataset(only, "val")
