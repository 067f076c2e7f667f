"""Assigning pixels to the components of their class by optimal transport, the E-step of balanced mixtures."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gss.models.gaussians import Reduce, full_precision

# Pixels whose indicators of classes fit into the cache of a CPU.
_CPU_BLOCK = 4096


def sinkhorn(
    scores: Tensor,
    classes: Tensor,
    num_classes: int,
    *,
    temperature: float = 1.0,
    relative: bool = False,
    iterations: int = 3,
    sum_across: Reduce = torch.clone,
    max_across: Reduce = torch.clone,
) -> Tensor:
    """Assign the pixels of every class to its components so that all components get the same share.

    This is entropic optimal transport by Sinkhorn and Knopp: in turn, the mass of every component becomes 1/M and that
    of every pixel 1/n, for all classes at once, with the same numbers as a loop over classes. Few iterations do not
    converge: the result depends on the scale of each pixel's scores, and on the step of the pixels coming last.

    A round keeps one number per component, the logarithm of its factor, and computes the step of the pixels as a
    softmax of score plus factor, so nothing overflows. Masses do not vanish either: the first is summed relative to
    the largest score of the component, and afterwards the best pixel of a component gives it at least 1 / (n M).

    Args:
        scores: log-densities `[N, M]` of the components of each pixel's own class; -inf for one not in use.
        classes: class of each pixel, int64 `[N]`.
        num_classes: number of classes C.
        temperature: nats per unit of entropy; with `relative` a share of the largest absolute score of the class
            (0.05 in GMMSeg), which makes it depend on the data.
        relative: whether the temperature is relative.
        iterations: number of rounds.
        sum_across: function that sums over processes, if the pixels are spread over some.
        max_across: function that takes the maximum over processes.

    Returns:
        Log assignment probabilities `[N, M]`; each row sums to 1 in probability.
    """
    s = scores.t().clone(memory_format=torch.contiguous_format)  # [M, N]: steps run along contiguous memory
    scale = s.new_full((num_classes,), temperature)
    if relative:
        magnitude = s.abs().masked_fill_(s.isinf(), 0)
        scale *= max_across(_class_max(magnitude, classes, num_classes)).amax(0).clamp(min=1e-12)
    top = max_across(_class_max(s, classes, num_classes))  # [M, C]
    top = top.masked_fill(top.isinf(), 0)
    own_scale = scale.index_select(0, classes)
    # In place wherever possible: memory that is touched for the first time costs more than the arithmetic.
    # Differences come before quotients: those that matter are small, hence exact.
    shares = top.index_select(1, classes)
    torch.sub(s, shares, out=shares).div_(own_scale).exp_()
    logits = s.sub_(s.amax(0)).div_(own_scale)
    log_factor = -(top.double() / scale)
    for round_ in range(iterations):
        mass = sum_across(_class_sums(shares, classes, num_classes)).double()
        log_factor -= torch.where(mass > 0, mass, 1).log()
        # A constant of the class cancels; without it the factors that matter are near 0 and keep their digits.
        log_factor -= log_factor.masked_fill(mass <= 0, -math.inf).amax(0).nan_to_num(neginf=0)
        torch.index_select(log_factor.to(s), 1, classes, out=shares).add_(logits)
        if round_ + 1 < iterations:
            shares.sub_(shares.amax(0)).exp_()
            shares.div_(shares.sum(0))
    return shares.log_softmax(0).t()


def _class_max(values: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """Return the largest value of every class, `[M, N]` -> `[M, C]`; -inf for classes without pixels."""
    start = values.new_full((len(values), num_classes), -math.inf)
    return start.scatter_reduce(1, classes.expand_as(values), values, "amax")


def _class_sums(values: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """Return the sum of every class, `[M, N]` -> `[M, C]`."""
    total = values.new_zeros(len(values), num_classes)
    rows = _CPU_BLOCK if values.device.type == "cpu" else max(1, len(classes))
    # Products with indicator matrices, because atomic additions on a GPU are not reproducible.
    indicator = values.new_empty(min(rows, len(classes)), num_classes)
    with full_precision(values.device):
        for part, own in zip(values.split(rows, 1), classes.split(rows), strict=True):
            total.addmm_(part, indicator[: len(own)].zero_().scatter_(1, own[:, None], 1))
    return total
