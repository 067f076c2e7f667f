"""Tiny pictures of trains, which always stand on rails, and balls, with tags, masks and pictures of bare rails."""

import json

import numpy as np
from PIL import Image

SIZE = (64, 96)
RESNET = (
    "{model_type: resnet, embedding_size: 16, hidden_sizes: [16, 24, 24, 24], depths: [1, 1, 1, 1], "
    "layer_type: basic, out_features: [stage1, stage2]}"
)
SETTINGS = [
    f"tags.backbone_config={RESNET}",
    "data.crop=[64,96]",
    "data.scale=[0.9,1.1]",
    "data.photometric=0",
    "data.cache=true",
    "optim.lr=5e-3",
    "optim.backbone_lr_scale=1.0",
    "optim.warmup_steps=5",
    "train.batch_size=8",
    "train.log_every=1",
    "train.picture_every=0",
]


def draw(rng, train=False, ball=False, rails=False):
    """Image uint8 `[64, 96, 3]` and mask: 0 background, 1 train, 2 ball."""
    height, width = SIZE
    image = np.full((height, width, 3), 120.0) + rng.normal(0, 12, (height, width, 3))
    mask = np.zeros(SIZE, np.uint8)
    if train or rails:
        image[44:60] = (70, 40, 20)
        image[44:60, ::6] = image[44:60, 1::6] = (240, 230, 90)
    if train:
        left = int(rng.integers(2, 60))
        image[26:44, left : left + 30] = (150, 90, 90)
        mask[26:44, left : left + 30] = 1
    if ball:
        y, x = np.mgrid[:height, :width]
        disc = (y - rng.integers(11, 14)) ** 2 + (x - rng.integers(12, 84)) ** 2 <= 81
        image[disc], mask[disc] = (30, 160, 50), 2
    return image.clip(0, 255).astype(np.uint8), mask


def write(root, count=24, val=8):
    """A data set with tags, the same with masks (`full.yaml`), and a folder `rails` of out-of-distribution pictures."""
    rng, tags = np.random.default_rng(0), {}
    for name in ("images", "masks", "rails"):
        (root / name).mkdir(parents=True)
    for split, number in (("train", count), ("val", val)):
        ids = [f"{split}_{index:02d}" for index in range(number)]
        (root / f"{split}.txt").write_text("\n".join(ids) + "\n")
        for index, id in enumerate(ids):
            image, mask = draw(rng, train=index % 4 in (0, 1), ball=index % 4 in (1, 2))
            Image.fromarray(image).save(root / "images" / f"{id}.png")
            Image.fromarray(mask).save(root / "masks" / f"{id}.png")
            tags[id] = [name for k, name in ((1, "train"), (2, "ball")) if (mask == k).any()]
    for index in range(12):
        Image.fromarray(draw(rng, rails=True, ball=False)[0]).save(root / "rails" / f"{index}.png")
    (root / "tags.json").write_text(json.dumps(tags))
    spec = 'root: .\nimage: images/{id}.png\nmask: masks/{id}.png\nlist: "{split}.txt"\n'
    spec += "classes: [background, train, ball]\n"
    (root / "full.yaml").write_text(spec)
    (root / "data.yaml").write_text(spec + "name: toys\nweak: {format: tags, folder: ., path: tags.json}\n")
    return root
