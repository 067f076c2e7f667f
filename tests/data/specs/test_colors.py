"""Which colours of a spec are shown, and which only say how masks are stored."""

import numpy as np
from PIL import Image

from gss.config.posterior import PosteriorConfig
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.labels.colors import class_colors
from gss.labels.space import LabelSpace
from gss.training.posterior.task import build_codec


def test_stated_colors_are_shown(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("image: '{id}.jpg'\nmask: '{id}.png'\nclasses: {background: [0, 0, 0], sheep: [9, 9, 200]}\n")
    assert load_spec(path).label_space.colors == ((0, 0, 0), (9, 9, 200))
    path.write_text("image: '{id}.jpg'\nmask: '{id}.png'\nclasses: {background: [0, 0, 0], sheep: [255, 255, 255]}\n")
    names = ("background", "sheep")
    assert load_spec(path).label_space.colors == class_colors(names)  # black and white are no colours
    assert load_spec("cityscapes").label_space.colors[0] == (128, 64, 128)


def test_colors_that_masks_are_stored_in_are_read_and_not_shown(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    stored = np.zeros((6, 9, 3), np.uint8)
    stored[:, 4:] = (0, 255, 0)
    stored[4:] = (255, 0, 0)
    for name in ("a", "b"):
        Image.fromarray(stored).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(stored).save(tmp_path / "masks" / f"{name}.png")
    spec = load_spec(tmp_path)
    names = spec.label_space.names
    assert spec.label_map.color_coded and len(names) == 3
    assert spec.label_space == LabelSpace(names)  # red and green would look the same to many
    labels = open_split(spec, "all").read(0)[1]
    assert [names[labels[0, 0]], len(np.unique(labels))] == ["background", 3]


def test_colors_to_train_on_do_not_follow_those_to_look_at():
    """`codec.palette=display` paints classes without colours as before, so that such runs can be repeated."""
    cfg = PosteriorConfig()
    cfg.codec.palette = "display"
    codec = build_codec(cfg, LabelSpace(("sky", "road", "car")))
    assert codec.palette.round().int().tolist() == [[128, 0, 0], [0, 128, 0], [128, 128, 0]]
