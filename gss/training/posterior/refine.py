"""The last step of stage 1 for local codecs: an exact likelihood of the codes, and codes that paint it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gss.core.progress import tracked
from gss.core.sampling import evenly_spaced
from gss.data.protocols import LabelledImages
from gss.evaluation import reconstruction as recon
from gss.labels.space import IGNORE_INDEX
from gss.posterior.bundle import Posterior
from gss.posterior.cells import collage, draw_cells, pixel_weights, to_cells
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood, fit_table, log_likelihood
from gss.training.losses.classification import weighted_cross_entropy
from vqvae import MaskigeVQModel
from vqvae.losses import color_loss

# Images looked at for class frequencies and for the code table: enough for stable counts on any data set.
_SURVEY_IMAGES = 500
_POOL_CELLS = 60_000
_POOL_UNIFORM = 0.25
_CALIBRATION_IMAGES = 16
_SMOKE_STEPS = 60


def survey(dataset: LabelledImages, share: float = 1.0) -> list[int]:
    """Return indices of about 500 images, evenly spaced; each domain has the share that training gives it.

    Args:
        dataset: training images.
        share: share of the 500 to take, above 0 and at most 1.
    """
    wanted = math.ceil(share * _SURVEY_IMAGES)
    chosen: list[int] = []
    first, quotas = 0, getattr(dataset, "quotas", ((len(dataset), len(dataset)),))
    total = sum(drawn for _, drawn in quotas)
    for size, drawn in quotas:
        count = min(size, -(-drawn * wanted // total))
        chosen += [first + index for index in evenly_spaced(size, count)]
        first += size
    return chosen


def sample_cells(
    train: LabelledImages, token_stride: int, class_weight: Tensor, *, device: torch.device, share: float = 1.0
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Read the label maps of a survey, and draw cells from them with a preference for rare classes and borders.

    Args:
        train: images without augmentation.
        token_stride: pixels per cell side f.
        class_weight: `[K]`, see `draw_cells`.
        device: device of the cells.
        share: share of images and cells to take, above 0 and at most 1.

    Returns:
        Label maps uint8 `[1, H, W]` on the CPU, padded to whole cells; about 60,000 cells int64 `[N, f, f]` with void
        255, and the same cells with void filled.
    """
    chosen = survey(train, share)
    per_image = -(-math.ceil(share * _POOL_CELLS) // len(chosen))
    maps, parts = [], []
    for index in tracked(chosen, "reading masks for the codes", leave=False):
        labels, filled = recon.label_pair(train, index, token_stride, device)
        drawn = draw_cells(labels, token_stride, per_image, class_weight, _POOL_UNIFORM)
        parts.append([to_cells(x, token_stride).flatten(0, 2)[drawn] for x in (labels, filled)])
        maps.append(labels.byte().cpu())  # hundreds of full-size label maps: one byte a pixel
    pool, pool_filled = (torch.cat(part) for part in zip(*parts, strict=True))
    return maps, pool, pool_filled


def painted_table(codec: MaskigeCodec, vqvae: MaskigeVQModel) -> Tensor:
    """Return class probabilities `[V, K, f, f]` of what each code of a local decoder paints."""
    painted = codec.logits(vqvae.code_cells().float()).softmax(1).clamp(min=1e-3)
    return painted / painted.sum(1, keepdim=True)


@torch.no_grad()
def refine(
    codec: MaskigeCodec,
    vqvae: MaskigeVQModel,
    train: LabelledImages,
    class_weight: Tensor,
    *,
    steps: int,
    share: float = 1.0,
) -> CellLikelihood:
    """Turn trained codes into an exact likelihood, and repaint them to match.

    1. Hard EM of p(c | z) on drawn training cells, started from what the codes paint. Gradient descent through a
       quantiser finds good codes slowly; given the codes, this is a mixture of products of categoricals.
    2. p(c | z) becomes the class frequencies observed per code over the training images, smoothed by step 1: drawn
       cells favour rare classes, and a likelihood must not.
    3. The decoder is fitted to paint the table's classes, the encoder to choose the table's codes.

    Args:
        codec: trained codec with a pointwise inverse.
        vqvae: trained model with a local decoder; encoder, decoder and free codes change in place.
        train: training images without augmentation.
        class_weight: `[K]`, weights of pixels in the choice of codes.
        steps: number of gradient steps of step 3.
        share: share of images, cells and steps to use, above 0 and at most 1; see `smoke_share`.
    """
    maps, pool, pool_filled = sample_cells(train, vqvae.token_stride, class_weight, device=vqvae.device, share=share)
    table = fit_table(pool, painted_table(codec, vqvae), class_weight)

    likelihood = CellLikelihood(vqvae.codebook_size, codec.num_classes, vqvae.token_stride).to(vqvae.device)
    likelihood.set_table(_keep_uniform_codes(table), class_weight)
    uses = count_codes(likelihood, maps)
    _repaint(codec, vqvae, likelihood, uses, pool, pool_filled, math.ceil(share * steps))
    return likelihood


def smoke_share(steps: int) -> float:
    """Return the share of the last step of stage 1 that a training of so few steps gets; 1 from 60 steps on."""
    return min(1.0, steps / _SMOKE_STEPS)


def _keep_uniform_codes(table: Tensor) -> Tensor:
    """Give every class a code that shows nothing else; it replaces one of the least decided codes."""
    K = table.shape[1]
    table = table.clone()
    purity = table.amin((2, 3))  # [V, K]
    missing = [k for k in range(K) if purity[:, k].max() < 0.9]
    spare = table.amax(1).mean((1, 2)).argsort()
    for k, v in zip(missing, spare.tolist(), strict=False):
        table[v] = 0.01 / max(K - 1, 1)
        table[v, k] = 0.99
    return table


def count_codes(likelihood: CellLikelihood, maps: list[Tensor]) -> Tensor:
    """Replace the table by observed class frequencies; return the number of cells that use each code `[V]`.

    Args:
        likelihood: code table that chooses the code of each cell, and then changes in place.
        maps: label maps `[B, H, W]` of whole cells, void 255.
    """
    table, K = likelihood.table.clone(), likelihood.num_classes
    counts, uses = torch.zeros_like(table), torch.zeros(len(table), device=table.device)
    for compact in tracked(maps, "counting codes", leave=False):
        labels = compact.to(table.device).long()
        tokens = likelihood.tokens(labels).flatten()
        cells = to_cells(labels, likelihood.token_stride).flatten(0, 2)[tokens >= 0]
        tokens = tokens[tokens >= 0]
        observed = torch.zeros(len(cells), *table.shape[1:], device=table.device)
        observed.scatter_(1, cells.clamp(max=K - 1)[:, None], (cells != IGNORE_INDEX).float()[:, None])
        counts.index_add_(0, tokens, observed)
        uses += torch.bincount(tokens, minlength=len(uses))
    # Posterior mean of a Dirichlet whose prior is worth two cells of the refined code.
    counts += 2 * table
    likelihood.set_table(counts / counts.sum(1, keepdim=True))
    return uses


@torch.enable_grad()
def _repaint(
    codec: MaskigeCodec,
    vqvae: MaskigeVQModel,
    likelihood: CellLikelihood,
    uses: Tensor,
    pool: Tensor,
    pool_filled: Tensor,
    steps: int,
) -> None:
    """Fit the decoder to the table's classes, and encoder and free codes to the table's choice of codes.

    A quantiser without free codes does not choose by distance, so its encoder stays as it was trained.
    """
    table, class_weight = likelihood.table, likelihood.pixel_weight
    classes = table.argmax(1)  # [V, f, f]
    colours = codec.encode(classes).detach()
    # The few codes that cover most of a picture must be painted cleanly, the many rare ones recognisably.
    weight = (uses / uses.mean()).sqrt().clamp(0.3, 10.0)[:, None, None] * pixel_weights(classes, class_weight.clamp(1))
    codes = vqvae.code_embeddings().detach().clone()
    parameters: list[Tensor] = list(vqvae.decoder.parameters())
    free = vqvae.quantizer.has_free_codes
    if free:
        parameters += vqvae.encoder.parameters()
        # Revived codes may be copies of each other; those could never be painted differently.
        codes += 0.1 * codes.std() * torch.randn_like(codes)
        parameters.append(codes.requires_grad_())
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.0)
    # A warm-up of a single step, that of ten steps, would be divided by its length of 0.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, max(steps, 11), pct_start=0.1)
    for _ in tracked(range(steps), "repainting codes", unit="step", leave=False):
        sample = vqvae.decode_codes(codes)
        loss = 5 * color_loss(sample, colours, weight)
        loss = loss + weighted_cross_entropy(codec.logits(sample), classes, weights=weight)
        if free:
            loss = loss + _choice_loss(codec, vqvae, likelihood, codes, pool, pool_filled)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    if free:
        vqvae.quantizer.set_codes(codes.detach())


