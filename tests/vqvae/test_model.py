"""VQ model of maskiges: shapes, locality, refusals."""

import pytest
import torch

from vqvae import InputSizeError, MaskigeVQModel, SettingError

TINY = {"hidden_dim": 16, "depth": 1, "latent_dim": 8, "codebook_size": 64}


def trained(**options) -> MaskigeVQModel:
    """A tiny model whose codebook has seen data."""
    torch.manual_seed(0)
    model = MaskigeVQModel(**{**TINY, **options}).train()
    for _ in range(2):
        model(torch.rand(2, 3, 16 * 4, 24 * 4) * 2 - 1)
    return model.eval()


@pytest.mark.parametrize("downsample", [4, 8, 16])
@pytest.mark.parametrize("architecture", ["patch", "diffusers"])
def test_shapes_of_every_architecture(downsample, architecture):
    decoder = "local" if architecture == "patch" else "contextual"
    model = trained(downsample=downsample, architecture=architecture, decoder_type=decoder, hidden_dim=32)
    tokens = torch.randint(64, (1, 3, 5))
    with torch.no_grad():
        maskige = model.decode_tokens(tokens)
    assert maskige.shape == (1, 3, 3 * downsample, 5 * downsample)
    assert maskige.abs().max() <= 1


def test_default_is_small():
    parameters = sum(p.numel() for p in MaskigeVQModel().parameters())
    assert parameters <= 3_000_000


def test_a_local_code_paints_its_own_cell_only():
    tokens = torch.randint(64, (1, 4, 6))
    other = tokens.clone()
    other[0, 2, 3] = (tokens[0, 2, 3] + 1) % 64
    local, contextual = trained(), trained(decoder_type="contextual")
    with torch.no_grad():
        change = (local.decode_tokens(tokens) - local.decode_tokens(other)).abs().amax(1)[0]
        assert change[8:12, 12:16].max() > 0
        change[8:12, 12:16] = 0
        assert change.max() == 0
        spread = (contextual.decode_tokens(tokens) - contextual.decode_tokens(other)).abs().amax(1)[0]
    spread[8:12, 12:16] = 0
    assert spread.max() > 0


def test_code_cells_are_what_tokens_paint():
    model = trained()
    with torch.no_grad():
        cells = model.code_cells()
        painted = model.decode_tokens(torch.tensor([[[5, 63]]]))
    assert cells.shape == (64, 3, 4, 4)
    torch.testing.assert_close(painted[0, :, :, 4:], cells[63], atol=1e-6, rtol=1e-5)
    with pytest.raises(SettingError, match="contextual"):
        trained(decoder_type="contextual").code_cells()


def test_encode_leaves_the_codebook_alone_even_in_training_mode():
    model = trained().train()
    before = model.code_embeddings().clone()
    model.encode(torch.rand(1, 3, 16, 16))
    assert torch.equal(before, model.code_embeddings())
    model(torch.rand(1, 3, 16, 16))
    assert not torch.equal(before, model.code_embeddings())


def test_gradients_pass_the_quantiser():
    model = MaskigeVQModel(**TINY).train()
    model(torch.rand(1, 3, 32, 32)).sample.sum().backward()
    assert model.encoder.stem.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "options, words",
    [
        ({"downsample": 5}, "downsample=5"),
        ({"architecture": "unet"}, "architecture='unet'"),
        ({"decoder_type": "global"}, "decoder_type='global'"),
        ({"architecture": "diffusers"}, "patch"),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(SettingError, match=words):
        MaskigeVQModel(**{**TINY, **options})


def test_indivisible_size_names_the_next_one():
    with pytest.raises(InputSizeError, match="20x32"):
        trained().encode(torch.zeros(1, 3, 18, 30))


@pytest.mark.parametrize("kind", ["vq", "fsq", "lfq", "simvq"])
def test_saved_and_loaded_in_every_form_of_diffusers(kind, tmp_path):
    maskige = torch.rand(2, 3, 16, 24)
    options = {"quantizer_type": kind, "codebook_size": 64, "hidden_dim": 32, "depth": 1, "latent_dim": 8}
    model = MaskigeVQModel(**options)
    model(maskige)
    model.eval()
    expected = model(maskige)
    for first, second in zip(model(maskige, return_dict=False), expected.to_tuple(), strict=True):
        assert torch.equal(first, second)
    for name, extra in (("variant", {"variant": "fp16"}), ("shards", {})):
        model.save_pretrained(tmp_path / name, max_shard_size="40KB", **extra)
        assert torch.equal(MaskigeVQModel.from_pretrained(tmp_path / name, **extra)(maskige).sample, expected.sample)
    with pytest.raises(OSError, match="no file named"):
        MaskigeVQModel.from_pretrained(tmp_path / "variant")
    for dtype in (torch.float16, torch.bfloat16):
        model.to(dtype).save_pretrained(tmp_path / "half")
        for low in (True, False):
            loaded = MaskigeVQModel.from_pretrained(tmp_path / "half", torch_dtype=dtype, low_cpu_mem_usage=low)
            found = loaded(maskige.to(dtype)).sample
            assert loaded.dtype == found.dtype == dtype
            assert torch.equal(found, model(maskige.to(dtype)).sample)
        model.float()
