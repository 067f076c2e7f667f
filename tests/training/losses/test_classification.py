import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from soft_tokens import soft_token_cross_entropy

from gss.training.losses.classification import (
    pixel_nll,
    token_cross_entropy,
    uncertain_cross_entropy,
    weighted_cross_entropy,
)
from gss.weak.confidence import doubt


def log_softmax(logits, axis):
    shifted = logits - logits.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def reference(logits, targets, probs, weights):
    """Weighted mean of -sum_k q_k log p(t_k) in float64; targets and probs [B, k, h, w]."""
    logp = log_softmax(logits.astype(np.float64), 1)
    total = norm = 0.0
    for b, y, x in np.ndindex(weights.shape):
        if targets[b, 0, y, x] == -100:
            continue
        nll = -sum(q * logp[b, t, y, x] for t, q in zip(targets[b, :, y, x], probs[b, :, y, x], strict=True))
        total += weights[b, y, x] * nll
        norm += weights[b, y, x]
    return total / norm


def make(b=2, r=6, v=23, h=5, w=7, k=None, seed=0):
    g = torch.Generator().manual_seed(seed)
    hidden = torch.randn(b, r, h, w, generator=g).requires_grad_()
    weight = torch.randn(v, r, generator=g).requires_grad_()
    bias = torch.randn(v, generator=g).requires_grad_()
    targets = torch.randint(v, (b, h, w) if k is None else (b, k, h, w), generator=g)
    ignored = torch.rand(b, h, w, generator=g) < 0.3
    targets[ignored if k is None else ignored[:, None].expand_as(targets)] = -100
    probs = None if k is None else torch.rand(b, k, h, w, generator=g).softmax(1)
    return hidden, weight, bias, targets, probs


def logits_of(hidden, weight, bias):
    return torch.einsum("brhw,vr->bvhw", hidden, weight) + bias[:, None, None]


def grads(loss, *inputs):
    return torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("chunk", [0, 1, 16, 1000])
@pytest.mark.parametrize("k", [None, 3])
@pytest.mark.parametrize("weighting", ["none", "code", "cell"])
def test_token_loss_and_gradients_match_the_plain_formula(chunk, k, weighting):
    hidden, weight, bias, targets, probs = make(k=k)
    g = torch.Generator().manual_seed(1)
    first = targets if k is None else targets[:, 0]
    hot = torch.ones(2, 1, 5, 7) if k is None else probs
    safe = (targets if k else targets[:, None]).clamp_min(0)
    token_weights, cells = None, torch.ones(2, 5, 7)
    if weighting == "code":
        token_weights = torch.rand(23, generator=g) + 0.1
        cells = (token_weights[safe] * hot).sum(1)
    elif weighting == "cell":
        token_weights = cells = torch.rand(2, 5, 7, generator=g)
    loss = token_cross_entropy(
        hidden, weight, bias, targets, target_probs=probs, chunk=chunk, token_weights=token_weights
    )
    logits = logits_of(hidden, weight, bias)
    expected = reference(
        logits.detach().numpy(), (targets if k else targets[:, None]).numpy(), hot.numpy(), cells.numpy()
    )
    assert loss.item() == pytest.approx(expected, abs=1e-5)

    logp = logits.double().log_softmax(1)
    nll = -(logp.gather(1, safe) * hot).sum(1)
    masked = torch.where(first == -100, 0.0, cells)
    plain = (nll * masked).sum() / masked.sum()
    for got, want in zip(grads(loss, hidden, weight, bias), grads(plain, hidden, weight, bias), strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_token_loss_numerical_gradient():
    hidden, weight, bias, targets, _ = make(b=1, r=3, v=4, h=2, w=2)
    analytic = grads(token_cross_entropy(hidden, weight, bias, targets, chunk=2), weight)[0]
    for i, j in np.ndindex(4, 3):
        step = torch.zeros_like(weight)
        step[i, j] = 1e-2
        up = token_cross_entropy(hidden, weight + step, bias, targets)
        down = token_cross_entropy(hidden, weight - step, bias, targets)
        assert analytic[i, j].item() == pytest.approx((up - down).item() / 2e-2, abs=1e-3)


def test_token_loss_scales_with_the_outer_gradient_and_skips_frozen_inputs():
    hidden, weight, bias, targets, _ = make()
    one = grads(token_cross_entropy(hidden, weight, bias, targets, chunk=8), hidden)[0]
    three = grads(3 * token_cross_entropy(hidden, weight.detach(), bias.detach(), targets, chunk=8), hidden)[0]
    torch.testing.assert_close(three, 3 * one)
    with torch.no_grad():
        assert not token_cross_entropy(hidden, weight, bias, targets).requires_grad


@pytest.mark.parametrize("chunk", [0, 8])
def test_token_loss_in_bf16_is_close_and_keeps_types(chunk):
    hidden, weight, bias, targets, _ = make(v=200, r=16)
    exact = token_cross_entropy(hidden, weight, bias, targets)
    low = [x.detach().bfloat16().requires_grad_() for x in (hidden, weight)]
    loss = token_cross_entropy(*low, bias, targets, chunk=chunk)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=2e-2)
    assert [g.dtype for g in grads(loss, *low)] == [torch.bfloat16] * 2
    with torch.autocast("cpu", torch.bfloat16):
        auto = token_cross_entropy(hidden, weight, bias, targets, chunk=chunk)
    assert auto.item() == pytest.approx(loss.item(), rel=1e-3)
    assert grads(auto, weight)[0].dtype == torch.float32


