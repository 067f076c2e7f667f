"""Stage 1: learn to paint masks with a small vocabulary of codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gss import recon
from gss.cells import class_weights, collage, draw_cells, pixel_weights, to_cells
from gss.config import PosteriorConfig
from gss.data.datasets import LabelledImages
from gss.labels import IGNORE_INDEX, LabelSpace
from gss.likelihood import CellLikelihood, fit_table, log_likelihood
from gss.losses import weighted_cross_entropy
from gss.maskige import MaskigeCodec
from gss.palette import build
from gss.posterior import Posterior
from gss.training.base import Task
from gss.visualize import colorize, contact_sheet
from vqvae import MaskigeVQModel
from vqvae.losses import colour_loss

# Images looked at for class frequencies and for the code table: enough for stable counts on any data set.
_SURVEY_IMAGES = 500
_POOL_CELLS = 60_000
_POOL_UNIFORM = 0.25


class PosteriorTask(Task):
    """Trains codec and VQ model; at the end refines the code table of a local decoder and repaints the codes.

    Args:
        cfg: the run's configuration.
        train: unaugmented training images, for class frequencies and the code table.
        val: validation images.
    """

    export_name = "posterior"

    def __init__(self, cfg: PosteriorConfig, train: LabelledImages, val: LabelledImages) -> None:
        super().__init__()
        self.cfg, self._train_set, self._val_set = cfg, train, val
        space = train.label_space
        self.codec = build_codec(cfg, space)
        self.vqvae = MaskigeVQModel(**vars(cfg.vq))
        self._class_weight = class_weights(count_classes(train), cfg.loss.class_balance)

    @property
    def class_weight(self) -> Tensor:
        """Loss weight of each class `[K]`."""
        return self._class_weight.to(self.device)

    def forward(self, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        """Reconstruction loss of a batch, on a collage of drawn cells where the codec is local."""
        labels, filled = batch["labels"], batch["filled"]
        loss = self.cfg.loss
        if self._is_local:
            f = self.vqvae.downsample
            drawn = draw_cells(labels, f, loss.cells, self.class_weight, loss.uniform_share)
            if len(drawn):
                labels, filled = (collage(to_cells(x, f).flatten(0, 2)[drawn]) for x in (labels, filled))
        maskige = self.codec.encode(filled)
        output = self.vqvae(maskige)
        weight = pixel_weights(labels, self.class_weight)
        if not self._is_local and loss.boundary:
            weight = weight * (1 + loss.boundary * near_boundary(filled))
        pixel = weighted_cross_entropy(self.codec.logits(output.sample), labels, weights=weight)
        colour = colour_loss(output.sample, maskige.detach(), weight)
        total = loss.pixel * pixel + loss.colour * colour + loss.commit * output.loss
        return {
            "loss": total,
            "pixel": pixel.detach(),
            "colour": colour.detach(),
            "commit": output.loss.detach(),
        }

    def validate(self) -> dict[str, float]:
        """Reconstruction of the validation split through the encoder."""
        result = recon.reconstruct(self._posterior(None), self._val_set)
        names = ("miou", "boundary_f", "perplexity", "dead_codes", "dominant_code")
        return {name: float(result["encoder"][name] or 0.0) for name in names}

    def pictures(self) -> dict[str, Image.Image]:
        """Truth, maskige and reconstruction of three validation images."""
        space = self._val_set.label_space
        rows = []
        for index in np.linspace(0, len(self._val_set) - 1, min(3, len(self._val_set))).astype(int):
            labels, filled = recon.label_pair(self._val_set, int(index), self.vqvae.downsample, self.device)
            maskige = self.codec.encode(filled)
            sample = self.vqvae.decode_tokens(self.vqvae.encode(maskige).indices)
            painted = [recon.to_image(x[0]) for x in (maskige, sample)]
            decoded = colorize(self.codec.decode(sample)[0].cpu().numpy(), space.colors)
            rows.append([colorize(labels[0].cpu().numpy(), space.colors), *painted, decoded])
        return {"reconstruction": contact_sheet(rows, ["truth", "maskige", "painted by codes", "decoded"])}

    def export(self, folder: Path) -> None:
        """Writes the posterior; a local one is refined first."""
        likelihood = None
        if self._is_local:
            likelihood = refine(
                self.codec, self.vqvae, self._train_set, self.class_weight, steps=self.cfg.loss.repaint_steps
            )
        self._posterior(likelihood).save_pretrained(folder)

    @property
    def _is_local(self) -> bool:
        """True when a code alone decides the classes of its cell: neither decoder nor inverse look beyond."""
        return self.vqvae.is_local and self.codec.pointwise

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.vqvae.device

    def _posterior(self, likelihood: CellLikelihood | None) -> Posterior:
        return Posterior(self.codec, self.vqvae, likelihood, self._train_set.label_space)


def build_codec(cfg: PosteriorConfig, space: LabelSpace) -> MaskigeCodec:
    """The codec a configuration asks for, for the classes of `space`."""
    codec = cfg.codec
    if codec.palette == "display":
        palette = build("display", space.num_classes, codec.palette_seed, colors=space.colors)
    else:
        palette = build(codec.palette, space.num_classes, codec.palette_seed)
    return MaskigeCodec(
        colors=[[int(v) for v in color] for color in palette],
        inverse=codec.inverse,
        learn_palette=codec.learn_palette,
        temperature=codec.temperature,
        inverse_width=codec.inverse_width,
        inverse_reduction=codec.inverse_reduction,
    )


def survey(dataset: LabelledImages) -> list[int]:
    """Positions of at most 500 images, evenly spread."""
    return np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), _SURVEY_IMAGES)).astype(int)).tolist()


def count_classes(dataset: LabelledImages) -> Tensor:
    """Pixels per class `[K]` over a survey of the data set."""
    counts = np.zeros(IGNORE_INDEX + 1, dtype=np.int64)
    for index in survey(dataset):
        counts += np.bincount(dataset.read(index)[1].ravel(), minlength=len(counts))
    return torch.from_numpy(counts[: dataset.label_space.num_classes])


def near_boundary(labels: Tensor) -> Tensor:
    """1 where one of the 8 neighbours has another class, else 0; float `[B, H, W]`."""
    x = labels[:, None].float()
    high = torch.nn.functional.max_pool2d(x, 3, stride=1, padding=1)
    low = -torch.nn.functional.max_pool2d(-x, 3, stride=1, padding=1)
    return (high != low).float()[:, 0]


@torch.no_grad()
def refine(
    codec: MaskigeCodec, vqvae: MaskigeVQModel, train: LabelledImages, class_weight: Tensor, *, steps: int
) -> CellLikelihood:
    """Turns trained codes into an exact likelihood and repaints them to match.

    1. Hard EM of p(c | z) on drawn training cells, started from what the codes paint.
    2. The decoder is fitted to paint the table's classes, the encoder to choose the table's codes.
    3. p(c | z) becomes the observed class frequencies per code, smoothed by step 1, over the training images.

    Args:
        codec: trained codec with a pointwise inverse.
        vqvae: trained model with a local decoder; its coders are changed in place.
        train: training images without augmentation.
        class_weight: `[K]`, weights of pixels in the choice of codes.
        steps: gradient steps of step 2.
    """
    device, f = vqvae.device, vqvae.downsample
    maps = [recon.label_pair(train, index, f, device) for index in survey(train)]
    per_image = -(-_POOL_CELLS // len(maps))
    drawn = [draw_cells(labels, f, per_image, class_weight, _POOL_UNIFORM) for labels, _ in maps]
    pool, pool_filled = (
        torch.cat([to_cells(pair[i], f).flatten(0, 2)[d] for pair, d in zip(maps, drawn, strict=True)]) for i in (0, 1)
    )
    painted = codec.logits(vqvae.code_cells().float()).softmax(1).clamp(min=1e-3)
    table = fit_table(pool, painted / painted.sum(1, keepdim=True), class_weight)
    table = _keep_uniform_codes(table)

    _repaint(codec, vqvae, table, pool, pool_filled, class_weight, steps)

    likelihood = CellLikelihood(vqvae.codebook_size, codec.num_classes, f).to(device)
    likelihood.set_table(table, class_weight)
    counts = torch.zeros_like(table)
    for labels, _ in maps:
        tokens = likelihood.tokens(labels).flatten()
        cells = to_cells(labels, f).flatten(0, 2)[tokens >= 0]
        observed = torch.zeros(len(cells), *table.shape[1:], device=device)
        observed.scatter_(1, cells.clamp(max=codec.num_classes - 1)[:, None], (cells != IGNORE_INDEX).float()[:, None])
        counts.index_add_(0, tokens[tokens >= 0], observed)
    # Posterior mean of a Dirichlet whose prior is worth two cells of the refined code.
    counts += 2 * table
    likelihood.set_table(counts / counts.sum(1, keepdim=True), class_weight)
    return likelihood


def _keep_uniform_codes(table: Tensor) -> Tensor:
    """Makes sure that every class has a code that shows nothing else; replaces the least decided codes."""
    V, K = table.shape[:2]
    table = table.clone()
    mean = table.mean((2, 3))  # [V, K]
    missing = [k for k in range(K) if mean[:, k].max() < 0.9]
    spare = table.amax(1).mean((1, 2)).argsort()
    for k, v in zip(missing, spare.tolist(), strict=False):
        table[v] = 0.01 / max(K - 1, 1)
        table[v, k] = 0.99
    return table


@torch.enable_grad()
def _repaint(
    codec: MaskigeCodec,
    vqvae: MaskigeVQModel,
    table: Tensor,
    pool: Tensor,
    pool_filled: Tensor,
    class_weight: Tensor,
    steps: int,
) -> None:
    """Fits the decoder to the table's classes, and encoder and free codes to the table's choice of codes."""
    classes = table.argmax(1)  # [V, f, f]
    colours = codec.encode(classes).detach()
    weight = pixel_weights(classes, class_weight.clamp(min=1.0))
    codes = vqvae.code_embeddings().detach().clone()
    parameters: list[Tensor] = [*vqvae.encoder.parameters(), *vqvae.decoder.parameters()]
    if vqvae.quantizer.has_free_codes:
        # Revived codes may be copies of each other; those could never be painted differently.
        codes += 0.1 * codes.std() * torch.randn_like(codes)
        parameters.append(codes.requires_grad_())
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, max(steps, 1), pct_start=0.1)
    for _ in range(steps):
        sample = vqvae.decode_codes(codes)
        decoder_loss = colour_loss(sample, colours, weight)
        decoder_loss = decoder_loss + weighted_cross_entropy(codec.logits(sample), classes, weights=weight)
        rows = torch.randint(len(pool), (32 * 32,), device=pool.device)
        target = log_likelihood(pool[rows], table, class_weight).argmax(1)
        maskige = codec.encode(collage(pool_filled[rows])).detach()
        latents = vqvae.encoder(maskige)[0].flatten(1).t()
        distance = torch.cdist(latents, codes, compute_mode="use_mm_for_euclid_dist").square()
        encoder_loss = torch.nn.functional.cross_entropy(-distance, target)
        optimizer.zero_grad()
        (decoder_loss + encoder_loss).backward()
        optimizer.step()
        schedule.step()
    if vqvae.quantizer.has_free_codes:
        vqvae.quantizer.set_codes(codes.detach())
