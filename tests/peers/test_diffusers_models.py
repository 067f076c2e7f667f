"""The VQ model passes the tests of diffusers for models.

The heads of a pipeline (density, residual, joint prior) are no models in the sense of these tests: their outputs are
tensors, or their inputs those of another model. Likelihood, codec and fitted scores have no `forward`.
"""

import pytest
import torch
from peer_sources import does_not_apply, peer_tests

from vqvae import MaskigeVQModel

common = peer_tests("diffusers", "models.testing_utils.common")

pytestmark = pytest.mark.slow


class VQConfig(common.BaseModelTesterConfig):
    """Tiny VQ models and their inputs."""

    options: dict

    @property
    def model_class(self):
        return MaskigeVQModel

    @property
    def output_shape(self):
        return (3, 16, 24)

    def get_init_dict(self):
        return {"codebook_size": 64, "hidden_dim": 32, "depth": 1, "latent_dim": 8, **self.options}

    def get_dummy_inputs(self):
        return {"maskige": torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))}


class TestFSQ(VQConfig, common.ModelTesterMixin):
    options = {"quantizer_type": "fsq", "decoder_type": "contextual"}

    test_keep_in_fp32_modules = does_not_apply("no layer must stay in float32")


class TestLFQ(TestFSQ):
    options = {"quantizer_type": "lfq", "decoder_type": "local"}


class TestVQ(TestFSQ):
    options = {"quantizer_type": "vq", "decoder_type": "local"}

    test_from_save_pretrained_dtype_inference = does_not_apply(
        "it compares a model in training mode, where the codebook follows the data, with one that is not"
    )


class TestSimVQ(TestVQ):
    options = {"quantizer_type": "simvq", "architecture": "diffusers", "decoder_type": "contextual"}
