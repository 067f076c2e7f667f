"""The one-pass loss against autograd on the plain formulas in float64."""

import pytest
import torch
from soft_tokens import soft_token_cross_entropy

from gss.posterior.cells import pixel_weights, to_cells
from gss.posterior.likelihood import CellLikelihood
from gss.training.losses.classification import pixel_nll
from gss.training.losses.marginal import token_and_pixel_loss
from gss.weak.confidence import doubt

B, R, V, K, F, H, W = 2, 6, 20, 5, 4, 3, 5


@pytest.mark.parametrize("chunk", [0, 7])
@pytest.mark.parametrize("scales", [(1.0, 1.0), (0.3, 2.0), (0.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_plain_losses(chunk, scales, weighted):
    torch.manual_seed(0)
    hidden = torch.randn(B, R, H, W, requires_grad=True)
    weight = torch.randn(V, R, requires_grad=True)
    bias = torch.randn(V, requires_grad=True)
    likelihood = CellLikelihood(V, K, F)
    likelihood.set_table(torch.randn(V, K, F, F).softmax(1))
    labels = torch.randint(K, (B, H * F, W * F))
    labels[torch.rand(labels.shape) < 0.2] = 255
    labels[0, :F, :F] = 255
    targets, probs = likelihood.posterior(labels, 3)
    cells = torch.rand(B, H, W) if weighted else None
    token_scale, pixel_scale = scales
    loss, token, pixel = token_and_pixel_loss(
        hidden,
        weight,
        bias,
        targets=targets,
        target_probs=probs,
        labels=labels,
        table=likelihood.table,
        token_scale=token_scale,
        pixel_scale=pixel_scale,
        cell_weights=cells,
        chunk=chunk,
    )
    got = torch.autograd.grad(3 * loss, (hidden, weight, bias))
    leaves = [x.detach().double().requires_grad_() for x in (hidden, weight, bias)]
    logits = torch.nn.functional.conv2d(leaves[0], leaves[1][..., None, None], leaves[2])
    plain_token = soft_token_cross_entropy(logits, targets, probs, token_weights=cells)
    plain_pixel = pixel_nll(likelihood.marginal(logits.softmax(1)), labels)
    want_loss = token_scale * plain_token + pixel_scale * plain_pixel
    want = torch.autograd.grad(3 * want_loss, leaves)
    torch.testing.assert_close(loss.double(), want_loss.double(), atol=1e-5, rtol=1e-5)
    if token_scale:
        torch.testing.assert_close(token.double(), plain_token.double(), atol=1e-5, rtol=1e-5)
    if pixel_scale:
        torch.testing.assert_close(pixel.double(), plain_pixel.double(), atol=1e-5, rtol=1e-5)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a.double(), b, atol=1e-5, rtol=1e-4)


def test_all_void_gives_zero_with_zero_gradients():
    likelihood = CellLikelihood(V, K, F)
    labels = torch.full((1, F, F), 255)
    targets, probs = likelihood.posterior(labels)
    hidden = torch.randn(1, R, 1, 1, requires_grad=True)
    loss, *_ = token_and_pixel_loss(
        hidden,
        torch.randn(V, R),
        torch.zeros(V),
        targets=targets,
        target_probs=probs,
        labels=labels,
        table=likelihood.table,
        token_scale=1.0,
        pixel_scale=1.0,
    )
    loss.backward()
    assert loss.item() == 0 and hidden.grad.abs().max() == 0


def test_hopeless_pixels_stay_finite():
    likelihood = CellLikelihood(2, 2, F)
    table = torch.zeros(2, 2, F, F)
    table[:, 0] = 1.0
    likelihood.set_table(table)
    labels = torch.ones(1, F, F, dtype=torch.long)
    hidden = torch.randn(1, R, 1, 1, requires_grad=True)
    loss, *_ = token_and_pixel_loss(
        hidden,
        torch.randn(2, R),
        torch.zeros(2),
        targets=torch.zeros(1, 1, 1, 1, dtype=torch.long),
        target_probs=torch.ones(1, 1, 1, 1),
        labels=labels,
        table=table,
        token_scale=1.0,
        pixel_scale=1.0,
    )
    loss.backward()
    assert loss.isfinite() and hidden.grad.isfinite().all()
    assert pixel_weights(labels, torch.ones(2)).sum() == F * F


@pytest.mark.parametrize("kind", ["cross_entropy", "soft", "collision"])
def test_pixel_loss_of_a_latent_prior_with_weights_and_doubt(kind):
    B, V, R, K, f, h, w = 2, 6, 5, 3, 2, 3, 4
    hidden = torch.randn(B, R, h, w, requires_grad=True)
    weight, bias = torch.randn(V, R, requires_grad=True), torch.randn(V, requires_grad=True)
    table = torch.rand(V, K, f, f) + 0.05
    table /= table.sum(1, keepdim=True)
    labels = torch.randint(0, K, (B, h * f, w * f))
    labels[0, :2] = 255
    targets = torch.randint(0, V, (B, 1, h, w))
    weights, confidence = torch.rand(B, h * f, w * f), torch.rand(B, h * f, w * f)
    unsure = None if kind == "cross_entropy" else doubt(confidence, K)
    total, _, pixel = token_and_pixel_loss(
        hidden, weight, bias, targets=targets, target_probs=torch.ones(B, 1, h, w), labels=labels, table=table,
        token_scale=0.3, pixel_scale=0.7, pixel_weights=weights, doubt=unsure, collision=kind == "collision", chunk=5,
    )  # fmt: skip
    grads = torch.autograd.grad(total, (hidden, weight, bias))
    z = (hidden.permute(0, 2, 3, 1).reshape(-1, R) @ weight.t() + bias).log_softmax(1)
    token = -z.gather(1, targets.flatten()[:, None]).mean()
    mixture = torch.einsum("nv,vkij->nkij", z.exp(), table)  # [N, K, f, f]
    cells, c, m = (to_cells(x, f).flatten(0, 2) for x in (labels, confidence, weights))
    rest, extra = (torch.zeros_like(c), torch.ones_like(c)) if unsure is None else doubt(c, K)
    y = rest[:, None] + extra[:, None] * torch.nn.functional.one_hot(cells.clamp(max=K - 1), K).permute(0, 3, 1, 2)
    each = -(y * mixture.log()).sum(1) if kind == "soft" else -(y * mixture).sum(1).log()
    m = m * (cells != 255)
    wanted = (each * m).sum() / m.sum()
    torch.testing.assert_close(pixel, wanted.detach(), rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(
        grads, torch.autograd.grad(0.3 * token + 0.7 * wanted, (hidden, weight, bias)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)
