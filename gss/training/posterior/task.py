"""Task of stage 1: learn to paint masks with a small vocabulary of codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gss.config.posterior import PosteriorConfig
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.protocols import LabelledImages
from gss.evaluation import reconstruction as recon
from gss.evaluation.segmentation.result import domain_means
from gss.labels.colors import class_colors, voc_colors
from gss.labels.counts import count_labels
from gss.labels.space import LabelSpace
from gss.metrics.means import or_nan
from gss.posterior.bundle import Posterior
from gss.posterior.cells import class_weights, collage, draw_cells, pixel_weights, to_cells
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from gss.posterior.palette import build, from_list
from gss.report.pictures import colorize, contact_sheet
from gss.training.engine.task import Task
from gss.training.losses.classification import weighted_cross_entropy
from gss.training.posterior.refine import calibrate, refine, smoke_share, survey
from gss.weak.confidence import ConfidenceWeighting
from vqvae import MaskigeVQModel, SettingError
from vqvae.losses import color_loss


class PosteriorTask(Task):
    """Codec and VQ model in training; the export refines the code table of a local decoder and repaints the codes.

    Args:
        cfg: settings of the stage.
        train: unaugmented training images, for class frequencies and the code table.
        val: validation images.
    """

    export_name = "posterior"

    def __init__(self, cfg: PosteriorConfig, train: LabelledImages, val: LabelledImages) -> None:
        super().__init__()
        self.cfg, self._train_set, self._val_set = cfg, train, val
        space, f, crop = train.label_space, cfg.vq.downsample, cfg.data.crop
        if crop[0] % f or crop[1] % f:
            raise InputError(f"data.crop={list(crop)} does not divide into cells of {f} pixels: use multiples of {f}")
        self.codec = build_codec(cfg, space)
        try:
            self.vqvae = MaskigeVQModel(**vars(cfg.vq))
        except SettingError as error:
            raise InputError(f"vq: {error}") from error
        self._class_weight = class_weights(count_classes(train), cfg.loss.class_balance)
        self.confidence = ConfidenceWeighting(cfg.weak, train)

    @property
    def class_weight(self) -> Tensor:
        """Loss weight of each class, float32 `[K]`."""
        return self._class_weight.to(self.device)

    def forward(self, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        """Return the reconstruction loss of a batch, on a collage of drawn cells where the codec is local."""
        # Only which pixels count: a doubtful mask is still a mask, and stage 1 learns what masks look like.
        labels, filled = self.confidence(batch["labels"], batch.get("confidence")).labels, batch["filled"]
        loss = self.cfg.loss
        if self._is_local:
            f = self.vqvae.token_stride
            drawn = draw_cells(labels, f, loss.cells, self.class_weight, loss.uniform_share)
            if len(drawn):
                labels, filled = (collage(to_cells(x, f).flatten(0, 2)[drawn]) for x in (labels, filled))
        maskige = self.codec.encode(filled)
        output = self.vqvae(maskige)
        weight = pixel_weights(labels, self.class_weight)
        if not self._is_local and loss.boundary:
            weight = weight * (1 + loss.boundary * near_boundary(filled))
        pixel = weighted_cross_entropy(self.codec.logits(output.sample), labels, weights=weight)
        colour = color_loss(output.sample, maskige.detach(), weight)
        total = loss.pixel * pixel + loss.colour * colour + loss.commit * output.loss
        return {
            "loss": total,
            "pixel": pixel.detach(),
            "colour": colour.detach(),
            "commit": output.loss.detach(),
        }

    def validate(self) -> dict[str, float]:
        """Reconstruct the validation split through the encoder."""
        result = recon.reconstruct(self._posterior(None), self._val_set).encoder
        names = ("miou", "boundary_f", "perplexity", "dead_codes", "dominant_code")
        values = {name: or_nan(result[name]) for name in names}
        return values | domain_means("miou", result.domains, "miou")

    def pictures(self) -> dict[str, Image.Image]:
        """Draw truth, maskige and reconstruction of three validation images."""
        space = self._val_set.label_space
        rows = []
        for index in evenly_spaced(len(self._val_set), 3):
            labels, filled = recon.label_pair(self._val_set, int(index), self.vqvae.token_stride, self.device)
            maskige = self.codec.encode(filled)
            sample = self.vqvae.decode_tokens(self.vqvae.encode(maskige).indices)
            painted = [recon.to_image(x[0]) for x in (maskige, sample)]
            decoded = colorize(self.codec.decode(sample)[0].cpu().numpy(), space.colors)
            rows.append([colorize(labels[0].cpu().numpy(), space.colors), *painted, decoded])
        return {"reconstruction": contact_sheet(rows, ["truth", "maskige", "painted by codes", "decoded"])}

    def export(self, folder: Path) -> None:
        """Write the posterior; a local one is refined first."""
        likelihood = None
        if self._is_local:
            likelihood = refine(
                self.codec,
                self.vqvae,
                self._train_set,
                self.class_weight,
                steps=self.cfg.loss.repaint_steps,
                share=smoke_share(self.cfg.train.steps),
            )
        posterior = self._posterior(likelihood)
        if self.cfg.codec.inverse == "nearest":
            calibrate(posterior, self._train_set)
        posterior.save_pretrained(folder)

    @property
    def _is_local(self) -> bool:
        """True when a code alone decides the classes of its cell, without its neighbours."""
        return self.vqvae.is_local and self.codec.pointwise

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.vqvae.device

    def _posterior(self, likelihood: CellLikelihood | None) -> Posterior:
        return Posterior(self.codec, self.vqvae, likelihood, self._train_set.label_space)


def build_codec(cfg: PosteriorConfig, space: LabelSpace) -> MaskigeCodec:
    """Build the codec of a configuration for the classes of `space`."""
    codec = cfg.codec
    if codec.palette == "list":
        palette = from_list(codec.colors or [])
        if len(palette) != space.num_classes:
            raise InputError(f"codec.colors has {len(palette)} colours for {space.num_classes} classes: give one each")
    else:
        stated = space.colors != class_colors(space.names)
        colors = (space.colors if stated else voc_colors(space.num_classes)) if codec.palette == "display" else None
        palette = build(codec.palette, space.num_classes, codec.palette_seed, colors=colors)
    return MaskigeCodec(
        colors=[[int(v) for v in color] for color in palette],
        inverse=codec.inverse,
        learn_palette=codec.learn_palette,
        temperature=codec.temperature,
        inverse_width=codec.inverse_width,
        inverse_reduction=codec.inverse_reduction,
    )


def count_classes(dataset: LabelledImages) -> Tensor:
    """Count the pixels of each class, int64 `[K]`, over a survey of the data set."""
    counts = [count_labels(dataset.read(index)[1]) for index in survey(dataset)]
    return torch.from_numpy(np.sum(counts, axis=0)[: dataset.label_space.num_classes])


def near_boundary(labels: Tensor) -> Tensor:
    """Return 1 where one of the 8 neighbours has another class, else 0; float32 `[B, H, W]`."""
    x = labels[:, None].float()
    high = torch.nn.functional.max_pool2d(x, 3, stride=1, padding=1)
    low = -torch.nn.functional.max_pool2d(-x, 3, stride=1, padding=1)
    return (high != low).float()[:, 0]