def test_chunks_bound_the_largest_tensor():
    hidden, weight, bias, targets, _ = make(b=2, r=4, v=500, h=16, w=24)
    sizes = []

    class Recorder(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes.extend(x.numel() for x in torch.utils._pytree.tree_leaves(out) if isinstance(x, torch.Tensor))
            return out

    with Recorder():
        token_cross_entropy(hidden, weight, bias, targets, chunk=32).backward()
    assert max(sizes) == 32 * 500


@pytest.mark.parametrize("chunk", [0, 8])
def test_token_losses_are_zero_with_gradient_when_nothing_is_valid(chunk):
    hidden, weight, bias, targets, _ = make()
    none = torch.full_like(targets, -100)
    loss = token_cross_entropy(hidden, weight, bias, none, chunk=chunk)
    assert loss.item() == 0
    assert all((g == 0).all() for g in grads(loss, hidden, weight, bias))
    logits = logits_of(hidden, weight, bias)
    soft = soft_token_cross_entropy(logits, none[:, None], torch.ones(2, 1, 5, 7))
    plain = weighted_cross_entropy(logits, none, ignore_index=-100)
    assert soft.item() == plain.item() == 0
    assert (grads(soft + plain, hidden)[0] == 0).all()


def test_pixel_losses_are_zero_with_gradient_when_nothing_is_valid():
    logits = torch.randn(1, 3, 4, 5, requires_grad=True)
    labels = torch.full((1, 4, 5), 255)
    loss = pixel_nll(logits.softmax(1), labels) + weighted_cross_entropy(logits, labels)
    assert loss.item() == 0
    assert (grads(loss, logits)[0] == 0).all()


def test_losses_stay_finite_for_huge_logits():
    hidden, weight, bias, targets, _ = make()
    for scale in (1e4, 1e8):
        big = (hidden.detach() * scale).requires_grad_()
        loss = token_cross_entropy(big, weight, bias, targets, chunk=8)
        logits = logits_of(big, weight, bias)
        other = weighted_cross_entropy(logits, targets, ignore_index=-100)
        assert torch.isfinite(loss) and loss.item() == pytest.approx(other.item(), rel=1e-4)
        nll = pixel_nll(logits.softmax(1), targets.clamp_min(0))
        assert torch.isfinite(grads(loss + other + nll, big)[0]).all()


def test_soft_loss_on_logits_matches_the_hidden_form():
    hidden, weight, bias, targets, probs = make(k=3)
    for weights in (None, torch.rand(23) + 0.1, torch.rand(2, 5, 7)):
        logits = logits_of(hidden, weight, bias)
        soft = soft_token_cross_entropy(logits, targets, probs, token_weights=weights)
        ours = token_cross_entropy(hidden, weight, bias, targets, target_probs=probs, chunk=5, token_weights=weights)
        torch.testing.assert_close(soft, ours, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(grads(soft, weight), grads(ours, weight), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("weighting", ["none", "class", "pixel"])
def test_pixel_losses_match_numpy(weighting):
    g = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 5, 3, generator=g)
    labels = torch.randint(4, (2, 5, 3), generator=g)
    labels[torch.rand(2, 5, 3, generator=g) < 0.3] = 255
    weights = {"none": None, "class": torch.rand(4, generator=g), "pixel": torch.rand(2, 5, 3, generator=g)}[weighting]
    logp = log_softmax(logits.double().numpy(), 1)
    total = norm = 0.0
    for b, y, x in np.ndindex(2, 5, 3):
        label = int(labels[b, y, x])
        if label == 255:
            continue
        w = 1.0 if weights is None else float(weights[label] if weighting == "class" else weights[b, y, x])
        total, norm = total - w * logp[b, label, y, x], norm + w
    before = labels.clone()
    assert weighted_cross_entropy(logits, labels, weights=weights).item() == pytest.approx(total / norm, abs=1e-5)
    assert pixel_nll(logits.softmax(1), labels, weights).item() == pytest.approx(total / norm, abs=1e-5)
    assert torch.equal(labels, before)


def test_pixel_nll_of_impossible_labels_still_pushes():
    logits = torch.tensor([60.0, 0.0]).view(1, 2, 1, 1).requires_grad_()
    probs = torch.stack([logits[:, 0], torch.zeros_like(logits[:, 0])], 1)
    assert pixel_nll(probs, torch.ones(1, 1, 1, dtype=torch.long)).item() == pytest.approx(-np.log(1e-8), rel=1e-5)
    grad = grads(pixel_nll(logits.softmax(1), torch.ones(1, 1, 1, dtype=torch.long)), logits)[0]
    assert torch.isfinite(grad).all()
    mild = torch.tensor([10.0, 0.0]).view(1, 2, 1, 1).requires_grad_()
    nll = grads(pixel_nll(mild.softmax(1), torch.ones(1, 1, 1, dtype=torch.long)), mild)[0]
    cross = grads(weighted_cross_entropy(mild, torch.ones(1, 1, 1, dtype=torch.long)), mild)[0]
    torch.testing.assert_close(nll, cross, atol=1e-4, rtol=1e-3)


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31 - 1))
def test_chunk_size_never_changes_the_loss(chunk, h, w, seed):
    hidden, weight, bias, targets, _ = make(h=h, w=w, seed=seed)
    whole = token_cross_entropy(hidden, weight, bias, targets)
    parts = token_cross_entropy(hidden, weight, bias, targets, chunk=chunk)
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-5)


