"""The pipeline passes the tests of diffusers for pipelines."""

import functools
import unittest
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from diffusers.utils import BaseOutput
from peer_sources import does_not_apply, peer_tests
from tiny_pipeline import tiny_pipeline

from gss import GSSPipeline

common = peer_tests("diffusers", "pipelines.test_pipelines_common")

pytestmark = pytest.mark.slow


@dataclass
class Masks(BaseOutput):
    """Masks `[B, H, W]` as one array: the tests compare arrays, and a pipeline gives lists for images of any sizes."""

    masks: np.ndarray


class ArrayPipeline(GSSPipeline):
    """The pipeline with masks as one array."""

    @functools.wraps(GSSPipeline.__call__)
    def __call__(self, *args, return_dict=True, **options):
        masks = np.stack(super().__call__(*args, **options).masks).astype(np.float32)
        return Masks(masks) if return_dict else (masks,)


class TestPipeline(common.PipelineTesterMixin, unittest.TestCase):
    pipeline_class = ArrayPipeline
    params = frozenset(["images"])
    batch_params = frozenset(["images"])
    image_params = image_latents_params = callback_cfg_params = frozenset()
    required_optional_params = frozenset(["generator", "output_type", "return_dict"])
    test_attention_slicing = test_xformers_attention = test_layerwise_casting = test_group_offloading = False
    supports_dduf = False

    test_to_dtype = does_not_apply("a precision is that of the prior only, tests/pipeline/test_placing.py")
    test_save_load_float16 = test_float16_inference = test_to_dtype
    test_num_images_per_prompt = does_not_apply("there is no prompt")
    test_callback_inputs = test_callback_cfg = does_not_apply("there are no steps")
    test_cfg = does_not_apply("there is no guidance")
    test_sequential_cpu_offload_forward_pass = does_not_apply("tables are read without their forward")
    test_sequential_offload_forward_pass_twice = test_sequential_cpu_offload_forward_pass

    def get_dummy_components(self):
        return tiny_pipeline().components

    def get_dummy_inputs(self, device="cpu", seed=0):
        images = np.random.default_rng(seed).random((40, 56, 3)).astype(np.float32)
        return {"images": images, "generator": torch.Generator().manual_seed(seed), "output_type": "np"}
