"""Losses over tokens and pixels; every mean is over valid positions only, and 0 without any."""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX, IGNORE_TOKEN


def token_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    *,
    target_probs: Tensor | None = None,
    chunk: int = 0,
    token_weights: Tensor | None = None,
) -> Tensor:
    """Compute the cross-entropy of a linear token classifier, without keeping its logits.

    The gradients are computed next to the loss, so B*V*h*w logits exist once in float32 (`chunk=0`) or never
    (`chunk > 0`), at the cost of the three matrix products of the plain computation. Sums run in float32.

    Args:
        hidden: input of the classifier `[B, R, h, w]`, float32, bf16 or fp16.
        weight: classifier weight `[V, R]`.
        bias: classifier bias `[V]`.
        targets: tokens `[B, h, w]` in 0..V-1, or -100 for ignored cells; with `target_probs` `[B, k, h, w]`.
        target_probs: probability of each of the k targets `[B, k, h, w]`; sums to 1 over k.
        chunk: number of cells per step; 0 takes all cells at once.
        token_weights: weight of each code `[V]` (averaged over the k targets) or of each cell `[B, h, w]`.

    Returns:
        Weighted mean over the valid cells, in nats.

    Raises:
        InputError: shapes that do not fit each other, or a negative `chunk`.
    """
    _check_tokens(targets, target_probs, (hidden.shape[0], *hidden.shape[2:]))
    if weight.shape != (len(bias), hidden.shape[1]):
        raise InputError(
            f"weight has shape {tuple(weight.shape)}, bias and hidden need ({len(bias)}, {hidden.shape[1]})"
        )
    if chunk < 0:
        raise InputError(f"chunk={chunk} must be 0 (no chunks) or the number of cells per step")
    indices, probs, cell_weights = _flatten_targets(targets, target_probs, token_weights, weight.shape[0])
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    flat = rearrange(hidden, "b r h w -> (b h w) r")
    with torch.autocast(device, enabled=False):
        total = _LinearCrossEntropy.apply(
            flat.to(dtype),
            weight.to(dtype),
            bias.float(),
            indices,
            probs,
            cell_weights,
            chunk or max(len(flat), 1),
        )
    return total / _normaliser(cell_weights)


class _LinearCrossEntropy(torch.autograd.Function):
    """Weighted sum over cells of logsumexp(z) - sum_k q_k z_k with z = hidden @ weight.T + bias."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        indices: Tensor,
        probs: Tensor,
        cell_weights: Tensor,
        chunk: int,
    ) -> Tensor:
        needed = any(ctx.needs_input_grad[:3])
        total = hidden.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden) if needed else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needed else None
        grad_bias = torch.zeros_like(bias) if needed else None
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            q, w = probs[part], cell_weights[part]
            z = (hidden[part] @ weight.t()).float().add_(bias)  # [n, V], the only buffer of this size
            z -= z.amax(1, keepdim=True)
            target = (z.gather(1, indices[part]) * q).sum(1)
            scale = z.exp_().sum(1)
            total += (w * (scale.log() - target)).sum()
            if grad_hidden is None or grad_weight is None or grad_bias is None:
                continue
            # d loss / d z = w (softmax - q). 1 / sum(w) comes with grad_output, so fp16 stays in range.
            z *= (w / scale)[:, None]
            z.scatter_add_(1, indices[part], -q * w[:, None])
            grad_bias += z.sum(0)
            z = z.to(hidden.dtype)
            grad_hidden[part] = z @ weight
            grad_weight += z.t() @ hidden[part]
        if needed:
            ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
            ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight, grad_bias = ctx.saved_tensors
        return (
            (grad_hidden * grad_output).to(grad_hidden.dtype),
            (grad_weight * grad_output).to(ctx.weight_dtype),
            grad_bias * grad_output,
            None,
            None,
            None,
            None,
        )


def weighted_cross_entropy(
    logits: Tensor, labels: Tensor, *, weights: Tensor | None = None, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Compute the cross-entropy with class or position weights.

    Args:
        logits: logits `[B, K, H, W]`.
        labels: classes `[B, H, W]` in 0..K-1 or `ignore_index`.
        weights: weight of each class `[K]` or of each position `[B, H, W]`.
        ignore_index: label left out; 255 for pixels, -100 for tokens.

    Returns:
        Weighted mean over the valid positions, in nats.

    Raises:
        InputError: shapes that do not fit each other.
    """
    safe, position = _positions("logits", logits, labels, weights, ignore_index)
    loss = F.cross_entropy(logits.float(), safe, reduction="none")
    return (loss * position).sum() / _normaliser(position)


