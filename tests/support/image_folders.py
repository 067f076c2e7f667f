"""A folder of labelled images of several sizes."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from tiny_pipeline import NAMES

SIZES = [(40, 52), (40, 52), (33, 64), (48, 31), (40, 52), (16, 16), (40, 52)]


def write_folder(folder: Path, names: list[str] = NAMES) -> Path:
    rng = np.random.default_rng(0)
    for index, (height, width) in enumerate(SIZES):
        labels = np.kron(rng.integers(0, 5, (-(-height // 8), -(-width // 8))), np.ones((8, 8), int))[:height, :width]
        image = rng.integers(0, 60, (height, width, 3)) + labels[..., None] * 40
        labels[rng.random(labels.shape) < 0.05] = 255
        for part, array in (("images", image), ("masks", labels)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / part / f"frame{index}.png")
    (folder / "val.txt").write_text("".join(f"frame{index}\n" for index in range(len(SIZES))))
    classes = {str(index): name for index, name in enumerate(names)}
    (folder / "classes.json").write_text(json.dumps({"classes": classes, "ignore_index": 255}))
    return folder
