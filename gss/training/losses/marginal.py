"""Token cross-entropy and exact pixel likelihood of a latent prior, in one pass over the cells.

Both losses read the softmax over V codes of every cell, an array of B*V*h*w numbers that autograd would keep several
times. Here it exists for one chunk of cells at a time, small enough for a CPU's cache, and the gradients with respect
to the classifier's input and weights are computed next to the losses.

With P = softmax(z), q the target distribution over codes, T the table p(c | code, position) and m = P T the mixture:

    token loss  = -sum_z q_z log P_z                     d/dz = P - q
    pixel loss  = -sum_positions log m[label, position]  d/dz = P * (G - <G, P>),  G = -sum_positions T[:, label] / m
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

from gss.labels.space import IGNORE_INDEX, IGNORE_TOKEN
from gss.posterior.cells import to_cells

_LEAST = 1e-8
# Numbers in the largest buffer of a pass on a GPU: 256 MB in float32.
_GPU_NUMBERS = 2**26


def token_and_pixel_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    targets: Tensor,
    target_probs: Tensor,
    labels: Tensor,
    table: Tensor,
    token_scale: float,
    pixel_scale: float,
    cell_weights: Tensor | None = None,
    pixel_weights: Tensor | None = None,
    doubt: tuple[Tensor, Tensor] | None = None,
    collision: bool = False,
    chosen: tuple[Tensor, Tensor] | None = None,
    chunk: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the weighted sum of the token cross-entropy and the negative marginal log-likelihood of the labels.

    Args:
        hidden: input of the token classifier `[B, R, h, w]`.
        weight: classifier weight `[V, R]`.
        bias: classifier bias `[V]`.
        targets: k codes per cell `[B, k, h, w]`, -100 where a cell has none.
        target_probs: their probabilities `[B, k, h, w]`.
        labels: classes `[B, h*f, w*f]`, 255 where void.
        table: p(c | z, position) `[V, K, f, f]`.
        token_scale: factor of the token loss, a mean over the cells that have a target.
        pixel_scale: factor of the pixel loss, a mean over valid pixels.
        cell_weights: weight of each cell in the token loss `[B, h, w]`.
        pixel_weights: weight of each pixel in the pixel loss `[B, h*f, w*f]`.
        doubt: `rest` and `extra` `[B, h*f, w*f]` of labels that stand for the distribution rest + extra * onehot, whose
            cross-entropy with the mixture is then the pixel loss.
        collision: True for -log sum_c y_c m_c, see `gss.training.losses.classification.uncertain_cross_entropy`.
        chosen: positions `[n]` in the flattened grid of the cells to compute, and the factor of each `[n]`, for a sum
            over some of the cells that estimates the one over all; see `gss.training.losses.easy`.
        chunk: number of cells per pass; 0 takes 1024 on a CPU and as many as fill 256 MB elsewhere.

    Returns:
        The weighted sum, with gradient, and both losses, without; in nats.
    """
    V, K, f, _ = table.shape
    valid = targets[:, 0] != IGNORE_TOKEN
    cell_weights = valid.float() if cell_weights is None else torch.where(valid, cell_weights.float(), 0.0)
    cells = to_cells(labels, f).flatten(0, 2).flatten(1)  # [N, f*f]
    pixel_valid = cells != IGNORE_INDEX
    # Column of the table, flattened to [V, K*f*f], that holds each pixel's class at its position.
    columns = cells.clamp(max=K - 1) * (f * f) + torch.arange(f * f, device=cells.device)
    if pixel_weights is None:
        scaled = pixel_valid.float() * (pixel_scale / pixel_valid.sum().clamp(min=1))
    else:
        weights = torch.where(pixel_valid, _in_cells(pixel_weights, f), 0.0)
        scaled = weights * (pixel_scale / weights.sum().clamp(min=_LEAST))
    rest, extra = (None, None) if doubt is None else (_in_cells(part, f) for part in doubt)
    rows = {
        "hidden": rearrange(hidden, "b r h w -> (b h w) r"),
        "targets": rearrange(torch.where(valid[:, None], targets, 0), "b k h w -> (b h w) k"),
        "probs": rearrange(target_probs.float(), "b k h w -> (b h w) k"),
        "weights": cell_weights.flatten() * (token_scale / cell_weights.sum().clamp(min=_LEAST)),
        "columns": columns,
        "scaled": scaled,
        **({} if rest is None or extra is None else {"rest": rest, "extra": extra}),
    }
    if chosen is not None:
        rows = {name: values.index_select(0, chosen[0]) for name, values in rows.items()}
        rows["weights"] = rows["weights"] * chosen[1]
        rows["scaled"] = rows["scaled"] * chosen[1][:, None]
    with torch.autocast(hidden.device.type, enabled=False):
        total, token, pixel = _TokenPixelLoss.apply(
            rows["hidden"].float(),
            weight.float(),
            bias.float(),
            rows["targets"],
            rows["probs"],
            rows["weights"],
            rows["columns"],
            rows["scaled"],
            rows.get("rest"),
            rows.get("extra"),
            collision,
            table.float().flatten(1),
            chunk or (1024 if hidden.device.type == "cpu" else max(256, _GPU_NUMBERS // max(V, K * f * f))),
        )
    return total, token / max(token_scale, _LEAST), pixel / max(pixel_scale, _LEAST)


def _in_cells(values: Tensor, token_stride: int) -> Tensor:
    """Return float maps `[B, h*f, w*f]` as cells `[N, f*f]`."""
    return to_cells(values.float(), token_stride).flatten(0, 2).flatten(1)


class _TokenPixelLoss(torch.autograd.Function):
    """Losses with their gradients, by the formulas of the module."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        target_probs: Tensor,
        cell_weights: Tensor,
        columns: Tensor,
        pixel_weights: Tensor,
        rest: Tensor | None,
        extra: Tensor | None,
        collision: bool,
        table: Tensor,
        chunk: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        grad_hidden = torch.empty_like(hidden)
        grad_weight, grad_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        token, pixel = hidden.new_zeros(()), hidden.new_zeros(())
        transposed = table.t().contiguous()
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            h, q, w = hidden[part], target_probs[part], cell_weights[part]
            z = torch.addmm(bias, h, weight.t())  # [n, V]
            z -= z.amax(1, keepdim=True)
            chosen = (z.gather(1, targets[part]) * q).sum(1)
            p = z.exp_()
            scale = p.sum(1, keepdim=True)
            p /= scale
            token += (w * (scale[:, 0].log() - chosen)).sum()

            mixture, weights = p @ table, pixel_weights[part]  # [n, K*f*f], [n, f*f]
            if rest is not None and extra is not None and not collision:
                target = rest[part].repeat(1, mixture.shape[1] // weights.shape[1])
                target.scatter_add_(1, columns[part], extra[part])
                target *= weights.repeat(1, mixture.shape[1] // weights.shape[1])
                floor = mixture.clamp(min=_LEAST)
                pixel -= (target * floor.log()).sum()
                spread = -target / floor
                slope_sum = (spread * mixture).sum(1)
            else:
                mixture = mixture.gather(1, columns[part])  # [n, f*f]
                agreement = mixture if rest is None or extra is None else rest[part] + extra[part] * mixture
                floor = agreement.clamp(min=_LEAST)
                pixel -= (weights * floor.log()).sum()
                slope = -weights / floor
                if extra is not None:
                    slope = slope * extra[part]
                spread = torch.zeros(len(h), table.shape[1], device=h.device).scatter_(1, columns[part], slope)
                slope_sum = (slope * mixture).sum(1)
            # d/dz of both terms; <G, P> = sum of slope * mixture.
            grad = spread @ transposed
            grad += (w - slope_sum)[:, None]
            grad *= p
            grad.scatter_add_(1, targets[part], -q * w[:, None])
            torch.mm(grad, weight, out=grad_hidden[part])
            grad_weight.addmm_(grad.t(), h)
            grad_bias += grad.sum(0)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.mark_non_differentiable(token, pixel)
        return token + pixel, token, pixel

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        return (*(saved * grad_output for saved in ctx.saved_tensors), *[None] * 10)
