"""Probabilities of an image given its labels, and the pseudo-masks they give."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_pipeline import tiny_pipeline

from gss.config.agmm import ProduceConfig
from gss.config.weak_labels import SpreadConfig
from gss.pipeline.pipeline import GSSPipeline
from gss.weak.agmm.produce import probabilities_given_labels, pseudo_mask

STAY = SpreadConfig(steps=[])


def picture(size=(45, 70), seed=0):
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    labels = np.full(size, 255, np.uint8)
    labels[5:12, 8:20], labels[25:40, 50:60] = 1, 3
    return image, labels


@pytest.mark.parametrize("vqvae", [True, False])
@pytest.mark.parametrize("size", [None, (32, 96)])
def test_without_mixture_and_tags_the_posterior_is_the_prediction(vqvae, size):
    pipeline = tiny_pipeline(size=size) if vqvae else twin(size)
    image, labels = picture()
    found = probabilities_given_labels(pipeline, image, labels, ProduceConfig(mixture=0.0, spread=STAY))
    mode = pipeline.default_decode
    expected = pipeline.predict_probabilities([image], modes=[mode])[mode][0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    tags = np.array([False, True, False, False, True])
    found = probabilities_given_labels(pipeline, image, labels, ProduceConfig(mixture=0.0, spread=STAY), tags=tags)
    assert (found[[0, 2]] == 0).all()  # 3 is labelled, though not tagged
    if size is None:
        kept = expected * torch.tensor([0.0, 1, 0, 1, 1])[:, None, None]
        torch.testing.assert_close(found, kept / kept.sum(0), rtol=1e-3, atol=1e-4)


def twin(size):
    whole = tiny_pipeline(size=size)
    return GSSPipeline(whole.processor, whole.prior, whole.codec)


def test_the_mixture_favours_what_looks_like_the_labels():
    """Two textures, a network that knows nothing: the pixels around a label get its class."""
    pipeline = twin(None)
    with torch.no_grad():
        pipeline.prior.aux_head.weight.zero_()
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, :48], pixels[:, 48:] = (230, 40, 40), (30, 90, 240)
    labels = np.full((64, 96), 255, np.uint8)
    labels[28:36, 20:28], labels[28:36, 68:76] = 0, 4
    tags = np.array([True, False, False, False, True])
    cfg = ProduceConfig(mixture=1.0, spread=STAY)
    found = probabilities_given_labels(pipeline, Image.fromarray(pixels), labels, cfg, tags=tags)
    truth = torch.where(torch.arange(96) < 48, 0, 4).expand(64, 96)
    assert (found.argmax(0) == truth).float().mean() > 0.85
    torch.testing.assert_close(found.sum(0), torch.ones(64, 96))


def test_pseudo_labels_follow_the_colours_of_the_image():
    """The network knows nothing: labels spread up to where the colour changes, whatever the size of the image."""
    pipeline = twin(None)
    with torch.no_grad():
        pipeline.prior.aux_head.weight.zero_()
        pipeline.prior.aux_head.bias.zero_()
    pixels = np.full((70, 101, 3), 60, np.uint8)
    pixels[:, 63:] = (90, 200, 60)
    labels = np.full((70, 101), 255, np.uint8)
    labels[30:33, 20:23], labels[50:53, 90:93] = 1, 3
    spread = SpreadConfig(steps=[80, 40, 20], belief=0.0)
    found = probabilities_given_labels(
        pipeline, Image.fromarray(pixels), labels, ProduceConfig(mixture=0.0, spread=spread)
    )
    assert found.shape == (5, 70, 101)
    torch.testing.assert_close(found.sum(0), torch.ones(70, 101))
    best = found.argmax(0)
    assert (best[:, :60] == 1).all() and (best[:, 67:] == 3).all()
    # Without spreading only the labelled cells are known.
    still = probabilities_given_labels(
        pipeline, Image.fromarray(pixels), labels, ProduceConfig(mixture=0.0, spread=STAY)
    )
    torch.testing.assert_close(still[:, 5, 5], torch.full((5,), 0.2))


def test_pseudo_mask_keeps_labels_and_abstains():
    probs = torch.tensor([[0.9, 0.45, 0.2], [0.1, 0.55, 0.8]])[:, None]
    labels = np.array([[255, 255, 0]], np.uint8)
    mask, certain = pseudo_mask(probs, labels, 0.6)
    assert mask.tolist() == [[0, 255, 0]] and mask.dtype == np.uint8
    np.testing.assert_allclose(certain, [[0.9, 0.55, 1.0]])
    _, certain = pseudo_mask(probs, labels, 0.6, confidence=np.full((1, 3), 0.25, np.float32))
    np.testing.assert_allclose(certain, [[0.9, 0.55, 0.25]])
