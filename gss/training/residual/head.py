"""A new residual pattern head for a trained pipeline."""

from __future__ import annotations

from gss.config.residual import ResidualConfig
from gss.core.errors import InputError
from gss.models.residual import ResidualPatternHead
from gss.pipeline.pipeline import GSSPipeline


def build_head(cfg: ResidualConfig, pipeline: GSSPipeline) -> ResidualPatternHead:
    """Return a head that does not change the logits yet.

    Raises:
        InputError: the pipeline lacks what the head is to perturb, or the backbone has fewer levels.
    """
    model, prior = cfg.model, pipeline.prior
    if model.target == "pixel" and not bool(prior.aux_head.bias.any()):
        # Its bias starts at exactly zero, and no step of training leaves it there.
        raise InputError(
            f"the auxiliary pixel head of {cfg.pipeline} was never trained: train the prior with loss.aux above 0, "
            "or set model.target=token"
        )
    if model.target == "token" and pipeline.vqvae is None:
        raise InputError(f"{cfg.pipeline} predicts no tokens, so model.target=token has none to perturb; use pixel")
    channels = [int(count) for count in prior.backbone.channels]
    if model.levels > len(channels):
        raise InputError(f"model.levels={model.levels}, but the backbone gives {len(channels)} maps; use at most those")
    head = ResidualPatternHead(
        in_channels=channels[-model.levels :],
        feature_dim=prior.config.hidden_dim,
        width=model.width,
        rates=list(model.rates),
        target=model.target,
    )
    head.copy_fusion(prior.fusion)
    return head
