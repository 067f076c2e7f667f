"""Checks that every quantiser passes; a new one needs a line in KINDS, or a subclass with its own options."""

import pytest
import torch

from vqvae import MaskigeVQModel, Quantizer

CODES, DIM = 64, 8


class QuantizerChecks:
    """Base tester: a subclass names the kind and its options.

    Attributes:
        kind: kind of the quantiser.
        options: keyword arguments of the wrapped class.
        free: True if `set_codes` may replace the codes.
    """

    kind: str
    options: dict = {}
    free = False

    @pytest.fixture
    def quantizer(self):
        """A quantiser of 64 codes that has seen data."""
        torch.manual_seed(0)
        quantizer = Quantizer(self.kind, CODES, DIM, dict(self.options)).train()
        for _ in range(2):
            quantizer(torch.randn(2, DIM, 16, 24))
        return quantizer.eval()

    def test_indices_name_the_quantised_latents(self, quantizer):
        latents = torch.randn(2, DIM, 5, 7)
        with torch.no_grad():
            output = quantizer(latents)
            embedded = quantizer.embed(output.indices)
        assert output.latents.shape == latents.shape and output.loss.ndim == 0
        assert output.indices.shape == (2, 5, 7) and output.indices.dtype == torch.int64
        assert output.indices.min() >= 0 and output.indices.max() < CODES
        torch.testing.assert_close(embedded.movedim(-1, 1), output.latents, atol=1e-5, rtol=1e-4)

    def test_all_codes_are_listed_in_order(self, quantizer):
        codes = quantizer.codes()
        assert codes.shape == (CODES, DIM)
        torch.testing.assert_close(quantizer.embed(torch.tensor([[3, 9]])), codes[[3, 9]][None])

    def test_only_training_moves_the_codebook(self, quantizer):
        before = {name: value.clone() for name, value in quantizer.state_dict().items()}
        quantizer(torch.randn(2, DIM, 16, 16))
        quantizer.train()(torch.randn(2, DIM, 16, 16), update=False)
        for name, value in quantizer.state_dict().items():
            assert torch.equal(value, before[name]), name

    def test_gradients_pass(self, quantizer):
        latents = torch.randn(1, DIM, 4, 4, requires_grad=True)
        quantizer.train()(latents).latents.sum().backward()
        assert latents.grad.abs().sum() > 0

    def test_saved_models_are_equal_bit_for_bit(self, tmp_path):
        sizes = {"hidden_dim": 16, "depth": 1, "latent_dim": DIM, "codebook_size": CODES}
        torch.manual_seed(0)
        model = MaskigeVQModel(**sizes, quantizer_type=self.kind, options=dict(self.options)).train()
        model(torch.rand(2, 3, 64, 96) * 2 - 1)
        model.eval().save_pretrained(tmp_path)
        assert not list(tmp_path.glob("*.bin"))
        again = MaskigeVQModel.from_pretrained(tmp_path).eval()
        maskige = torch.rand(1, 3, 12, 20) * 2 - 1
        with torch.no_grad():
            assert torch.equal(model(maskige).sample, again(maskige).sample)
            torch.testing.assert_close(model.decode_tokens(model.encode(maskige).indices), model(maskige).sample)

    def test_codes_are_replaced_where_they_are_free(self, quantizer):
        assert quantizer.has_free_codes == self.free
        codes = torch.randn(CODES, DIM)
        if not self.free:
            with pytest.raises(ValueError, match="not free"):
                quantizer.set_codes(codes)
            return
        quantizer.set_codes(codes)
        torch.testing.assert_close(quantizer.codes(), codes)
        # A code is its own nearest one.
        assert quantizer(codes.t()[None, :, None]).indices.flatten().tolist() == list(range(CODES))

    def test_evaluation_before_training_changes_nothing(self):
        quantizer = Quantizer(self.kind, CODES, DIM, dict(self.options))
        before = {name: value.clone() for name, value in quantizer.state_dict().items()}
        latents, state = torch.randn(2, DIM, 5, 7), torch.get_rng_state()
        for output in (quantizer.eval()(latents), quantizer.train()(latents, update=False)):
            assert len(output.indices.unique()) > 1
            torch.testing.assert_close(quantizer.embed(output.indices).movedim(-1, 1), output.latents)
        assert torch.equal(torch.get_rng_state(), state)
        for name, value in quantizer.state_dict().items():
            assert torch.equal(value, before[name]), name

    def test_another_default_precision(self):
        torch.set_default_dtype(torch.float64)
        try:
            quantizer = Quantizer(self.kind, CODES, DIM, dict(self.options))
            latents = torch.randn(2, DIM, 5, 7, requires_grad=True)
            output = quantizer(latents)
            (output.latents.sum() + output.loss).backward()
            assert quantizer.eval().embed(quantizer(latents).indices).shape == (2, 5, 7, DIM)
        finally:
            torch.set_default_dtype(torch.float32)
