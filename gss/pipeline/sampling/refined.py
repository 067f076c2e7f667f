"""Decode mode `refined`: class probabilities by the joint prior."""

from __future__ import annotations

import torch
from torch import Tensor

from gss.models.joint import JointPriorModel
from gss.models.prior import GSSPriorOutput
from gss.pipeline.sampling.fill import fill
from gss.pipeline.sampling.scheduler import TokenScheduler
from gss.posterior.likelihood import CellLikelihood

PATHS, STEPS = 4, 6
"""Paths through the unknown cells, and steps of each."""
TRUST = 0.5
"""How much drawn cells count, see `TokenScheduler`: as much as true ones, they blur borders and lose calibration."""


def refine(joint: JointPriorModel, likelihood: CellLikelihood, output: GSSPriorOutput) -> Tensor:
    """Return the mean of exact marginals along sampling paths, float32 `[B, K, h*f, w*f]`.

    A path draws the tokens of the image in steps. Each cell has, at the step that draws it, an exact distribution
    given what was drawn before; their mean over paths is an estimate of p(class | image) of the joint prior that has
    less noise than the mean of samples (Rao-Blackwell). The random numbers are the same for every image, so the result
    is a function of the image.

    Args:
        joint: joint prior.
        likelihood: code table.
        output: output of the prior, with token logits.
    """
    context = joint.encode(output)
    scheduler = TokenScheduler(mask_token_id=joint.mask_token, trust=TRUST)
    rows = []
    for item in range(context.batch):
        one = context.select(slice(item, item + 1))
        tokens = torch.full((PATHS, *one.size), joint.mask_token, device=one.image.device)
        generators = [torch.Generator().manual_seed(path) for path in range(PATHS)]
        paths = fill(joint, one, tokens, scheduler, steps=STEPS, generators=generators, probabilities=True)
        assert paths.probabilities is not None
        rows.append(likelihood.marginal(paths.probabilities[None])[0])
    return torch.stack(rows)
