"""Precision and devices of the components, and what other pipelines of diffusers take."""

import diffusers
import numpy as np
import pytest
import torch
from joint_toys import joint_pipeline
from tiny_pipeline import tiny_pipeline

from gss import GSSPipeline
from gss.core.errors import InputError

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
ALL = ("prior", "codec", "vqvae", "likelihood")


def dtypes(pipeline):
    return {name: getattr(pipeline, name).dtype for name in ALL}


def only_prior(dtype):
    return {name: dtype if name == "prior" else torch.float32 for name in ALL}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_dtype_is_that_of_the_prior(dtype, tmp_path):
    tiny_pipeline().save_pretrained(tmp_path)
    for options in ({"dtype": dtype}, {"torch_dtype": dtype}, {"dtype": {"default": dtype}}):
        assert dtypes(GSSPipeline.from_pretrained(tmp_path, **options)) == only_prior(dtype), options
    for arguments, options in (
        ((dtype,), {}),
        ((), {"dtype": dtype}),
        (("cpu", dtype), {}),
        (("cpu",), {"dtype": dtype}),
    ):
        assert dtypes(tiny_pipeline().to(*arguments, **options)) == only_prior(dtype)
    given = GSSPipeline.from_pretrained(tmp_path, dtype={"prior": dtype, "vqvae": dtype})
    assert dtypes(given) == {**only_prior(dtype), "vqvae": dtype}
    assert dtypes(GSSPipeline.from_pretrained(tmp_path)) == only_prior(torch.float32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_dtype_is_that_of_the_prior_for_the_generic_class_too(dtype, tmp_path):
    pipeline = tiny_pipeline()
    pipeline.save_pretrained(tmp_path / "full")
    load = diffusers.DiffusionPipeline.from_pretrained
    loaded = load(tmp_path / "full", torch_dtype=dtype)
    assert dtypes(loaded) == only_prior(dtype) == dtypes(load(tmp_path / "full", dtype={"default": dtype}))
    assert torch.equal(loaded.likelihood.table, pipeline.likelihood.table)  # as in the file, not cast twice
    assert {type(part) for part in loaded.components.values()} == {type(p) for p in pipeline.components.values()}
    loaded.save_pretrained(tmp_path / "again")
    assert dtypes(GSSPipeline.from_pretrained(tmp_path / "again")) == only_prior(torch.float32)
    given = load(tmp_path / "full", dtype=dtype, codec=pipeline.codec)
    assert given.codec is pipeline.codec and dtypes(given) == only_prior(dtype)
    # Files in half precision do not change that.
    half = tiny_pipeline()
    for name in ALL:
        getattr(half, name).half()
    half.save_pretrained(tmp_path / "half")
    assert dtypes(load(tmp_path / "half")) == only_prior(torch.float32)


def test_another_default_precision(tmp_path):
    expected = tiny_pipeline()
    expected.save_pretrained(tmp_path)
    wanted = expected(PHOTO, return_probabilities=True, return_ood=True)
    torch.set_default_dtype(torch.float64)
    try:
        loaded = GSSPipeline.from_pretrained(tmp_path)
        assert dtypes(loaded) == only_prior(torch.float32)
        found = loaded(PHOTO, return_probabilities=True, return_ood=True)
        for pipeline in (tiny_pipeline(), tiny_pipeline(classifier="tied"), joint_pipeline()):
            for mode in pipeline.decode_modes:
                fresh = pipeline(PHOTO, decode=mode, window="slide", window_size=(32, 32), return_ood=True)
                assert fresh.confidence[0].dtype == fresh.ood_scores[0].dtype == np.float32
    finally:
        torch.set_default_dtype(torch.float32)
    for name in ("masks", "probabilities", "ood_scores", "confidence"):
        assert found[name][0].dtype == wanted[name][0].dtype and np.array_equal(found[name][0], wanted[name][0]), name


def test_tuples_and_generators():
    pipeline = tiny_pipeline()
    expected = pipeline(PHOTO)
    found = pipeline(PHOTO, return_dict=False, generator=torch.Generator().manual_seed(1))
    assert isinstance(found, tuple) and len(found) == len(expected.to_tuple())
    assert np.array_equal(found[0][0], expected.masks[0])


def test_the_prior_waits_on_the_cpu_between_calls():
    pipeline = tiny_pipeline()
    expected = pipeline(PHOTO)
    assert set(pipeline.model_cpu_offload_seq.split("->")) == set(pipeline.components) - {"processor"}
    pipeline.enable_model_cpu_offload(device="cpu:0")
    assert hasattr(pipeline.prior, "_hf_hook") and not hasattr(pipeline.likelihood, "_hf_hook")
    for _ in range(2):
        assert np.array_equal(pipeline(PHOTO).masks[0], expected.masks[0])
    assert hasattr(pipeline.prior, "_hf_hook")


def test_pickled_weights_are_neither_written_nor_read(tmp_path):
    pipeline = tiny_pipeline()
    with pytest.raises(InputError, match="safe_serialization=False would pickle"):
        pipeline.save_pretrained(tmp_path / "no", safe_serialization=False)
    assert not (tmp_path / "no").exists()
    pipeline.save_pretrained(tmp_path / "pickled")
    pipeline.likelihood.save_pretrained(tmp_path / "pickled" / "likelihood", safe_serialization=False)
    for file in (tmp_path / "pickled" / "likelihood").glob("*.safetensors"):
        file.unlink()
    with pytest.raises(InputError, match=r"likelihood.*\.bin is pickled, which can run code, and is not read; save"):
        GSSPipeline.from_pretrained(tmp_path / "pickled")
    with pytest.raises(OSError, match="safetensors"):
        diffusers.DiffusionPipeline.from_pretrained(tmp_path / "pickled")


def test_saved_and_loaded_in_every_form_of_diffusers(tmp_path):
    pipeline = tiny_pipeline()
    expected = pipeline(PHOTO).masks[0]
    for name, extra in (("variant", {"variant": "fp16"}), ("shards", {})):
        pipeline.save_pretrained(tmp_path / name, max_shard_size="50KB", **extra)
        assert np.array_equal(GSSPipeline.from_pretrained(tmp_path / name, **extra)(PHOTO).masks[0], expected)
        assert diffusers.DiffusionPipeline.from_pretrained(tmp_path / name, **extra).likelihood is not None
    with pytest.raises(InputError, match="no file named"):
        GSSPipeline.from_pretrained(tmp_path / "variant")
    assert np.array_equal(GSSPipeline(**pipeline.components)(PHOTO).masks[0], expected)
    assert np.array_equal(GSSPipeline.from_pipe(pipeline)(PHOTO).masks[0], expected)
    without = GSSPipeline.from_pretrained(tmp_path / "shards", likelihood=None)
    without.save_pretrained(tmp_path / "without")
    assert GSSPipeline.from_pretrained(tmp_path / "without").likelihood is None
