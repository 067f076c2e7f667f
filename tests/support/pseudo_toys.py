"""A tiny data set of noise in blocks, and pseudo-masks for it."""

import numpy as np
from PIL import Image

from gss.data.specs.load import load_spec
from gss.weak.pseudo_masks import PseudoMask, PseudoMaskWriter

SIZE = (32, 48)
K = 3


def truth(number):
    """Return labels of an image, uint8 `[32, 48]`."""
    return np.kron(np.random.default_rng(number).integers(0, K, (4, 6)), np.ones((8, 8))).astype(np.uint8)


def write_data(folder):
    """Write four training and two validation images, of which only the latter have masks, and return the spec."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "masks" / split).mkdir(parents=True)
        for number in range(count):
            labels = truth(number)
            pixels = (labels[..., None] * 80 + rng.integers(0, 60, (*SIZE, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"images/{split}/{number}.png")
            if split == "val":
                Image.fromarray(labels).save(folder / f"masks/{split}/{number}.png")
    (folder / "data.yaml").write_text(
        "name: tiny\nroot: .\nimage: images/{split}/{id}.png\nmask: masks/{split}/{id}.png\n"
        "splits: [train, val]\nclasses: [a, b, c]\n"
    )
    return load_spec(folder)


def write_masks(spec, folder, *, confidence=True, labels=truth, bits=16, **options):
    """Write pseudo-masks of the training images and return their writer."""
    with PseudoMaskWriter(folder, spec, "train", producer="test", config={"x": 1}, bits=bits, **options) as writer:
        for number in range(4):
            mask = labels(number)
            sure = np.random.default_rng(number).random(SIZE) if confidence else None
            writer.add(PseudoMask(str(number), mask, sure))
    return writer