def pixel_nll(
    probs: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    *,
    ignore_index: int = IGNORE_INDEX,
    eps: float = 1e-8,
) -> Tensor:
    """Compute the negative log-likelihood of pixel labels under given class probabilities.

    Below `eps` the value stays at -log(eps), but the gradient remains 1 / eps. Behind a softmax it is bounded and still
    improves pixels of tiny probability, which a plain clamp would not.

    Args:
        probs: class probabilities `[B, K, H, W]` in 0..1.
        labels: classes `[B, H, W]` in 0..K-1 or `ignore_index`.
        weights: weight of each class `[K]` or of each position `[B, H, W]`.
        ignore_index: label left out.
        eps: smallest probability distinguished.

    Returns:
        Weighted mean over the valid pixels, in nats.

    Raises:
        InputError: shapes that do not fit each other.
    """
    safe, position = _positions("probs", probs, labels, weights, ignore_index)
    chosen = probs.gather(1, safe[:, None])[:, 0].float()
    floor = chosen.detach().clamp_min(eps)
    loss = -floor.log() - (chosen - chosen.detach()) / floor
    return (loss * position).sum() / _normaliser(position)


def uncertain_cross_entropy(
    log_probs: Tensor,
    labels: Tensor,
    rest: Tensor,
    extra: Tensor,
    *,
    collision: bool,
    weights: Tensor | None = None,
) -> Tensor:
    """Compute the loss of labels that stand for the distribution y = rest + extra * onehot(label).

    Either the cross-entropy -sum_c y_c log p_c, or the collision cross-entropy -log sum_c y_c p_c of the probability
    that prediction and label agree. Where y is uniform, the latter has no gradient; the former makes the prediction
    uniform.

    Args:
        log_probs: logarithm of class probabilities `[B, K, H, W]`.
        labels: classes `[B, H, W]` in 0..K-1 or 255.
        rest: probability of every class `[B, H, W]`, see `gss.weak.confidence.doubt`.
        extra: additional probability of the label `[B, H, W]`.
        collision: True for the collision cross-entropy.
        weights: weight of each position `[B, H, W]`.

    Returns:
        Weighted mean over the valid positions, in nats.

    Raises:
        InputError: shapes that do not fit each other.
    """
    safe, position = _positions("log_probs", log_probs, labels, weights, IGNORE_INDEX)
    log_probs = log_probs.float()
    chosen = log_probs.gather(1, safe[:, None])[:, 0]
    if collision:
        # As sum p = 1: sum_c y_c p_c = rest + extra * p_label, in logarithms so that it holds for tiny p.
        loss = -torch.logaddexp(rest.clamp_min(1e-12).log(), extra.clamp_min(1e-12).log() + chosen)
    else:
        loss = -(rest * log_probs.sum(1) + extra * chosen)
    return (loss * position).sum() / _normaliser(position)


def _positions(
    name: str, values: Tensor, labels: Tensor, weights: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Return labels that can be used as indices, and the weight of each position, both `[B, H, W]`."""
    if values.ndim != 4 or labels.shape != (values.shape[0], *values.shape[2:]):
        raise InputError(f"labels have shape {tuple(labels.shape)}, expected (B, H, W) of {name} {tuple(values.shape)}")
    valid = labels != ignore_index
    safe = torch.where(valid, labels, 0)
    return safe, _position_weights(weights, safe, valid)


def _normaliser(weights: Tensor) -> Tensor:
    """Return the sum of the weights; 1 where nothing is valid, so that the loss is 0 with a gradient of 0."""
    total = weights.sum()
    return torch.where(total > 0, total, torch.ones_like(total))


def _position_weights(weights: Tensor | None, labels: Tensor, valid: Tensor) -> Tensor:
    """Return the weight of each position `[B, H, W]`, 0 where not valid."""
    if weights is None:
        return valid.float()
    if weights.ndim != 1 and weights.shape != labels.shape:
        raise InputError(f"weights have shape {tuple(weights.shape)}, expected one per class or {tuple(labels.shape)}")
    position = weights[labels] if weights.ndim == 1 else weights
    return torch.where(valid, position.float(), 0.0)


def _flatten_targets(
    targets: Tensor, target_probs: Tensor | None, token_weights: Tensor | None, vocabulary: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return targets and their probabilities `[N, k]`, and the weight of each cell `[N]`, 0 where ignored."""
    if token_weights is not None and token_weights.ndim == 1 and len(token_weights) != vocabulary:
        raise InputError(f"token_weights has {len(token_weights)} entries, expected one for each of {vocabulary} codes")
    if target_probs is None:
        targets = targets[:, None]
        target_probs = torch.ones_like(targets, dtype=torch.float32)
    valid = targets[:, 0] != IGNORE_TOKEN
    safe = torch.where(valid[:, None], targets, 0)
    probs = target_probs.float()
    if token_weights is not None and token_weights.ndim == 1:
        cell = torch.where(valid, (token_weights[safe] * probs).sum(1).float(), 0.0)
    else:
        cell = _position_weights(token_weights, safe[:, 0], valid)
    return rearrange(safe, "b k h w -> (b h w) k"), rearrange(probs, "b k h w -> (b h w) k"), cell.flatten()


def _check_tokens(targets: Tensor, target_probs: Tensor | None, grid: tuple[int, ...]) -> None:
    shape = tuple(targets.shape) if target_probs is None else (targets.shape[0], *targets.shape[2:])
    if shape != grid:
        raise InputError(f"targets have shape {tuple(targets.shape)}, which does not fit the (B, h, w) = {grid} cells")
    if target_probs is not None and target_probs.shape != targets.shape:
        raise InputError(f"target_probs have shape {tuple(target_probs.shape)}, targets have {tuple(targets.shape)}")