def _choice_loss(
    codec: MaskigeCodec,
    vqvae: MaskigeVQModel,
    likelihood: CellLikelihood,
    codes: Tensor,
    pool: Tensor,
    pool_filled: Tensor,
) -> Tensor:
    """Return the cross-entropy of the encoder's nearest code against the table's best code, for 1024 drawn cells."""
    rows = torch.randint(len(pool), (32 * 32,), device=pool.device)
    target = log_likelihood(pool[rows], likelihood.table, likelihood.pixel_weight).argmax(1)
    maskige = codec.encode(collage(pool_filled[rows])).detach()
    latents = vqvae.encoder(maskige)[0].flatten(1).t()
    distance = torch.cdist(latents, codes, compute_mode="use_mm_for_euclid_dist").square()
    return torch.nn.functional.cross_entropy(-distance, target)


@torch.no_grad()
def calibrate(posterior: Posterior, train: LabelledImages) -> None:
    """Set the codec's temperature so that colours painted from tokens give calibrated class probabilities."""
    painted, truth = [], []
    chosen = survey(train)
    for index in chosen[:: max(1, len(chosen) // _CALIBRATION_IMAGES)]:
        vqvae = posterior.vqvae
        labels, filled = recon.label_pair(train, index, vqvae.token_stride, vqvae.device)
        tokens = posterior.tokens(filled, filled)
        # Images may differ in size: their pixels are laid out in one row.
        painted.append(vqvae.decode_tokens(tokens).flatten(2)[:, :, None])
        truth.append(labels.flatten(1)[:, None])
    posterior.codec.calibrate_temperature(torch.cat(painted, -1), torch.cat(truth, -1))
