"""Check that the components of a pipeline belong together."""

from __future__ import annotations

from typing import Any

from gss.core.errors import InputError
from gss.models.density import GMMDensityHead
from gss.models.joint.model import JointPriorModel
from gss.models.prior import GSSPriorModel
from gss.models.residual import ResidualPatternHead
from gss.ood.fitted import FittedScores
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from vqvae import MaskigeVQModel


def check_fit(
    prior: GSSPriorModel,
    codec: MaskigeCodec,
    vqvae: MaskigeVQModel | None,
    likelihood: CellLikelihood | None,
    density: GMMDensityHead | None = None,
    ood: FittedScores | None = None,
    residual: ResidualPatternHead | None = None,
    joint: JointPriorModel | None = None,
) -> None:
    """Check that components are of one training.

    Raises:
        InputError: they are not; the text names what differs.
    """
    facts: list[tuple[str, Any, str, Any]] = [
        ("number of classes", prior.config.num_labels, "codec", codec.num_classes)
    ]
    if vqvae is not None:
        facts += [
            ("codebook size", prior.config.codebook_size, "vqvae", vqvae.codebook_size),
            ("pixels per cell side", prior.config.token_stride, "vqvae", vqvae.token_stride),
        ]
    if likelihood is not None and vqvae is None:
        raise InputError("likelihood is given but vqvae is None; give both or neither")
    if likelihood is not None:
        codes, classes, *cell = likelihood.table.shape
        facts += [
            ("codebook size", prior.config.codebook_size, "likelihood", codes),
            ("number of classes", prior.config.num_labels, "likelihood", classes),
            ("cell", [prior.config.token_stride] * 2, "likelihood", cell),
        ]
    if density is not None:
        facts += [
            ("number of classes", prior.config.num_labels, "density", density.num_classes),
            ("number of feature channels", prior.config.hidden_dim, "density", density.config["feature_dim"]),
        ]
    if density is not None and ood is not None and density.source != ood.source:
        raise InputError(
            f"density describes the features of source={density.source!r}, the fitted scores those of {ood.source!r}: "
            "use both of one 'gss train density'"
        )
    if residual is not None:
        channels = list(residual.config["in_channels"])
        facts += [
            ("channels of the deepest maps", list(prior.backbone.channels)[-len(channels) :], "residual", channels),
            ("number of feature channels", prior.config.hidden_dim, "residual", residual.config["feature_dim"]),
        ]
        if residual.config["target"] == "token" and not prior.config.codebook_size:
            raise InputError("residual perturbs tokens, which this prior does not predict; use one of target 'pixel'")
    if joint is not None:
        if likelihood is None:
            raise InputError("joint needs a local decoder and its likelihood, which this pipeline lacks")
        facts += [
            ("codebook size", prior.config.codebook_size, "joint", joint.config["codebook_size"]),
            ("number of classes", prior.config.num_labels, "joint", joint.config["num_labels"]),
            ("pixels per cell side", prior.config.token_stride, "joint", joint.config["token_stride"]),
        ]
    for what, expected, part, found in facts:
        if expected != found:
            raise InputError(
                f"{what} of the prior is {expected}, of the {part} {found}; use the {part} of its training"
            )
