"""Tiny pipelines with a joint prior whose every weight says something."""

import torch
from tiny_pipeline import tiny_pipeline

from gss.models.joint import JointPriorModel
from gss.pipeline.pipeline import GSSPipeline


def joint_pipeline(*, seed=1, one_class_codes=False, **options):
    """Return `tiny_pipeline` with a joint prior.

    Args:
        seed: seed of the joint prior.
        one_class_codes: let code z paint class z % K alone, with certainty 0.99.
        options: of `tiny_pipeline`.
    """
    pipeline = tiny_pipeline(**options)
    codes, classes, side = pipeline.likelihood.table.shape[:3]
    if one_class_codes:
        labels = torch.arange(codes) % classes
        table = torch.full((codes, classes, side, side), 0.01 / (classes - 1))
        table[torch.arange(codes), labels] = 0.99
        pipeline.likelihood.set_table(table)
    torch.manual_seed(seed)
    joint = JointPriorModel(codes, classes, side, width=16, levels=2, rank=8, embed_dim=8).eval()
    joint.set_table(pipeline.likelihood.table)
    joint.set_shares(torch.arange(codes) + 1)
    torch.nn.init.normal_(joint.code_head.weight, std=0.3)
    return GSSPipeline(**{**pipeline.components, "joint": joint})