def test_shape_errors_are_one_line():
    hidden, weight, bias, targets, probs = make(k=3)
    cases = [
        lambda: token_cross_entropy(hidden, weight, bias, targets),
        lambda: token_cross_entropy(hidden, weight[:, :2], bias, targets[:, 0]),
        lambda: token_cross_entropy(hidden, weight, bias, targets[:, 0], chunk=-1),
        lambda: token_cross_entropy(hidden, weight, bias, targets[:, 0], token_weights=torch.ones(4)),
        lambda: token_cross_entropy(hidden, weight, bias, targets[:, 0], token_weights=torch.ones(2, 5, 6)),
        lambda: token_cross_entropy(hidden, weight, bias, targets, target_probs=probs[:, :2]),
        lambda: pixel_nll(torch.rand(1, 3, 4, 4), torch.zeros(1, 4, 5, dtype=torch.long)),
        lambda: weighted_cross_entropy(
            torch.rand(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long), weights=torch.ones(1, 4, 5)
        ),
    ]
    for case in cases:
        with pytest.raises(ValueError) as error:
            case()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("collision", [False, True])
def test_uncertain_cross_entropy_is_its_formula(collision):
    logits = torch.randn(2, 4, 5, 7, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4, (2, 5, 7))
    labels[0, 0] = 255
    confidence, weights = torch.rand(2, 5, 7), torch.rand(2, 5, 7)
    rest, extra = doubt(confidence, 4)
    loss = uncertain_cross_entropy(logits.log_softmax(1), labels, rest, extra, collision=collision, weights=weights)
    valid = labels != 255
    y = rest[:, None] + extra[:, None] * torch.nn.functional.one_hot(labels.clamp(max=3), 4).movedim(-1, 1)
    p = logits.softmax(1)
    each = -(y * p).sum(1).log() if collision else -(y * p.log()).sum(1)
    torch.testing.assert_close(
        loss.double(), (each * weights * valid).sum() / (weights * valid).sum(), rtol=1e-5, atol=1e-6
    )
    # A certain label leaves the ordinary cross-entropy.
    certain = doubt(torch.ones(2, 5, 7), 4)
    plain = weighted_cross_entropy(logits.float(), labels)
    torch.testing.assert_close(
        uncertain_cross_entropy(logits.float().log_softmax(1), labels, *certain, collision=collision),
        plain,
        rtol=1e-5,
        atol=1e-6,
    )
    nothing = uncertain_cross_entropy(
        logits.log_softmax(1), torch.full_like(labels, 255), rest, extra, collision=collision
    )
    assert nothing == 0
