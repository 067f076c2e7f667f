"""The plain form of the token loss, with all logits at hand and gradients by autograd: a reference."""

from torch import Tensor


def soft_token_cross_entropy(
    token_logits: Tensor, targets: Tensor, target_probs: Tensor, *, token_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of token logits against k weighted targets per cell.

    Args:
        token_logits: Logits `[B, V, h, w]`.
        targets: Tokens `[B, k, h, w]` in 0..V-1; a cell whose first entry is -100 is ignored.
        target_probs: Probability of each target `[B, k, h, w]`, summing to 1 over k.
        token_weights: Weight of each code `[V]` or of each cell `[B, h, w]`.

    Returns:
        Scalar weighted mean over the valid cells.
    """
    valid = targets[:, 0] != -100
    safe = targets.masked_fill(~valid[:, None], 0)
    if token_weights is None:
        cells = valid.float()
    elif token_weights.ndim == 1:
        cells = (token_weights[safe] * target_probs).sum(1) * valid
    else:
        cells = token_weights * valid
    log_p = token_logits.float().log_softmax(1)
    loss = -(log_p.gather(1, safe) * target_probs).sum(1)
    return (loss * cells).sum() / cells.sum().clamp(min=1e-12)
