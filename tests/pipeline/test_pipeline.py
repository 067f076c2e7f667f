"""The pipeline end to end with real tiny components."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_pipeline import NAMES, tiny_pipeline

from gss.core.errors import InputError
from gss.models.prior import GSSPriorModel
from gss.pipeline.decode import paint_tokens
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.processor import GSSImageProcessor
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from vqvae import MaskigeVQModel

SIZES = [(50, 70), (1, 40), (33, 65), (50, 70)]


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def saved(pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "pipeline"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def assert_same(first, second, exact=True):
    assert list(first.keys()) == list(second.keys())
    for name in first:
        for a, b in zip(first[name], second[name], strict=True):
            if exact:
                np.testing.assert_array_equal(a, b, err_msg=name)
            elif name in ("confidence", "probabilities"):
                np.testing.assert_allclose(a, b, atol=1e-5, err_msg=name)
            else:
                assert np.mean(np.asarray(a) != np.asarray(b)) < 0.01, name


def test_output_at_original_size_for_mixed_inputs(pipeline, images, tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(images[0]).save(path)
    tensor = torch.from_numpy(images[2]).movedim(-1, 0).float() / 255
    out = pipeline([path, Image.fromarray(images[1]), tensor, images[3]], return_probabilities=True)
    for index, (height, width) in enumerate(SIZES):
        mask, probabilities = out.masks[index], out.probabilities[index]
        assert mask.shape == (height, width) and mask.dtype == np.uint8
        assert probabilities.shape == (5, height, width) and probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
        np.testing.assert_array_equal(mask, probabilities.argmax(0))
        np.testing.assert_array_equal(out.confidence[index], probabilities.max(0))
        assert out.maskiges[index].shape == (height, width, 3) and out.maskiges[index].dtype == np.uint8
        assert out.tokens[index].shape == (-(-height // 4), -(-width // 4))
    assert out.ood_scores is None
    assert len(np.unique(out.masks[0])) > 1
    assert_same(out, pipeline(images, return_probabilities=True))


def test_batch_equals_single(pipeline, images):
    one_by_one = [pipeline(image, return_probabilities=True) for image in images]
    for batch_size in (1, 4):
        together = pipeline(images, return_probabilities=True, batch_size=batch_size)
        for index, single in enumerate(one_by_one):
            chosen = type(single)(**{name: values[index : index + 1] for name, values in together.items()})
            assert_same(chosen, single, exact=batch_size == 1)


def test_reloaded_output_is_identical(pipeline, saved, images):
    reloaded = GSSPipeline.from_pretrained(saved)
    for mode in pipeline.decode_modes:
        before = pipeline(images, decode=mode, return_probabilities=True)
        assert_same(before, reloaded(images, decode=mode, return_probabilities=True))
    assert reloaded.id2label == dict(enumerate(NAMES))
    assert not any(part.training for part in (reloaded.prior, reloaded.vqvae, reloaded.codec))


def test_every_component_is_saved_and_found_again(saved):
    index = json.loads((saved / "model_index.json").read_text())
    classes = {
        "processor": GSSImageProcessor,
        "prior": GSSPriorModel,
        "vqvae": MaskigeVQModel,
        "codec": MaskigeCodec,
        "likelihood": CellLikelihood,
    }
    loaded = GSSPipeline.from_pretrained(saved)
    for name, kind in classes.items():
        assert index[name] == [kind.__module__, kind.__name__]
        assert type(loaded.components[name]) is kind
        assert type(kind.from_pretrained(saved / name)) is kind
    for file in saved.rglob("*"):
        assert file.suffix in ("", ".json", ".safetensors", ".md", ".png")


def test_pipeline_without_likelihood(tmp_path, images):
    pipeline = tiny_pipeline(likelihood=False, decoder_type="contextual")
    assert pipeline.default_decode == "hard" and "fused" not in pipeline.decode_modes
    pipeline.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / "likelihood").exists()
    reloaded = GSSPipeline.from_pretrained(tmp_path / "saved")
    assert reloaded.likelihood is None
    for mode in pipeline.decode_modes:
        assert_same(pipeline(images, decode=mode), reloaded(images, decode=mode))
    with pytest.raises(InputError, match="fused"):
        pipeline(images, decode="fused")


def test_discriminative_twin_has_no_tokens(tmp_path, images):
    twin = tiny_pipeline(vqvae=False)
    assert twin.decode_modes == ("aux",) and twin.default_decode == "aux"
    out = twin(images, window="slide", window_size=(32, 32), flip=True)
    assert out.tokens is None and out.maskiges is None
    assert [mask.shape for mask in out.masks] == SIZES
    twin.save_pretrained(tmp_path)
    assert "discriminative baseline" in (tmp_path / "README.md").read_text()
    reloaded = GSSPipeline.from_pretrained(tmp_path)
    assert reloaded.vqvae is None
    assert_same(twin(images), reloaded(images))
    # The same weights in a generative pipeline read out the same way.
    assert_same(twin(images), tiny_pipeline()(images, decode="aux", return_tokens=False))
    with pytest.raises(InputError, match="Decode modes: aux"):
        twin(images, decode="hard")
    with pytest.raises(InputError, match="vqvae is None"):
        GSSPipeline(**{**twin.components, "likelihood": tiny_pipeline().likelihood})


def test_a_component_can_be_swapped_when_loading(saved, images):
    resized = GSSPipeline.from_pretrained(saved, processor=GSSImageProcessor(size=(32, 64)))
    out = resized(images[0])
    assert out.masks[0].shape == (50, 70) and out.tokens[0].shape == (8, 16)
    assert out.maskiges[0].shape == (50, 70, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_precision(pipeline, saved, images, dtype):
    full = pipeline(images, return_probabilities=True)
    loaded = GSSPipeline.from_pretrained(saved, dtype=dtype)
    moved = GSSPipeline.from_pretrained(saved).to(dtype)
    for reduced in (loaded, moved, GSSPipeline.from_pretrained(saved).to("cpu", dtype)):
        assert reduced.dtype == dtype
        assert reduced.vqvae.dtype == reduced.likelihood.table.dtype == torch.float32
    # Half precision convolutions are missing on some CPUs, so only bfloat16 is run.
    if dtype == torch.bfloat16:
        first = loaded(images, return_probabilities=True)
        assert_same(first, moved(images, return_probabilities=True))
        for exact, rough in zip(full.probabilities, first.probabilities, strict=True):
            assert rough.dtype == np.float32
            np.testing.assert_allclose(rough.sum(0), 1, atol=1e-5)
            assert np.abs(exact - rough).mean() < 0.05


def test_output_types(pipeline, images):
    arrays = pipeline(images)
    pictures = pipeline(images, output_type="pil")
    tensors = pipeline(images, output_type="pt", return_probabilities=True)
    for index in range(len(images)):
        mask = pictures.masks[index]
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), arrays.masks[index])
        np.testing.assert_array_equal(np.asarray(mask.convert("RGB")), pipeline.colors[arrays.masks[index]])
        np.testing.assert_array_equal(np.asarray(pictures.maskiges[index]), arrays.maskiges[index])
        assert tensors.masks[index].dtype == torch.int64
        np.testing.assert_array_equal(tensors.masks[index].numpy(), arrays.masks[index])
        assert tensors.maskiges[index].shape == (3, *SIZES[index])
        assert tensors.probabilities[index].shape == (5, *SIZES[index])


def test_segments_have_names_masks_and_scores(pipeline, images):
    for output_type in ("np", "pil", "pt"):
        out = pipeline(images, output_type=output_type)
        found = pipeline.segments(out)
        assert len(found) == len(images)
        for index, segments in enumerate(found):
            covered = np.zeros(SIZES[index], int)
            for segment in segments:
                where = np.asarray(segment["mask"]) == 255
                assert segment["mask"].mode == "L"
                label = NAMES.index(segment["label"])
                np.testing.assert_array_equal(where, np.asarray(out.masks[index]) == label)
                np.testing.assert_allclose(segment["score"], np.asarray(out.confidence[index])[where].mean(), rtol=1e-5)
                covered += where
            assert (covered == 1).all()


def test_one_run_of_the_prior_serves_all_modes(pipeline, images, monkeypatch):
    calls = []
    forward = GSSPriorModel.forward

    def counted(self, pixel_values, **kwargs):
        calls.append(tuple(pixel_values.shape))
        return forward(self, pixel_values, **kwargs)

    monkeypatch.setattr(GSSPriorModel, "forward", counted)
    modes = pipeline.decode_modes
    found = pipeline.predict_probabilities(images, modes=modes, window="whole", batch_size=8)
    # Two images of one size make one batch.
    assert sorted(calls) == [(1, 3, 32, 64), (1, 3, 64, 96), (2, 3, 64, 96)]
    for mode in modes:
        expected = pipeline(images, decode=mode, return_probabilities=True, batch_size=8).probabilities
        for a, b in zip(found[mode], expected, strict=True):
            np.testing.assert_array_equal(a.numpy(), b)


def test_aux_alone_skips_the_token_classifier(pipeline, images, monkeypatch):
    asked = []
    forward = GSSPriorModel.forward

    def watched(self, pixel_values, *, return_tokens=True, **options):
        asked.append(return_tokens)
        return forward(self, pixel_values, return_tokens=return_tokens, **options)

    monkeypatch.setattr(GSSPriorModel, "forward", watched)
    out = pipeline(images[0], decode="aux", return_tokens=False)
    assert asked == [False] and out.tokens is None and out.maskiges is None
    pipeline.predict_probabilities(images[0], modes=["aux"])
    assert asked == [False, False]
    np.testing.assert_array_equal(out.masks[0], pipeline(images[0], decode="aux").masks[0])


def test_windows_on_a_constant_image_equal_the_whole(pipeline):
    image = np.full((64, 96, 3), 90, np.uint8)
    whole = pipeline(image, window="whole", return_probabilities=True)
    slid = pipeline(image, window="slide", window_size=(64, 96), return_probabilities=True)
    assert_same(slid, whole, exact=False)
    out = pipeline(image, window="slide", window_size=(32, 32), return_probabilities=True, batch_size=4)
    np.testing.assert_allclose(out.probabilities[0].sum(0), 1, atol=1e-5)
    # The network sees window borders, so only the general picture agrees.
    difference = np.abs(out.probabilities[0].mean((1, 2)) - whole.probabilities[0].mean((1, 2)))
    assert difference.max() < 0.2


def test_windows_flip_and_scales_at_odd_sizes(pipeline, images):
    for options in (
        {"window": "slide", "window_size": (32, 32)},
        {"window": "auto", "max_pixels": 500, "window_size": (32, 64), "batch_size": 3},
        {"flip": True, "scales": (0.5, 1.0, 1.5)},
        {"flip": True, "window": "slide", "window_size": (32, 32), "scales": (1.5,)},
    ):
        out = pipeline(images, return_probabilities=True, **options)
        for index, size in enumerate(SIZES):
            assert out.masks[index].shape == size
            assert out.maskiges[index].shape == (*size, 3)
            np.testing.assert_allclose(out.probabilities[index].sum(0), 1, atol=1e-5)


def test_flip_makes_the_result_mirror_equivariant(pipeline, images):
    image = images[0][:32, :64]
    there = pipeline(image, flip=True, return_probabilities=True).probabilities[0]
    back = pipeline(image[:, ::-1], flip=True, return_probabilities=True).probabilities[0]
    np.testing.assert_allclose(there, back[..., ::-1], atol=1e-5)


def test_maskige_is_the_painted_tokens(pipeline, images):
    for window in ("whole", "slide"):
        out = pipeline(images[0], window=window, window_size=(32, 32))
        painted = pipeline.vqvae.decode_tokens(torch.from_numpy(out.tokens[0])[None])[0]
        expected = ((painted.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(0, -1).detach().numpy()
        np.testing.assert_array_equal(out.maskiges[0], expected[:50, :70])


@pytest.mark.parametrize("decoder_type", ["local", "contextual"])
def test_painting_in_strips_changes_nothing(decoder_type, monkeypatch):
    pipeline = tiny_pipeline(decoder_type=decoder_type, likelihood=False)
    tokens = torch.randint(64, (70, 9))
    with torch.no_grad():
        at_once = paint_tokens(pipeline.vqvae, tokens)
        monkeypatch.setattr("gss.pipeline.decode.PAINT_CELLS", 9 * 11)
        torch.testing.assert_close(paint_tokens(pipeline.vqvae, tokens), at_once, atol=1, rtol=0)


def test_training_components_come_back_as_they_were(pipeline, images):
    expected = pipeline(images[:1])
    pipeline.prior.train()
    pipeline.vqvae.train()
    pipeline.vqvae.decoder.eval()
    codes = pipeline.vqvae.code_embeddings().clone()
    try:
        assert_same(pipeline(images[:1]), expected)
        assert pipeline.prior.training and pipeline.vqvae.training and not pipeline.vqvae.decoder.training
        assert torch.equal(pipeline.vqvae.code_embeddings(), codes)
    finally:
        pipeline.prior.eval()
        pipeline.vqvae.eval()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"decode": "marginl"}, "did you mean 'marginal'"),
        ({"window": "tiles"}, "whole, slide"),
        ({"scales": 1.0}, "scales is 1.0"),
        ({"window_size": (32,)}, "window_size"),
        ({"overlap": -0.1}, "overlap"),
        ({"output_type": "numpy"}, "output_type"),
        ({"size": (0, 3)}, "size"),
        ({"scales": [2, -1]}, "scales"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(pipeline, images, options, words):
    with pytest.raises(InputError, match=words) as error:
        pipeline(images, **options)
    assert "\n" not in str(error.value)


def test_bad_images_and_modes_are_refused(pipeline):
    with pytest.raises(InputError, match="empty list"):
        pipeline([])
    with pytest.raises(InputError, match="NaN"):
        pipeline(torch.full((3, 8, 8), float("nan")))
    with pytest.raises(InputError, match="modes is empty"):
        pipeline.predict_probabilities(torch.rand(3, 8, 8), modes=[])


def test_components_of_different_trainings_are_refused(pipeline):
    parts = dict(pipeline.components)
    other = tiny_pipeline(classes=4, codes=32)
    for name, words in (
        ("vqvae", "codebook size"),
        ("codec", "number of classes"),
        ("likelihood", "of the like"),
    ):
        with pytest.raises(InputError, match=words):
            GSSPipeline(**{**parts, name: other.components[name]})
