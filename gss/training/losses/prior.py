"""Losses of a prior's heads: what `prior`, `twin`, `weak-agmm` and hybrid `density` training have in common."""

from __future__ import annotations

from typing import cast

from torch import Tensor
from torch.nn import functional as F

from gss.models.prior import GSSPriorModel, GSSPriorOutput
from gss.pipeline.decode import decode
from gss.posterior.bundle import Posterior
from gss.training.losses.classification import (
    pixel_nll,
    token_cross_entropy,
    uncertain_cross_entropy,
    weighted_cross_entropy,
)
from gss.training.losses.easy import choose_cells
from gss.training.losses.marginal import token_and_pixel_loss

Doubt = tuple[Tensor, Tensor]
"""`rest` and `extra` `[B, H, W]` of labels that stand for a distribution, see `gss.weak.confidence.doubt`."""


def aux_loss(
    output: GSSPriorOutput,
    labels: Tensor,
    *,
    weights: Tensor | None = None,
    doubt: Doubt | None = None,
    collision: bool = False,
) -> Tensor:
    """Return the cross-entropy of the auxiliary pixel head, a mean over the labelled pixels of the batch.

    Args:
        output: output of the prior with `aux_logits`.
        labels: int64 `[B, H, W]`, 255 where void.
        weights: weight of each pixel `[B, H, W]`.
        doubt: distributions that the labels stand for.
        collision: with `doubt`, collision cross-entropy in place of the cross-entropy.
    """
    # [B, K, h, w] -> [B, K, H, W]
    logits = F.interpolate(cast(Tensor, output.aux_logits), size=labels.shape[-2:], mode="bilinear")
    if doubt is None:
        return weighted_cross_entropy(logits, labels, weights=weights)
    log_probs = logits.float().log_softmax(1)
    return uncertain_cross_entropy(log_probs, labels, *doubt, collision=collision, weights=weights)


def token_losses(
    prior: GSSPriorModel,
    posterior: Posterior,
    output: GSSPriorOutput,
    *,
    labels: Tensor,
    targets: Tensor,
    target_probs: Tensor,
    token_scale: float,
    pixel_scale: float,
    cell_weights: Tensor | None = None,
    pixel_weights: Tensor | None = None,
    doubt: Doubt | None = None,
    collision: bool = False,
    easy_share: float = 1.0,
    chunk: int = 0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted sum of token and pixel loss, and both terms.

    Args:
        prior: model with a token classifier.
        posterior: posterior of the tokens; with a local decoder both losses come from one pass over the cells.
        output: output of the prior with `token_hidden`, and with token logits if `needs_logits`.
        labels: int64 `[B, H, W]`, 255 where void.
        targets: k codes of each cell `[B, k, h, w]`, -100 where a cell has none.
        target_probs: their probabilities `[B, k, h, w]`.
        token_scale: factor of the token loss.
        pixel_scale: factor of the pixel loss.
        cell_weights: weight of each cell in the token loss `[B, h, w]`.
        pixel_weights: weight of each pixel in the pixel loss `[B, H, W]`.
        doubt: distributions that the labels stand for.
        collision: with `doubt`, collision cross-entropy in place of the cross-entropy.
        easy_share: share of the easy cells that is computed, see `choose_cells`; needs a local decoder if below 1.
        chunk: cells of one pass; 0 takes a good size.
    """
    weight, bias = prior.classifier_weight()
    hidden = cast(Tensor, output.token_hidden)  # [B, R, h, w]
    if posterior.likelihood is not None:
        total, token, pixel = token_and_pixel_loss(
            hidden,
            weight,
            bias,
            targets=targets,
            target_probs=target_probs,
            labels=labels,
            table=posterior.likelihood.table,
            token_scale=token_scale,
            pixel_scale=pixel_scale,
            cell_weights=cell_weights,
            pixel_weights=pixel_weights,
            doubt=doubt,
            collision=collision,
            chosen=choose_cells(labels, cast(Tensor, output.aux_logits), posterior.likelihood.token_stride, easy_share)
            if easy_share < 1
            else None,
            chunk=chunk,
        )
        return total, {"token": token, "pixel": pixel}
    terms: dict[str, Tensor] = {}
    total = hidden.new_zeros((), dtype=bias.dtype)
    if token_scale > 0:
        terms["token"] = token_cross_entropy(
            hidden, weight, bias, targets[:, 0], chunk=chunk, token_weights=cell_weights
        )
        total = total + token_scale * terms["token"]
    if pixel_scale > 0:
        probs = decode("expected", output, vqvae=posterior.vqvae, codec=posterior.codec, likelihood=None)
        if doubt is None:
            terms["pixel"] = pixel_nll(probs, labels, pixel_weights)
        else:
            log_probs = probs.clamp_min(1e-8).log()
            terms["pixel"] = uncertain_cross_entropy(
                log_probs, labels, *doubt, collision=collision, weights=pixel_weights
            )
        total = total + pixel_scale * terms["pixel"]
    return total, terms


def needs_logits(posterior: Posterior, pixel_scale: float) -> bool:
    """Tell whether `token_losses` reads all token logits: only the pixel loss of a contextual decoder does."""
    return posterior.likelihood is None and pixel_scale > 0
