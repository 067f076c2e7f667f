"""A new joint prior for a trained pipeline."""

from __future__ import annotations

import torch
from torch import Tensor

from gss.config.joint import JointConfig
from gss.core.errors import InputError
from gss.data.protocols import LabelledImages
from gss.evaluation.reconstruction import label_pair
from gss.models.joint import JointPriorModel
from gss.pipeline.pipeline import GSSPipeline
from gss.training.posterior.refine import survey


def build_joint(cfg: JointConfig, pipeline: GSSPipeline, plain: LabelledImages) -> JointPriorModel:
    """Return an untrained joint prior: it holds the code table, and knows how often each code occurs.

    Args:
        cfg: settings of the stage.
        pipeline: pipeline to extend.
        plain: training images without augmentation.

    Raises:
        InputError: the pipeline has no tokens, or its decoder is contextual.
    """
    check_local(cfg, pipeline)
    assert pipeline.likelihood is not None
    prior, model = pipeline.prior.config, cfg.model
    joint = JointPriorModel(
        codebook_size=prior.codebook_size,
        num_labels=prior.num_labels,
        token_stride=prior.token_stride,
        context_ratio=int(prior.context_stride) // prior.token_stride,
        width=model.width,
        depth=model.depth,
        levels=model.levels,
        rank=model.rank,
        embed_dim=model.embed_dim,
        shift=model.shift,
    )
    joint.set_table(pipeline.likelihood.table.cpu())
    joint.set_shares(count_tokens(pipeline, plain))
    return joint


def check_local(cfg: JointConfig, pipeline: GSSPipeline) -> None:
    """Require a pipeline with tokens and a local decoder.

    Raises:
        InputError: it has none, or its decoder is contextual.
    """
    if pipeline.vqvae is None:
        raise InputError(f"{cfg.pipeline} predicts no tokens: give a pipeline of 'gss train prior', not of a twin")
    if pipeline.likelihood is None:
        raise InputError(
            f"the decoder of {cfg.pipeline} is contextual; a joint prior needs a local one: train the posterior with "
            "vq.decoder_type=local"
        )


@torch.no_grad()
def count_tokens(pipeline: GSSPipeline, plain: LabelledImages) -> Tensor:
    """Return how often each token occurs in the masks of a survey, int64 `[V]` on the CPU."""
    likelihood = pipeline.likelihood
    assert likelihood is not None
    counts = torch.zeros(len(likelihood.table), dtype=torch.int64)
    for index in survey(plain):
        tokens = likelihood.tokens(label_pair(plain, index, likelihood.token_stride, likelihood.device)[0])
        counts += torch.bincount(tokens[tokens >= 0].flatten(), minlength=len(counts)).cpu()
    return counts
