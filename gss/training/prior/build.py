"""The network that the settings of stage 2 describe."""

from __future__ import annotations

from huggingface_hub.errors import StrictDataclassError

from gss.config.prior import PriorConfig
from gss.core.errors import InputError
from gss.data.protocols import LabelledImages
from gss.models.parts import freeze_parts
from gss.models.prior import GSSPriorModel
from gss.posterior.bundle import Posterior
from gss.training.prior.warm_start import start_from


def build_prior(cfg: PriorConfig, posterior: Posterior, train: LabelledImages, *, tokens: bool) -> GSSPriorModel:
    """Build the prior of a configuration, with the class names of the data.

    Args:
        cfg: settings of the stage.
        posterior: posterior whose codes the prior predicts.
        train: training images, for the class names.
        tokens: False builds the twin, which has no token classifier.

    Raises:
        InputError: settings that do not fit each other, the backbone or the posterior.
    """
    model, names = cfg.model, train.label_space.names
    vqvae = posterior.vqvae
    rank = vqvae.config["latent_dim"] if model.classifier == "tied" else model.classifier_rank
    taken = model.init_parts if model.init_from else []
    try:
        prior = GSSPriorModel.from_backbone(
            model.backbone,
            backbone_config=model.backbone_config,
            pretrained=model.pretrained and "backbone" not in taken,
            codebook_size=vqvae.codebook_size if tokens else 0,
            token_stride=vqvae.token_stride,
            context_stride=max(model.context_stride, vqvae.token_stride),
            hidden_dim=model.hidden_dim,
            depth=model.depth,
            num_heads=model.num_heads,
            window_size=model.window_size,
            classifier=model.classifier,
            classifier_rank=rank,
            dropout=model.dropout,
            shortlists=model.shortlists,
            freeze_batch_norm=model.freeze_batch_norm,
            num_labels=len(names),
        )
    except StrictDataclassError as error:  # not a ValueError
        raise InputError(f"model.backbone_config does not fit: {' '.join(str(error).split())}") from error
    prior.config.id2label = dict(enumerate(names))
    prior.config.label2id = {name: index for index, name in enumerate(names)}
    prior.config.label_colors = [list(color) for color in train.label_space.colors]
    if model.init_from:
        start_from(prior, model.init_from, taken, posterior)
    if model.classifier == "tied" and tokens:
        prior.tie_codebook(vqvae.code_embeddings())
    if model.classifier == "evidence" and tokens:
        if posterior.likelihood is None:
            raise InputError("model.classifier=evidence needs a posterior with a local decoder: use low_rank")
        prior.tie_evidence(posterior.likelihood.table)
    freeze_parts(prior, model.freeze)
    if cfg.train.gradient_checkpointing:
        prior.gradient_checkpointing_enable()
    return prior
