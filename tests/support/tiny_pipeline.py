"""A real pipeline of tiny components: Swin prior, VQ with V = 64, K = 5."""

import torch

from gss.models.config import GSSPriorConfig
from gss.models.prior import GSSPriorModel
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.processor import GSSImageProcessor
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from gss.posterior.palette import maxmin
from vqvae import MaskigeVQModel

NAMES = ["road", "sky", "tree", "car", "pole"]


def tiny_pipeline(
    *, decoder_type="local", likelihood=True, vqvae=True, classes=5, codes=64, classifier="low_rank", **processor
):
    torch.manual_seed(0)
    swin = {
        "model_type": "swin",
        "embed_dim": 16,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 2, 4, 8],
        "window_size": 4,
        "image_size": 64,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }
    config = GSSPriorConfig(
        backbone_config=swin,
        codebook_size=codes,
        token_stride=4,
        hidden_dim=32,
        depth=1,
        num_heads=2,
        classifier=classifier,
        classifier_rank=16,
        id2label=dict(enumerate(NAMES[:classes])),
        label2id={name: index for index, name in enumerate(NAMES[:classes])},
    )
    prior = GSSPriorModel(config).eval()
    with torch.no_grad():
        # Freshly initialised heads say nearly the same everywhere; tests want masks with several classes.
        for name, head in prior.named_children():
            if name in ("token_head", "aux_head"):
                head.weight.mul_(50)
    painter = None
    if vqvae:
        painter = MaskigeVQModel(
            decoder_type=decoder_type, codebook_size=codes, hidden_dim=32, depth=1, latent_dim=8
        ).eval()
    table = None
    if likelihood and vqvae:
        table = CellLikelihood(codes, classes, 4)
        table.set_table(torch.randn(codes, classes, 4, 4).mul(3).softmax(1))
    codec = MaskigeCodec(maxmin(classes).tolist()).eval()
    return GSSPipeline(GSSImageProcessor(**processor), prior, codec, painter, table)
