"""The prior and the backbones pass the tests of transformers for models and backbones."""

import unittest

import pytest
import torch
from peer_sources import does_not_apply, peer_tests

from gss.models.config import GSSPriorConfig
from gss.models.efficientnet_lite import EfficientNetLiteBackbone, EfficientNetLiteConfig
from gss.models.prior import GSSPriorModel

models = peer_tests("transformers", "test_modeling_common")
backbones = peer_tests("transformers", "test_backbone_common")
configs = peer_tests("transformers", "test_configuration_common")

pytestmark = pytest.mark.slow


class PriorTester:
    """Tiny priors and their inputs."""

    is_training, batch_size, image_size = True, 2, 64
    hidden_size, num_hidden_layers, num_attention_heads = 16, 2, 2
    seq_length = 64

    def __init__(self, parent, classifier):
        self.parent, self.classifier = parent, classifier

    def get_config(self):
        backbone = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}
        backbone |= {"window_size": 4, "image_size": 64, "drop_path_rate": 0.0}
        backbone["out_features"] = ["stage1", "stage2", "stage3", "stage4"]
        return GSSPriorConfig(
            backbone_config=backbone,
            codebook_size=32,
            hidden_dim=16,
            depth=2,
            num_heads=2,
            classifier=self.classifier,
            classifier_rank=8,
        )

    def prepare_config_and_inputs_for_common(self):
        return self.get_config(), {"pixel_values": torch.rand(self.batch_size, 3, self.image_size, self.image_size)}


class TestPrior(models.ModelTesterMixin, unittest.TestCase):
    all_model_classes = (GSSPriorModel,)
    classifier = "low_rank"
    test_resize_embeddings = False
    test_mismatched_shapes = False  # it sets every setting that ends in _std to 1e-10, and image_std is a list
    _is_composite = True
    test_model_get_set_embeddings = does_not_apply("images have no embeddings")
    test_can_set_attention_dynamically_composite_model = does_not_apply("window blocks have one implementation")
    test_training = does_not_apply("losses are those of gss.training.losses, a model has none")
    test_training_gradient_checkpointing = does_not_apply("see test_training; tests/models/test_prior.py has its own")
    test_training_gradient_checkpointing_use_reentrant_false = test_training_gradient_checkpointing
    test_training_gradient_checkpointing_use_reentrant_true = test_training_gradient_checkpointing

    def setUp(self):
        self.model_tester = PriorTester(self, self.classifier)
        self.config_tester = configs.ConfigTester(self, config_class=GSSPriorConfig, has_text_modality=False)

    def test_config(self):
        self.config_tester.run_common_tests()

    def test_hidden_states_output(self):  # that of texts expects [B, tokens, D]
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        states = GSSPriorModel(config).eval()(**inputs, output_hidden_states=True).hidden_states
        self.assertEqual([tuple(state.shape) for state in states], [(2, 16, 8, 8)] * (config.depth + 1))


class TestTiedPrior(TestPrior):
    classifier = "tied"
    test_init_weights_can_init_buffers = does_not_apply(
        "codes are random until they are tied, and it compares two draws"
    )


class TestEvidencePrior(TestPrior):
    classifier = "evidence"


class BackboneTester:
    """Tiny backbones and their inputs."""

    is_training, batch_size, image_size = False, 2, 32
    hidden_size, num_hidden_layers, num_attention_heads = 16, 1, 1

    def __init__(self, parent):
        self.parent = parent

    def get_config(self):
        return EfficientNetLiteConfig(width_coefficient=0.2, out_features=["stage2", "stage3", "stage5", "stage7"])

    def prepare_config_and_inputs_for_common(self):
        return self.get_config(), {"pixel_values": torch.rand(self.batch_size, 3, self.image_size, self.image_size)}


class TestBackboneAsModel(models.ModelTesterMixin, unittest.TestCase):
    all_model_classes = (EfficientNetLiteBackbone,)
    test_resize_embeddings = False
    has_attentions = False
    test_model_get_set_embeddings = does_not_apply("images have no embeddings")

    def setUp(self):
        self.model_tester = BackboneTester(self)
        options = {"has_text_modality": False, "common_properties": ["width_coefficient"]}
        self.config_tester = configs.ConfigTester(self, config_class=EfficientNetLiteConfig, **options)

    def test_config(self):
        self.config_tester.run_common_tests()

    def test_hidden_states_output(self):  # that of texts expects [B, tokens, D]
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        states = EfficientNetLiteBackbone(config).eval()(**inputs, output_hidden_states=True).hidden_states
        self.assertEqual(len(states), len(config.stage_names))

    def test_retain_grad_hidden_states_attentions(self):  # that of models expects a tensor as first output
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        output = EfficientNetLiteBackbone(config)(**inputs, output_hidden_states=True)
        output.hidden_states[0].retain_grad()
        output.feature_maps[-1].flatten()[0].backward()
        self.assertIsNotNone(output.hidden_states[0].grad)


class TestBackbone(backbones.BackboneTesterMixin, unittest.TestCase):
    all_model_classes = (EfficientNetLiteBackbone,)
    config_class = EfficientNetLiteConfig
    has_attentions = False

    def setUp(self):
        self.model_tester = BackboneTester(self)
