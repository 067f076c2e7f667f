import numpy as np
import pytest
import torch

from gss.core.errors import InputError
from gss.posterior import palette
from gss.posterior.inverses import ConvInverse, SwinInverse, build_inverse, nearest_table


def nearest(colors: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reference labels, and how much farther the second nearest colour is (squared)."""
    distances = ((pixels[:, None].astype(np.float64) - colors[None].astype(np.float64)) ** 2).sum(-1)
    two = np.sort(distances, axis=1)[:, :2]
    return distances.argmin(1), two[:, 1] - two[:, 0]


@pytest.mark.parametrize(
    "colors",
    [
        palette.maxmin(2),
        palette.random(40, 1),
        palette.lattice(150),
        palette.maxmin(255),
        np.random.default_rng(0).uniform(0, 255, (33, 3)).astype(np.float32),
        np.array([[10, 10, 10], [11, 10, 10], [10, 11, 10], [250, 3, 9]]),
    ],
    ids=["2", "random", "lattice", "255", "not integers", "neighbours"],
)
def test_table_is_the_nearest_colour(colors: np.ndarray) -> None:
    table = nearest_table(colors)
    rng = np.random.default_rng(1)
    around = np.clip(np.rint(colors[rng.integers(len(colors), size=3000)]) + rng.integers(-9, 10, (3000, 3)), 0, 255)
    pixels = np.concatenate([rng.integers(0, 256, (3000, 3)), around]).astype(np.int64)
    expected, gap = nearest(colors, pixels)
    clear = gap > (0.5 if np.issubdtype(colors.dtype, np.floating) else -1)
    assert clear.mean() > 0.95
    # Integer palettes: exact, ties to the lower class.
    assert np.array_equal(table[tuple(pixels.T)][clear], expected[clear])


def test_table_of_one_class() -> None:
    assert not nearest_table(np.array([[3, 4, 5]])).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 22), (16, 24)])
@pytest.mark.parametrize("name", ["conv", "swin"])
@pytest.mark.parametrize("reduction", [1, 3])
def test_starts_as_no_correction_and_learns(name: str, size: tuple[int, int], reduction: int) -> None:
    net = build_inverse(name, 7, width=8, reduction=reduction)
    assert net is not None
    maskige = torch.rand(2, 3, *size) * 2 - 1
    out = net(maskige)
    assert out.shape == (2, 7, *size)
    assert torch.equal(out, torch.zeros_like(out))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    target = torch.randint(0, 7, (2, *size))
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(maskige), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_reduction_moves_work_to_a_coarser_grid() -> None:
    torch.manual_seed(0)
    net = SwinInverse(5, 8, 2)
    seen = []
    net.blocks[0].register_forward_hook(lambda _module, args, _out: seen.append(args[0].shape))
    net(torch.zeros(1, 3, 15, 22))
    assert seen == [(1, 8, 8, 11)]


def test_conv_has_no_dark_frame() -> None:
    torch.manual_seed(0)
    net = ConvInverse(4, 8)
    torch.nn.init.normal_(net.conv_out.weight)
    out = net(torch.full((1, 3, 9, 12), 0.7))
    assert torch.allclose(out, out[:, :, 4:5, 6:7].expand_as(out), atol=1e-5)


def test_bad_options() -> None:
    assert build_inverse("nearest", 3, width=64, reduction=2) is None
    with pytest.raises(InputError, match="unknown inverse 'linear'"):
        build_inverse("linear", 3, width=64, reduction=2)
    with pytest.raises(InputError, match="use 68"):
        build_inverse("swin", 3, width=66, reduction=2)
    with pytest.raises(InputError, match="inverse_width"):
        build_inverse("conv", 3, width=0, reduction=2)
    with pytest.raises(InputError, match="inverse_reduction"):
        build_inverse("swin", 3, width=64, reduction=0)
