"""Tag classifier and class activation maps on tiny networks, against plain statements of what they compute."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from gss.core.errors import InputError
from gss.models.efficientnet_lite import EfficientNetLiteBackbone, EfficientNetLiteConfig
from gss.models.tags import TagClassifier
from gss.weak.tags.cam import activation_maps, seed_probs, seeds

RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 12, 16, 16],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage2", "stage3"],
}
NAMES = ["sky", "background", "cat", "dog"]


def tiny(**options):
    torch.manual_seed(0)
    return TagClassifier(class_names=NAMES, background=1, backbone_config=RESNET, **options).eval()


def test_logits_are_the_mean_of_the_maps_and_only_what_is_asked_for_is_there(tmp_path):
    model, images = tiny(levels=2), torch.rand(2, 3, 64, 96)
    assert model.classes == (0, 2, 3) and model.dim == 28
    output = model(images, features=True)
    assert output.features.shape == (2, 28, 8, 12)
    torch.testing.assert_close(output.pooled, output.features.mean((2, 3)))
    torch.testing.assert_close(output.logits, model.class_maps(output.features).mean((2, 3)))
    assert model(images).features is None
    bare = model(images, logits=False, features=True)
    assert bare.logits is None and bare.pooled is None
    assert model.tags(torch.tensor([[True, True, False, True]])).tolist() == [[True, False, True]]
    model.save_pretrained(tmp_path)
    again = TagClassifier.from_pretrained(tmp_path).eval()
    assert torch.equal(again(images).logits, output.logits) and again.classes == model.classes


def test_any_size_and_padding_is_left_out():
    model = tiny()
    assert model(torch.rand(1, 3, 40, 70), features=True).features.shape[-2:] == (2, 4)
    assert model(torch.rand(0, 3, 64, 64)).logits.shape == (0, 3)


def test_finer_maps_hold_the_coarse_ones():
    """Dilation in place of a stride: every second cell is what the pretrained weights saw before."""
    torch.manual_seed(0)
    nets = [EfficientNetLiteBackbone(EfficientNetLiteConfig(output_stride=stride)).eval() for stride in (32, 16, 8)]
    for net in nets[1:]:
        net.load_state_dict(nets[0].state_dict())
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        coarse, fine, finest = (net(images).feature_maps[-1] for net in nets)
    assert coarse.shape[-2:] == (2, 3) and fine.shape[-2:] == (4, 6) and finest.shape[-2:] == (8, 12)
    torch.testing.assert_close(fine[..., 1::2, 1::2], coarse, rtol=1e-4, atol=1e-4)
    with pytest.raises(Exception, match="8, 16 or 32"):
        EfficientNetLiteConfig(output_stride=4)


def test_frozen_batch_norms_stay():
    for frozen in (True, False):
        model = tiny(freeze_batch_norm=frozen).train()
        norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        before = norms[0].running_mean.clone()
        model(torch.rand(2, 3, 64, 64))
        assert torch.equal(norms[0].running_mean, before) == frozen


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"class_names": ["background"], "background": 0}, "leave no tag"),
        ({"background": 9}, "not a label"),
        ({"levels": 3}, "1 to 2"),
    ],
)
def test_bad_arguments(options, reason):
    with pytest.raises(InputError, match=reason):
        TagClassifier(**{"class_names": NAMES, "background": 1, "backbone_config": RESNET, **options})


def test_bad_inputs():
    with pytest.raises(InputError, match="expected floats"):
        tiny()(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    with pytest.raises(InputError, match="only EfficientNet-Lite"):
        TagClassifier.from_backbone(backbone_config=RESNET, output_stride=16)
    with pytest.raises(InputError, match="above 0"):
        activation_maps(tiny(), torch.rand(1, 3, 64, 64), torch.ones(1, 3, dtype=torch.bool), scales=())


def test_maps_of_several_sizes_are_the_sum_of_each():
    model, images = tiny(), torch.rand(2, 3, 64, 96)
    tags = torch.tensor([[True, False, True], [False, False, False]])
    total = torch.zeros(2, 3, 8, 12)
    with torch.no_grad():
        for scale in (1, 2):
            sized = F.interpolate(images, scale_factor=scale, mode="bilinear", antialias=True) if scale > 1 else images
            for axis in ((), (-1,)):
                found = model.class_maps(model(sized.flip(axis), features=True).features).relu().flip(axis)
                total += F.interpolate(found, size=(8, 12), mode="bilinear")
    found = activation_maps(model, images, tags, scales=(1, 2))
    assert found.shape == (2, 3, 8, 12)
    expected = total[0, [0, 2]] / total[0, [0, 2]].amax((-2, -1), keepdim=True)
    torch.testing.assert_close(found[0, [0, 2]], expected, rtol=1e-4, atol=1e-5)
    assert (found[0, 1] == 0).all() and (found[1] == 0).all()
    mirrored = activation_maps(model, images.flip(-1), tags, scales=(1, 2))
    torch.testing.assert_close(mirrored, found.flip(-1), rtol=1e-4, atol=1e-5)


@given(st.floats(0.02, 0.98), st.integers(0, 1000))
def test_seeds_are_foreground_from_the_threshold_on(background, seed):
    rng = np.random.default_rng(seed)
    cam = torch.from_numpy(rng.random((1, 3, 4, 5)))
    tags = torch.from_numpy(rng.random((1, 3)) < 0.7)
    probs = seed_probs(cam, tags, background=background)
    torch.testing.assert_close(probs.sum(1), torch.ones(1, 4, 5, dtype=torch.float64))
    assert (probs[:, 1:][~tags] == 0).all()
    cam = cam * tags[..., None, None]
    label, sure = seeds(cam, tags, background=background)
    expected = torch.where(cam.amax(1) > background, cam.argmax(1) + 1, 0)
    assert torch.equal(label, expected) and (sure >= 0.25).all() and (sure <= 1).all()


def test_seed_threshold_is_checked():
    with pytest.raises(InputError, match="above 0 and below 1"):
        seeds(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, dtype=torch.bool), background=1.0)
