"""The pipeline passes the tests of diffusers for pipelines."""

import functools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from diffusers.utils import BaseOutput
from peer_sources import does_not_apply, peer_tests
from tiny_pipeline import tiny_pipeline

from gss import GSSPipeline

common = peer_tests("diffusers", "pipelines.testing_utils.common")
memory = peer_tests("diffusers", "pipelines.testing_utils.memory")

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


class PipelineConfig(common.BasePipelineTesterConfig):
    """A tiny pipeline and its inputs."""

    pipeline_class = ArrayPipeline
    params = frozenset(["images"])
    batch_params = frozenset(["images"])
    callback_cfg_params = frozenset()
    required_optional_params = frozenset(["generator", "output_type", "return_dict"])
    test_attention_slicing = False  # window blocks are small, there is nothing to slice

    def get_dummy_components(self):
        return tiny_pipeline().components

    def get_dummy_inputs(self, device="cpu", seed=0):
        images = np.random.default_rng(seed).random((40, 56, 3)).astype(np.float32)
        return {"images": images, "generator": torch.Generator().manual_seed(seed), "output_type": "np"}


class TestPipeline(PipelineConfig, common.PipelineTesterMixin):
    test_to_dtype = does_not_apply("a precision is that of the prior only, tests/pipeline/test_placing.py")
    test_torch_dtype_dict = test_save_load_float16 = test_float16_inference = test_to_dtype
    test_num_images_per_prompt = does_not_apply("there is no prompt")
    test_encode_prompt_works_in_isolation = test_num_images_per_prompt
    test_callback_inputs = test_callback_cfg = does_not_apply("there are no steps")
    test_cfg = does_not_apply("there is no guidance")

    def test_inference_batch_single_identical(self):
        super().test_inference_batch_single_identical(additional_params_copy_to_batched_inputs=[])


class TestMemory(PipelineConfig, memory.PipelineOffloadTesterMixin):
    test_sequential_cpu_offload_forward_pass = does_not_apply("tables are read without their forward")
    test_sequential_offload_forward_pass_twice = test_sequential_cpu_offload_forward_pass
