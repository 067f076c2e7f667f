"""Pseudo-masks of tags: what is unknown stays unlabelled."""

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tag_toys import RESNET, draw

from gss.config.tags import TagProduceConfig, WalkConfig
from gss.models.tags import TagClassifier
from gss.weak.tags.produce import tag_mask


def classifier(names, background):
    torch.manual_seed(0)
    return TagClassifier(class_names=names, background=background, backbone_config=yaml.safe_load(RESNET)).eval()


def test_without_exhaustive_tags_no_pixel_is_background():
    model = classifier(["background", "train", "ball"], 0)
    image = Image.fromarray(draw(np.random.default_rng(0), train=True)[0])
    cfg = TagProduceConfig(background=0.4, refined=False)
    tags = np.array([True, True, False])
    labels, _ = tag_mask(model, image, tags, True, cfg)
    open_ended, _ = tag_mask(model, image, tags, False, cfg)
    assert 0 in labels and ((open_ended == 255) == (labels == 0)).all() and (open_ended == 1).any()
    nothing, sure = tag_mask(model, image, np.zeros(3, bool), False, cfg)
    assert (nothing == 255).all() and (sure == 0).all()


@pytest.mark.parametrize("refined", [True, False])
def test_without_a_background_class_weak_activations_stay_unlabelled(refined):
    model = classifier(["sky", "road", "tree"], None)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    cfg = TagProduceConfig(background=0.8, refined=refined, walk=WalkConfig(steps=0))
    labels, sure = tag_mask(model, Image.fromarray(pixels), np.array([True, False, True]), True, cfg)
    assert set(np.unique(labels)) <= {0, 2, 255} and (labels != 255).any()
    if not refined:
        assert (labels == 255).any() and (sure[labels == 255] < 0.5).all() and (sure[labels != 255] >= 0.5).all()
    nothing, _ = tag_mask(model, Image.fromarray(pixels), np.zeros(3, bool), True, cfg)
    assert (nothing == 255).all()
