"""Sliding windows, averaging and resizing against simple references."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from gss.core.errors import InputError
from gss.pipeline import windows as inference
from gss.pipeline.windows import (
    Dense,
    Views,
    average_views,
    resize_map,
    resized_strips,
    run_views,
    slide,
    whole,
    window_starts,
    window_weights,
)


def pixelwise(images):
    """A model without context: window by window it says the same as at once."""
    scores = torch.stack([images[:, 0] * 3, images[:, 1] - images[:, 2], images.sum(1)], dim=1)
    return Dense({"p": scores.softmax(1)}, (images[:, 0, ::4, ::4] * 100).long())


@given(st.integers(1, 40), st.integers(1, 20), st.floats(0, 0.99), st.integers(1, 8))
def test_windows_cover_everything_on_the_grid(cells, window_cells, overlap, multiple):
    length, window = cells * multiple, window_cells * multiple
    starts = window_starts(length, window, overlap, multiple)
    seen = np.zeros(length, dtype=int)
    for start in starts:
        seen[start : start + window] += 1
        assert start % multiple == 0
        assert start == 0 or start + window <= length
    assert seen.min() >= 1
    assert starts == sorted(set(starts))


def test_weights_are_positive_smooth_and_symmetric():
    weights = window_weights(6, 9)
    assert weights.shape == (6, 9)
    assert weights.min() > 0
    assert torch.allclose(weights, weights.flip(0, 1))
    assert weights[3, 4] > weights[1, 1]


@pytest.mark.parametrize("size", [(50, 70), (1, 40), (64, 64), (33, 1)])
def test_slide_equals_whole_for_a_pixelwise_model(size):
    images = torch.rand(2, 3, *size)
    expected = whole(pixelwise, images, multiple=8)
    out = slide(pixelwise, images, window=(16, 24), overlap=0.5, multiple=8, batch_size=3)
    assert out.maps["p"].shape == (2, 3, *size)
    torch.testing.assert_close(out.maps["p"], expected.maps["p"], atol=1e-5, rtol=1e-5)
    assert torch.equal(out.tokens, expected.tokens)


def test_slide_on_a_constant_equals_whole_for_a_model_with_context():
    kernel = torch.rand(3, 3, 5, 5)

    def blurred(images):
        padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
        return Dense({"p": F.conv2d(padded, kernel).softmax(1)}, None)

    images = torch.full((1, 3, 40, 72), 0.3)
    out = slide(blurred, images, window=(16, 16), multiple=4)
    torch.testing.assert_close(out.maps["p"], whole(blurred, images, multiple=4).maps["p"], atol=1e-5, rtol=1e-5)
    assert out.tokens is None


def test_slide_is_the_weighted_mean_of_its_windows():
    calls = []

    def numbered(images):
        calls.append(len(images))
        values = torch.arange(len(images)) + sum(calls[:-1]) + 1.0
        return Dense({"p": values[:, None, None, None].expand(-1, 1, *images.shape[-2:])}, None)

    out = slide(numbered, torch.rand(1, 3, 12, 20), window=(8, 8), overlap=0.5, multiple=4, batch_size=2)
    corners = [(y, x) for y in (0, 4) for x in (0, 4, 8, 12)]
    total, weight = np.zeros((12, 20)), np.zeros((12, 20))
    one = np.sin(np.pi * (np.arange(8) + 0.5) / 8) ** 2
    for number, (y, x) in enumerate(corners, start=1):
        total[y : y + 8, x : x + 8] += number * np.outer(one, one)
        weight[y : y + 8, x : x + 8] += np.outer(one, one)
    np.testing.assert_allclose(out.maps["p"][0, 0].numpy(), total / weight, rtol=1e-5)
    assert calls == [2, 2, 2, 2]


def test_slide_takes_tokens_from_the_most_central_window():
    def numbered(images):
        numbers = (images[:, 0, 0, 0] * 1000).round().long()
        tokens = numbers[:, None, None].expand(-1, images.shape[-2] // 4, images.shape[-1] // 4)
        return Dense({"p": images}, tokens)

    images = torch.zeros(1, 3, 8, 24)
    images[0, 0] = torch.arange(24) / 1000
    out = slide(numbered, images, window=(8, 16), overlap=0.5, multiple=4)
    # Windows start at cells 0 and 2, so cell 2 is the third of one window and the first of the other.
    assert out.tokens[0, 0].tolist() == [0, 0, 0, 8, 8, 8]


def test_slide_memory_does_not_grow_with_the_number_of_windows(monkeypatch):
    """Buffers are allocated once, however many windows there are."""
    made = []
    zeros = torch.zeros

    def counted(*shape, **kwargs):
        made.append(shape)
        return zeros(*shape, **kwargs)

    monkeypatch.setattr(inference.torch, "zeros", counted)
    images = torch.rand(1, 3, 64, 64)
    counts, calls = [], []
    for overlap in (0.0, 0.75):
        made.clear()
        slide(
            lambda x: calls.append(x.shape) or pixelwise(x),
            images,
            window=(16, 16),
            overlap=overlap,
            multiple=4,
        )
        counts.append(sorted(made, key=str))
    assert len(calls) > 16 * 2
    assert counts[0] == counts[1]
    assert counts[0].count((3, 16, 64)) == 1  # a band of the height of a window


def test_flip_average_is_mirror_equivariant():
    kernel = torch.rand(2, 3, 3, 3)

    def lopsided(images):
        return Dense({"p": F.conv2d(images, kernel, padding=1).softmax(1)}, None)

    def run(images):
        return average_views(lambda x: whole(lopsided, x, multiple=4), images, flip=True).maps["p"]

    images = torch.rand(1, 3, 12, 20)
    torch.testing.assert_close(run(images.flip(-1)), run(images).flip(-1))
    plain = lopsided(images).maps["p"]
    assert not torch.allclose(run(images), plain, atol=1e-3)
    expected = (plain + lopsided(images.flip(-1)).maps["p"].flip(-1)) / 2
    torch.testing.assert_close(run(images), expected)


def test_scales_average_keeps_size_and_sums_to_one():
    seen = []

    def fn(images):
        seen.append(tuple(images.shape[-2:]))
        return pixelwise(images)

    images = torch.rand(1, 3, 50, 70)
    out = run_views(fn, images, Views(window="whole", scales=(0.5, 1.0, 1.5), flip=True), multiple=8)
    assert out.maps["p"].shape == (1, 3, 50, 70)
    torch.testing.assert_close(out.maps["p"].sum(1), torch.ones(1, 50, 70))
    assert seen == [(32, 40)] * 2 + [(56, 72)] * 2 + [(80, 112)] * 2
    assert out.tokens.shape == (1, 8, 10)


def test_auto_slides_only_over_large_images():
    seen = []

    def fn(images):
        seen.append(tuple(images.shape))
        return pixelwise(images)

    views = Views(window="auto", window_size=(16, 16), max_pixels=32 * 32, batch_size=4)
    run_views(fn, torch.rand(1, 3, 32, 32), views, multiple=8)
    assert seen == [(1, 3, 32, 32)]
    seen.clear()
    run_views(fn, torch.rand(1, 3, 32, 33), views, multiple=8)
    assert all(shape[-2:] == (16, 16) and shape[0] <= 4 for shape in seen)


@pytest.mark.parametrize("source", [(7, 11), (30, 20), (1, 5), (64, 64)])
@pytest.mark.parametrize("target", [(50, 70), (13, 9), (64, 64), (1, 1)])
def test_resized_strips_equal_interpolate(monkeypatch, source, target):
    monkeypatch.setattr(inference, "STRIP_NUMBERS", 4 * 70 * 3)
    values = torch.rand(4, *source).softmax(0)
    expected = F.interpolate(values[None], size=target, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(resize_map(values, target), expected, atol=1e-5, rtol=1e-5)
    joined = torch.cat([strip for _, strip in resized_strips(values, target)], dim=1)
    torch.testing.assert_close(joined, resize_map(values, target), atol=0, rtol=0)
    torch.testing.assert_close(joined.sum(0), torch.ones(target))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"window": "slied"}, "did you mean 'slide'"),
        ({"overlap": 1.0}, "overlap"),
        ({"scales": ()}, "scales"),
        ({"scales": (0.0,)}, "scales"),
        ({"scales": 1.0}, "scales is 1.0; give a list"),
        ({"scales": ("1",)}, "scales"),
        ({"scales": (float("nan"),)}, "scales"),
        ({"scales": None}, "scales"),
        ({"overlap": None}, "overlap"),
        ({"overlap": "half"}, "overlap"),
        ({"window": ["slide"]}, "unknown window"),
        ({"window_size": 512}, "window_size"),
        ({"batch_size": True}, "batch_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"window_size": (0, 4)}, "window_size"),
        ({"max_pixels": -1}, "max_pixels"),
    ],
)
def test_bad_views_are_refused_in_one_line(options, word):
    with pytest.raises(InputError, match=word) as error:
        Views(**options)
    assert "\n" not in str(error.value)
