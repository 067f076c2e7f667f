"""Two domains of images whose classes differ, and a mapping between them."""

import json

import numpy as np
from PIL import Image
from tiny_pipeline import NAMES

from gss.labels.space import LabelSpace

# The far domain merges and lacks classes: trees and poles are one, nobody knows the sea, and sky comes last.
FAR = {"street": "road", "greenery": "tree", "vehicle": "car", "sea": None, "sky": "sky"}
SPACE = LabelSpace(tuple(NAMES))


def write_domain(folder, names, *, void=255, seed=0, count=3, more=None, split="val"):
    rng = np.random.default_rng(seed)
    for index, (height, width) in enumerate([(40, 52), (33, 64), (48, 31), (40, 52)][:count]):
        labels = np.kron(rng.integers(0, len(names), (-(-height // 8), -(-width // 8))), np.ones((8, 8), int))
        labels = labels[:height, :width]
        image = rng.integers(0, 60, (height, width, 3)) + labels[..., None] * 40
        labels[rng.random(labels.shape) < 0.05] = void
        for part, array in (("images", image), ("masks", labels)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / part / f"frame{index}.png")
    (folder / f"{split}.txt").write_text("".join(f"frame{index}\n" for index in range(count)))
    classes = {"classes": {str(index): name for index, name in enumerate(names)}, "ignore_index": void}
    (folder / "classes.json").write_text(json.dumps(classes | (more or {})))
    return folder


def write_domains(root):
    home = write_domain(root / "home", NAMES)
    far = write_domain(root / "far", list(FAR), void=77, seed=1, split="test")
    return {"home": home, "far": far}


def map_file(folder, source=NAMES, target=tuple(FAR), names=None, file="map"):
    lines = {source: target for target, source in FAR.items() if source} if names is None else names
    path = folder / f"{file}.yaml"
    text = {"from": list(source), "to": list(target), "map": lines, "unmapped": "drop"}
    path.write_text(json.dumps(text))  # JSON is YAML
    return path
