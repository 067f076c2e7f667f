"""Joint transforms: alignment of image and labels, seeds, limits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gss.data.transforms import PAD_COLOR, JointTransform, Window, jitter_colors, resize_pair, sample_generator


def blocks(rows=6, columns=8, cell=20):
    """Flat cells whose grey value is their label, so that image and labels can be compared pixel by pixel."""
    labels = np.kron(np.arange(rows * columns).reshape(rows, columns), np.ones((cell, cell))).astype(np.uint8)
    return Image.fromarray(np.repeat(labels[..., None] * 5, 3, axis=2)), labels


@given(st.integers(0, 10**6), st.floats(0.3, 3.0), st.tuples(st.integers(16, 90), st.integers(16, 110)))
def test_image_and_labels_stay_aligned(seed, factor, crop):
    image, labels = blocks()
    transform = JointTransform(crop, scale=(factor, factor), photometric=0.0, max_class_ratio=1.0, seed=seed)
    pixels, cropped = transform(image, labels, epoch=0, index=3)
    assert pixels.shape == (3, *crop)
    assert cropped.shape == crop
    grey = np.rint(pixels[0].numpy() * 255)
    valid = cropped != 255
    # Where all neighbours are known and agree nothing was interpolated: the value tells the source cell.
    padded = np.pad(cropped, 4, constant_values=254)
    flat = valid.copy()
    for dy in range(9):
        for dx in range(9):
            flat &= padded[dy : dy + crop[0], dx : dx + crop[1]] == cropped
    np.testing.assert_array_equal(grey[flat], cropped[flat].astype(int) * 5)
    # Nowhere may they be apart by more than the blur of one cell border.
    assert np.abs(grey[valid] / 5 - cropped[valid]).max() <= 9
    for channel, value in enumerate(PAD_COLOR):
        padding = pixels[channel].numpy()[~valid]
        np.testing.assert_allclose(padding, value / 255, atol=1e-6)


@given(st.integers(0, 10**6))
def test_labels_are_a_subset(seed):
    image, labels = blocks()
    _, cropped = JointTransform((64, 96), seed=seed)(image, labels, epoch=1, index=0)
    assert set(np.unique(cropped)) <= set(np.unique(labels)) | {255}


def test_identity_when_nothing_is_random():
    image, labels = blocks()
    transform = JointTransform(labels.shape, scale=(1.0, 1.0), flip=0.0, photometric=0.0)
    pixels, cropped = transform(image, labels, epoch=5, index=9)
    np.testing.assert_array_equal(cropped, labels)
    np.testing.assert_array_equal(np.rint(pixels.numpy() * 255).transpose(1, 2, 0), np.asarray(image))


def test_flipping_twice_is_identity():
    image, labels = blocks()
    window = Window(top=0, left=0, size=labels.shape, scaled=labels.shape, flip=True)
    once = Image.fromarray(window.image(image)), window.labels(labels)
    np.testing.assert_array_equal(once[1], labels[:, ::-1])
    np.testing.assert_array_equal(window.image(once[0]), np.asarray(image))
    np.testing.assert_array_equal(window.labels(once[1]), labels)


def test_crop_equals_scaling_everything_first():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (60, 84, 3), dtype=np.uint8))
    scaled = (45, 63)  # exactly 3/4, so that the crop starts on a pixel border of the scaled image
    whole = np.asarray(image.resize(scaled[::-1], Image.Resampling.BILINEAR)).astype(int)
    window = Window(top=9, left=12, size=(21, 33), scaled=scaled, flip=False)
    assert np.abs(window.image(image).astype(int) - whole[9:30, 12:45]).max() <= 1


def test_same_seed_epoch_index_gives_the_same_sample():
    image, labels = blocks()
    transform = JointTransform((40, 60), photometric=1.0, seed=4)
    first = transform(image, labels, epoch=2, index=7)
    torch.rand(5)  # the global generator has no part in it
    again = transform(image, labels, epoch=2, index=7)
    assert torch.equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    for other in (
        transform(image, labels, epoch=3, index=7),
        transform(image, labels, epoch=2, index=8),
        JointTransform((40, 60), photometric=1.0, seed=5)(image, labels, epoch=2, index=7),
    ):
        assert not torch.equal(first[0], other[0])


def test_inputs_are_not_written_to():
    image, labels = blocks()
    labels.setflags(write=False)
    before = np.asarray(image).copy()
    _, cropped = JointTransform((40, 60), photometric=1.0)(image, labels, epoch=0, index=0)
    cropped[:] = 0
    np.testing.assert_array_equal(np.asarray(image), before)


def test_class_ratio_limit_avoids_single_class_crops():
    labels = np.zeros((100, 200), np.uint8)
    labels[:, 150:] = 1
    image = Image.fromarray(np.zeros((100, 200, 3), np.uint8))

    def share_of_single(ratio):
        transform = JointTransform((40, 60), scale=(1.0, 1.0), max_class_ratio=ratio)
        crops = [transform(image, labels, epoch=0, index=i)[1] for i in range(200)]
        return np.mean([np.bincount(crop.ravel()).max() / crop.size > 0.8 for crop in crops])

    assert share_of_single(1.0) > 0.5
    assert share_of_single(0.75) < 0.3


@pytest.mark.parametrize("size", [(1, 30), (30, 1), (1, 1)])
def test_one_pixel_wide_sources(size):
    image, labels = Image.new("RGB", size[::-1], (255, 0, 0)), np.ones(size, np.uint8)
    for index in range(20):
        pixels, cropped = JointTransform((16, 24))(image, labels, epoch=0, index=index)
        assert pixels.shape == (3, 16, 24)
        assert (cropped == 1).any()


def test_padding_appears_on_every_side():
    image, labels = Image.new("RGB", (20, 20)), np.zeros((20, 20), np.uint8)
    transform = JointTransform((40, 40), scale=(1.0, 1.0), max_class_ratio=1.0)
    first = []
    for index in range(60):
        void = transform(image, labels, epoch=0, index=index)[1] == 255
        assert void.sum() == 40 * 40 - 20 * 20
        first.append(np.argwhere(~void)[0])
    assert np.ptp(first, axis=0).tolist() == [20, 20]


def test_jitter_keeps_range_grey_and_is_seeded():
    image = torch.rand(3, 9, 11)
    out = jitter_colors(image, sample_generator(0, 0, 0))
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.equal(out, jitter_colors(image, sample_generator(0, 0, 0)))
    # Saturation and hue leave grey pixels grey; brightness and contrast move all channels alike.
    grey = torch.rand(1, 9, 11).expand(3, 9, 11) * 0.5 + 0.2
    out = jitter_colors(grey, sample_generator(1, 2, 3))
    torch.testing.assert_close(out[0], out[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(out[0], out[2], atol=1e-5, rtol=0)


def test_resize_pair_without_change_returns_the_inputs():
    image, labels = blocks()
    same = resize_pair(image, labels, labels.shape)
    assert same[0] is image
    assert same[1] is labels
    small = resize_pair(image, labels, (30, 44))
    assert small[0].size == (44, 30)
    assert small[1].shape == (30, 44)


@pytest.mark.parametrize(
    "arguments",
    [
        {"crop": (0, 5)},
        {"scale": (2.0, 1.0)},
        {"scale": (0.0, 1.0)},
        {"flip": 1.5},
        {"photometric": -0.1},
        {"max_class_ratio": 0.0},
        {"seed": -1},
    ],
)
def test_bad_arguments_are_named(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        JointTransform(**{"crop": (8, 8), **arguments})
