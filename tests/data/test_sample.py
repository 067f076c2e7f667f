"""Void filling against a brute-force nearest neighbour."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gss.data.sample import fill_void


@given(st.integers(1, 9), st.integers(1, 13), st.integers(0, 100), st.floats(0.05, 0.95))
def test_nearest_valid_label(height, width, seed, share):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (height, width)).astype(np.uint8)
    labels[rng.random(labels.shape) < share] = 255
    before = labels.copy()
    filled = fill_void(labels)
    np.testing.assert_array_equal(labels, before)
    valid = np.argwhere(labels != 255)
    if not len(valid):
        assert not filled.any()
        return
    for position in np.ndindex(labels.shape):
        distance = ((valid - position) ** 2).sum(axis=1)
        nearest = {labels[tuple(v)] for v in valid[distance == distance.min()]}
        assert filled[position] in nearest


def test_nothing_to_fill_gives_an_equal_copy():
    labels = np.arange(12).reshape(3, 4)
    filled = fill_void(labels)
    assert filled is not labels
    np.testing.assert_array_equal(filled, labels)


def test_batch_tensor_keeps_type_and_shape():
    labels = torch.full((2, 3, 5), 255)
    labels[0, 1, 1] = 7
    filled = fill_void(labels)
    assert filled.dtype == torch.int64
    assert filled[0].eq(7).all()
    assert filled[1].eq(0).all()
    assert labels.eq(255).sum() == 29


def test_wrong_shape():
    with pytest.raises(ValueError, match=r"\[H, W\] or \[B, H, W\]"):
        fill_void(np.zeros(3))
