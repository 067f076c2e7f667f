"""VQ model of maskiges: round trips, locality, quantisers."""

import pytest
import torch

from vqvae import CodebookUsage, MaskigeVQModel, Quantizer

TINY = {"hidden_dim": 16, "depth": 1, "latent_dim": 8, "codebook_size": 64}


def trained(**options) -> MaskigeVQModel:
    """A tiny model whose codebook has seen data."""
    torch.manual_seed(0)
    model = MaskigeVQModel(**{**TINY, **options}).train()
    for _ in range(2):
        model(torch.rand(2, 3, 16 * 4, 24 * 4) * 2 - 1)
    return model.eval()


@pytest.mark.parametrize(
    "kind, options",
    [
        ("vq", {}),
        ("vq", {"use_cosine_sim": True}),
        ("vq", {"codebook_dim": 4}),
        ("fsq", {}),
        ("lfq", {}),
        ("simvq", {}),
    ],
)
def test_tokens_decode_to_what_forward_paints(kind, options):
    model = trained(quantizer_type=kind, options=options)
    maskige = torch.rand(2, 3, 20, 28) * 2 - 1
    with torch.no_grad():
        out = model(maskige)
        encoded = model.encode(maskige)
        assert out.sample.shape == maskige.shape and out.indices.shape == (2, 5, 7)
        assert out.indices.dtype == torch.int64 and out.indices.min() >= 0 and out.indices.max() < 64
        torch.testing.assert_close(encoded.indices, out.indices)
        torch.testing.assert_close(model.decode_tokens(out.indices), out.sample, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(model.code_embeddings(out.indices).movedim(-1, 1), out.latents, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["vq", "fsq", "lfq", "simvq"])
def test_save_and_load_is_bit_exact(kind, tmp_path):
    model = trained(quantizer_type=kind)
    model.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    again = MaskigeVQModel.from_pretrained(tmp_path)
    maskige = torch.rand(1, 3, 12, 20) * 2 - 1
    with torch.no_grad():
        assert torch.equal(model(maskige).sample, again.eval()(maskige).sample)


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
    with pytest.raises(ValueError, match="contextual"):
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
        ({"quantizer_type": "pq"}, "quantizer_type='pq'"),
        ({"architecture": "diffusers"}, "patch"),
        ({"quantizer_type": "fsq", "codebook_size": 100}, "power of two"),
        ({"codebook_size": 1}, "codebook_size=1"),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        MaskigeVQModel(**{**TINY, **options})


def test_indivisible_size_names_the_next_one():
    with pytest.raises(ValueError, match="20x32"):
        trained().encode(torch.zeros(1, 3, 18, 30))


def test_usage_counts():
    usage = CodebookUsage(8)
    usage.update(torch.tensor([[0, 0], [1, 1]]))
    result = usage.compute()
    assert result["perplexity"] == pytest.approx(2.0)
    assert result["dead_codes"] == pytest.approx(6 / 8)
    assert result["dominant_code"] == pytest.approx(0.5)


def test_fsq_levels_must_make_the_codebook():
    with pytest.raises(ValueError, match="make 20 codes"):
        Quantizer("fsq", 64, 8, {"levels": [5, 4]})


def test_free_codes_can_be_replaced():
    model = trained()
    codes = torch.randn(64, 8)
    model.quantizer.set_codes(codes)
    torch.testing.assert_close(model.code_embeddings(), codes)
    with pytest.raises(ValueError, match="not free"):
        trained(quantizer_type="fsq").quantizer.set_codes(codes)
