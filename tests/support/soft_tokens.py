"""The plain form of the token loss, with all logits at hand and gradients by autograd: a reference."""

import torch
from torch import Tensor

from gss.training.losses.classification import _check_tokens, _flatten_targets, _normaliser


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

    Raises:
        ValueError: If the shapes do not fit each other.
    """
    _check_tokens(targets, target_probs, (token_logits.shape[0], *token_logits.shape[2:]))
    vocabulary = token_logits.shape[1]
    indices, probs, cell_weights = _flatten_targets(targets, target_probs, token_weights, vocabulary)
    shape = (len(targets), *targets.shape[2:])
    chosen = token_logits.gather(1, indices.view(*shape, -1).movedim(-1, 1)).float()  # [B, k, h, w]
    target = (chosen * probs.view(*shape, -1).movedim(-1, 1)).sum(1)
    loss = torch.logsumexp(token_logits.float(), 1) - target
    return (loss.flatten() * cell_weights).sum() / _normaliser(cell_weights)
