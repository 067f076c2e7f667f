"""Losses over some of the easy cells: unbiased, and equal where nothing is left out."""

import pytest
import torch

from gss.posterior.cells import is_uniform, to_cells
from gss.posterior.likelihood import CellLikelihood
from gss.training.losses.easy import CERTAIN, choose_cells
from gss.training.losses.marginal import token_and_pixel_loss

B, R, V, K, F, H, W = 2, 6, 20, 3, 4, 5, 7


@pytest.fixture
def scene():
    """Labels of which most cells show one class, and an auxiliary head that knows most of them."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(K, (B, H, W), generator=generator)
    logits = 4 * torch.nn.functional.one_hot(labels, K).movedim(-1, 1).float()
    logits += torch.randn(logits.shape, generator=generator)
    labels = labels.repeat_interleave(F, 1).repeat_interleave(F, 2)
    labels[:, : 2 * F, 2] = 0
    labels[:, :F, : 2 * F] = 255
    return labels, logits


def test_all_other_cells_are_taken_and_easy_ones_weigh_what_they_stand_for(scene):
    labels, logits = scene
    cells = to_cells(labels, F)
    first = cells[..., 0, 0].clamp(max=K - 1)
    sure = logits.softmax(1).gather(1, first[:, None])[:, 0] >= CERTAIN
    easy = (is_uniform(cells) & (cells[..., 0, 0] != 255) & sure).flatten()
    assert 0 < easy.sum() < len(easy)
    chosen, factor = choose_cells(labels, logits, F, 0.3)
    assert set((~easy).nonzero()[:, 0].tolist()) <= set(chosen.tolist())
    assert torch.equal(factor, torch.where(easy[chosen], 1 / 0.3, 1.0))
    assert (chosen.diff() > 0).all()
    draws = [choose_cells(labels, logits, F, 0.3)[0] for _ in range(400)]
    share = torch.stack([torch.bincount(draw, minlength=len(easy)) for draw in draws])
    assert share[:, easy].float().mean() == pytest.approx(0.3, abs=0.02)


def test_the_loss_and_its_gradients_are_unbiased(scene):
    labels, logits = scene
    torch.manual_seed(0)
    hidden = torch.randn(B, R, H, W, requires_grad=True)
    weight, bias = torch.randn(V, R, requires_grad=True), torch.randn(V, requires_grad=True)
    likelihood = CellLikelihood(V, K, F)
    likelihood.set_table(torch.randn(V, K, F, F).softmax(1))
    targets, probs = likelihood.posterior(labels, 1)

    def figures(chosen):
        loss, token, pixel = token_and_pixel_loss(
            hidden,
            weight,
            bias,
            targets=targets,
            target_probs=probs,
            labels=labels,
            table=likelihood.table,
            token_scale=0.5,
            pixel_scale=2.0,
            chosen=chosen,
        )
        grads = torch.autograd.grad(loss, (hidden, weight, bias))
        return torch.cat([token[None], pixel[None], loss.detach()[None], *(grad.flatten() for grad in grads)])

    everything = figures(None)
    torch.testing.assert_close(figures(choose_cells(labels, logits, F, 1.0)), everything, atol=1e-6, rtol=1e-5)
    draws = torch.stack([figures(choose_cells(labels, logits, F, 0.3)) for _ in range(600)])
    error = (draws.mean(0) - everything).abs() / (draws.std(0) / 600**0.5).clamp(min=1e-6)
    assert error.max() < 5  # standard errors; 230 figures
    assert error.mean() < 1.2
