import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gss.core.errors import InputError
from gss.models.layers import WindowBlock


def window_ids(height, width, win, shift):
    """Independent statement of which window a cell is in."""
    top = win // 2 if shift and height > win else 0
    left = win // 2 if shift and width > win else 0
    rows = (torch.arange(height) + top) // win
    cols = (torch.arange(width) + left) // win
    return (rows[:, None] * 1000 + cols[None, :]).flatten()


@given(st.integers(1, 13), st.integers(1, 13), st.integers(1, 5), st.booleans())
def test_attention_equals_dense_masked_attention(height, width, win, shift):
    torch.manual_seed(0)
    block = WindowBlock(8, 2, win, shift)
    qkv = torch.randn(2, height, width, 24)
    q, k, v = (x.reshape(2, height * width, 2, 4).transpose(1, 2) for x in qkv.chunk(3, -1))
    ids = window_ids(height, width, win, shift)
    scores = (q @ k.transpose(-1, -2)) / 2.0
    scores = scores.masked_fill(ids[:, None] != ids[None, :], -torch.inf)
    expected = (scores.softmax(-1) @ v).transpose(1, 2).reshape(2, height, width, 8)
    torch.testing.assert_close(block.attend(qkv), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("size", [(5, 7), (8, 8), (16, 8), (1, 9), (17, 25)])
def test_any_size_forward_backward(shift, size):
    block = WindowBlock(16, 4, 8, shift)
    x = torch.randn(2, 16, *size, requires_grad=True)
    before = x.detach().clone()
    y = block(x)
    assert y.shape == x.shape
    y.square().mean().backward()
    assert torch.equal(x.detach(), before)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in block.parameters())


def test_shift_carries_information_across_window_borders():
    x = torch.randn(1, 8, 4, 16)
    changed = x.clone()
    changed[:, 0, :, 5] += 1.0  # window 1 of 4; window 0 ends at column 3
    for shift in (False, True):
        torch.manual_seed(0)
        block = WindowBlock(8, 2, 4, shift)
        torch.nn.init.zeros_(block.position.weight)
        moved = (block(changed) - block(x)).abs().amax((0, 1, 2)) > 1e-6
        reach = range(2, 6) if shift else range(4, 8)
        assert set(moved.nonzero().flatten().tolist()) == set(reach)


def test_no_buffers():
    # `from_pretrained` returns non-persistent buffers uninitialised.
    assert not list(WindowBlock(8, 2, 4, True).buffers())


def test_bad_arguments():
    with pytest.raises(InputError, match="num_heads=3 must divide dim=8"):
        WindowBlock(8, 3, 4, False)
    with pytest.raises(InputError, match="window_size=0"):
        WindowBlock(8, 2, 0, False)
