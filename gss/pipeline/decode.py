"""From the prior's output to class probabilities: five ways to read one forward pass.

`hard` paints the most likely token of every cell, the paper's way. `marginal` sums over all codes exactly (local
decoders). `expected` paints the expected code (contextual decoders). `aux` reads the auxiliary pixel head, which is
the discriminative twin's way. `fused` is the mean of the two posteriors `marginal` and `aux`. Pipelines with a density
head have two more: `density`, the mixture as a classifier, and `joint`, its `product` with the posterior of the tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from vqvae import MaskigeVQModel

if TYPE_CHECKING:
    from gss.models.prior import GSSPriorOutput


MODES = ("hard", "marginal", "expected", "aux", "fused")


def available_modes(likelihood: CellLikelihood | None, *, tokens: bool = True) -> tuple[str, ...]:
    """The modes a set of components offers.

    Args:
        likelihood: the code table, None for contextual decoders.
        tokens: False for a discriminative twin, whose token classifier is untrained.
    """
    if not tokens:
        return ("aux",)
    return ("hard", "expected", "aux") if likelihood is None else ("hard", "marginal", "aux", "fused")


def decode(
    mode: str,
    output: GSSPriorOutput,
    *,
    vqvae: MaskigeVQModel,
    codec: MaskigeCodec,
    likelihood: CellLikelihood | None = None,
) -> Tensor:
    """Class probabilities `[B, K, H, W]`, float32, at the resolution of the network's input.

    Args:
        mode: one of `MODES`.
        output: the prior's output.
        vqvae: paints tokens.
        codec: turns colours into class logits.
        likelihood: code table; needed by `marginal` and `fused`.

    Raises:
        ValueError: unknown mode, or one that needs a missing component.
    """
    if mode not in MODES:
        raise InputError(f"decode='{mode}' is unknown: choose one of {', '.join(MODES)}")
    if mode in ("marginal", "fused") and likelihood is None:
        raise InputError(f"decode='{mode}' needs a local decoder and its likelihood: use decode='hard' or 'expected'")
    if mode == "aux":
        assert output.aux_logits is not None
        h, w = output.aux_logits.shape[-2:]
        size = (h * vqvae.downsample, w * vqvae.downsample)
        logits = torch.nn.functional.interpolate(output.aux_logits.float(), size=size, mode="bilinear")
        return logits.softmax(1)
    if output.token_logits is None:
        raise InputError(f"decode='{mode}' needs token logits: run the prior with return_tokens=True")
    if mode == "hard":
        maskige = vqvae.decode_tokens(output.token_logits.argmax(1))
        return codec.logits(maskige).float().softmax(1)
    token_probs = output.token_logits.float().softmax(1)
    if mode == "expected":
        codes = vqvae.code_embeddings().float()
        latents = torch.einsum("bvhw,vd->bdhw", token_probs, codes)
        return codec.logits(vqvae.decode_latents(latents.to(vqvae.dtype))).float().softmax(1)
    assert likelihood is not None
    marginal = likelihood.marginal(token_probs)
    if mode == "marginal":
        return marginal
    aux = decode("aux", output, vqvae=vqvae, codec=codec)
    return (marginal + aux) / 2


def product(first: Tensor, second: Tensor, *, floor: float = 1e-6) -> Tensor:
    """Product of two experts: `[B, K, H, W]` class probabilities multiplied and normalised.

    Args:
        first: class probabilities `[B, K, H, W]`.
        second: the same of the other expert.
        floor: least probability of either; neither can forbid a class.
    """
    joint = first.clamp(min=floor) * second.clamp(min=floor)
    return joint / joint.sum(1, keepdim=True)


# Tokens painted at once (2 megapixels at 4 pixels per cell), and rows of context kept around a strip.
PAINT_CELLS = 2**17
PAINT_CONTEXT = 16


def paint_tokens(vqvae: MaskigeVQModel, tokens: Tensor) -> Tensor:
    """Maskige picture, uint8 `[3, h * f, w * f]`, of tokens `[h, w]`.

    Large grids are painted in strips of rows. That is exact for a local decoder; a contextual one sees
    `PAINT_CONTEXT` rows beyond the strip.
    """
    h, w = tokens.shape
    f = vqvae.downsample
    picture = torch.empty(3, h * f, w * f, dtype=torch.uint8, device=tokens.device)
    rows = max(1, PAINT_CELLS // w)
    for top in range(0, h, rows):
        first = max(0, top - PAINT_CONTEXT)
        painted = vqvae.decode_tokens(tokens[None, first : top + rows + PAINT_CONTEXT])[0]
        strip = painted[:, (top - first) * f : (top - first + rows) * f].float()
        picture[:, top * f : (top + rows) * f] = ((strip.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return picture
