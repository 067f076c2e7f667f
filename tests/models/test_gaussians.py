import math

import pytest
import torch

from gss.models.gaussians import Gaussians, log_density, logsumexp_, own_class, quadratic_form, reduced_log_density


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def reference(x, gaussians):
    covariance = torch.diag_embed(gaussians.variances.double())
    if gaussians.factors is not None:
        covariance = covariance + gaussians.factors.double() @ gaussians.factors.double().transpose(1, 2)
    normal = torch.distributions.MultivariateNormal(gaussians.means.double(), covariance)
    return normal.log_prob(x.double()[:, None])


@pytest.mark.parametrize("rank", [0, 3])
def test_log_density_equals_float64(rank):
    groups, dim = 95, 64
    gaussians = Gaussians(
        unit(groups, dim),
        0.01 + torch.rand(groups, dim) / 64,
        0.1 * torch.randn(groups, dim, rank) if rank else None,
    )
    x = unit(500, dim)
    form = quadratic_form(gaussians)
    assert (log_density(x, form).double() - reference(x, gaussians)).abs().max() < 1e-4
    in_blocks = reduced_log_density(x, form, lambda d: d)
    assert (in_blocks.double().t() - reference(x, gaussians)).abs().max() < 1e-4


def test_features_far_from_the_origin_keep_their_precision():
    gaussians = Gaussians(50 + torch.randn(4, 16), 0.5 + torch.rand(4, 16))
    x = 50 + torch.randn(200, 16)
    assert (log_density(x, quadratic_form(gaussians)) - reference(x, gaussians)).abs().max() < 1e-3


def test_lower_precision_settings_do_not_reach_the_density():
    gaussians, x = Gaussians(unit(20, 32), torch.full((20, 32), 0.01)), unit(50, 32)
    expected = log_density(x, quadratic_form(gaussians))
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(log_density(x, quadratic_form(gaussians)), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("rank", [0, 2])
def test_blocks_change_nothing(rank, monkeypatch):
    factors = 0.1 * torch.randn(10, 8, rank) if rank else None
    form = quadratic_form(Gaussians(unit(10, 8), torch.full((10, 8), 0.1), factors))
    x = unit(1000, 8)
    whole = log_density(x, form)
    monkeypatch.setattr("gss.models.gaussians.BLOCK_NUMBERS", 7 * form.width)  # the last block is narrower
    assert torch.allclose(reduced_log_density(x, form, lambda d: d.amax(0)), whole.amax(1), atol=1e-5)
    assert torch.allclose(reduced_log_density(x, form, lambda d: d), whole.t(), atol=1e-5)
    assert reduced_log_density(x[:0], form, lambda d: d.amax(0)).shape == (0,)
    assert reduced_log_density(x[:0], form, lambda d: d).shape == (10, 0)


def test_weights_are_part_of_the_constant():
    gaussians, weights = Gaussians(unit(6, 8), torch.full((6, 8), 0.1)), torch.tensor([0, -1, -2, -math.inf, 3, 0.5])
    x, form = unit(20, 8), quadratic_form(gaussians)
    assert torch.allclose(log_density(x, form.plus(weights)), log_density(x, form) + weights, atol=1e-5)


def test_logsumexp_in_place():
    density = 300 * torch.randn(4, 3, 50)
    density[:, 1] = -math.inf
    density[2] = -math.inf
    for dim in (0, 1):
        torch.testing.assert_close(logsumexp_(density.clone(), dim), density.logsumexp(dim))


def test_own_class():
    density = torch.arange(24.0).view(2, 4, 3)
    assert own_class(density, torch.tensor([1, 3])).tolist() == [[3, 4, 5], [21, 22, 23]]
