"""Shared by several tests; taken from data/test_domains.py."""

import json

import numpy as np
import pytest
from PIL import Image

MIXTURE = """
name: street
classes: [sky, road, car]
domains:
  town: {spec: ./town}
  coast:
    spec: ./coast
    map: {heaven: sky, street: road, sea: null}
"""


def put(root, classes, *, size, counts, ignore=255):
    """A folder data set whose masks show all its classes in stripes; returns the raw mask."""
    height, width = size
    values = list(classes)
    mask = np.array(values, np.uint8)[np.arange(width) * len(values) // width][None].repeat(height, 0)
    mask[0] = ignore
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for split, count in counts.items():
        ids = [f"{split}{i}" for i in range(count)]
        for id in ids:
            Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8)).save(root / f"images/{id}.png")
            Image.fromarray(mask).save(root / f"masks/{id}.png")
        (root / f"{split}.txt").write_text("\n".join(ids))
    content = {"classes": {str(k): name for k, name in classes.items()}, "ignore_index": ignore}
    (root / "classes.json").write_text(json.dumps(content))
    return mask


@pytest.fixture(name="folder")
def mixture_folder(tmp_path):
    """Two domains of other sizes, other class numbers, other names and other void values."""
    put(tmp_path / "town", {0: "sky", 1: "road", 2: "car"}, size=(24, 32), counts={"train": 7, "val": 2})
    put(
        tmp_path / "coast", {3: "street", 5: "heaven", 8: "sea"}, size=(20, 36), counts={"train": 3, "val": 1}, ignore=0
    )
    (tmp_path / "street.yaml").write_text(MIXTURE)
    return tmp_path
