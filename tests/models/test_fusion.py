import pytest
import torch

from gss.models.layers import ChannelNorm, FeatureFusion


@pytest.mark.parametrize("grid", [(12, 20), (6, 10), (3, 5)])
def test_hierarchical_levels_meet_on_the_grid(grid):
    fusion = FeatureFusion([4, 6, 8, 10], 16)
    maps = [torch.randn(2, c, 12 * 2 // s, 20 * 2 // s) for c, s in zip([4, 6, 8, 10], [2, 4, 8, 8], strict=True)]
    out = fusion(maps, grid)
    assert out.shape == (2, 16, *grid)
    out.square().mean().backward()
    assert all(p.grad is not None for p in fusion.parameters())


def test_levels_of_equal_size_are_added():
    fusion = FeatureFusion([4, 4, 4], 8)
    maps = [torch.randn(1, 4, 3, 5) for _ in range(3)]
    total = sum(n(p(x)) for x, p, n in zip(maps, fusion.projections, fusion.norms, strict=True))
    torch.testing.assert_close(fusion(maps, (3, 5)), total + fusion.mix(total))


def test_constant_maps_give_a_constant_interior():
    fusion = FeatureFusion([3, 3], 8)
    maps = [torch.full((1, 3, 16, 24), 0.5), torch.full((1, 3, 4, 6), -1.0)]
    out = fusion(maps, (8, 12))[..., 1:-1, 1:-1]  # the border sees the convolution's zero padding
    torch.testing.assert_close(out, out[..., :1, :1].expand_as(out), atol=1e-5, rtol=1e-5)


def test_samples_do_not_influence_each_other():
    fusion = FeatureFusion([4, 6], 8).train()
    maps = [torch.randn(3, 4, 8, 12), torch.randn(3, 6, 4, 6)]
    whole = fusion(maps, (8, 12))
    alone = fusion([x[1:2] for x in maps], (8, 12))
    torch.testing.assert_close(whole[1:2], alone, atol=1e-5, rtol=1e-5)


def test_channel_norm_matches_its_formula():
    norm = ChannelNorm(5)
    x = torch.randn(2, 5, 3, 4) * 7 + 2
    expected = (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    torch.testing.assert_close(norm(x), expected, atol=1e-5, rtol=1e-5)
