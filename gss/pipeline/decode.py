"""Decoding of the prior's output to class probabilities.

`hard` decodes the most probable token of every cell, as in the paper. `marginal` sums over all codes exactly (local
decoders). `expected` decodes the expected code (contextual decoders). `aux` is the auxiliary pixel head, as in the
discriminative twin. `fused` is the mean of `marginal` and `aux`. Pipelines with a density head have two more:
`density`, the mixture as a classifier, and `joint`, its `product` with `marginal` or `hard`. Pipelines with a joint
prior have `refined`, the mean of exact marginals along sampling paths, see `gss.pipeline.sampling.refined`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gss.core.errors import InputError, unknown_name
from gss.core.lookup.plugins import find_plugin
from gss.pipeline.modes import MODES, unknown_mode
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from vqvae import MaskigeVQModel

if TYPE_CHECKING:
    from gss.models.prior import GSSPriorOutput


def decode(
    mode: str,
    output: GSSPriorOutput,
    *,
    vqvae: MaskigeVQModel,
    codec: MaskigeCodec,
    likelihood: CellLikelihood | None = None,
) -> Tensor:
    """Decode class probabilities, float32 `[B, K, H, W]`, at the resolution of the network's input.

    Args:
        mode: one of `MODES`.
        output: output of the prior.
        vqvae: decoder of tokens.
        codec: converter of colours to class logits.
        likelihood: code table, needed by `marginal` and `fused`.

    Raises:
        InputError: unknown mode, or one that needs a missing component.
    """
    if mode not in MODES:
        raise unknown_name("decode mode", mode, MODES)
    if mode in ("marginal", "fused") and likelihood is None:
        raise InputError(f"decode='{mode}' needs a local decoder and its likelihood: use decode='hard' or 'expected'")
    if mode == "aux":
        assert output.aux_logits is not None
        h, w = output.aux_logits.shape[-2:]
        size = (h * vqvae.token_stride, w * vqvae.token_stride)
        logits = torch.nn.functional.interpolate(output.aux_logits.float(), size=size, mode="bilinear")
        return logits.softmax(1)
    if output.token_logits is None:
        raise InputError(f"decode='{mode}' needs token logits: run the prior with return_tokens=True")
    if mode == "hard":
        maskige = vqvae.decode_tokens(output.token_logits.argmax(1))
        return codec.logits(maskige).float().softmax(1)
    token_probs = output.token_logits.float().softmax(1)  # [B, V, h, w]
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
    """Multiply two class probabilities and normalise the result, `[B, K, H, W]`.

    Args:
        first: class probabilities `[B, K, H, W]`.
        second: class probabilities `[B, K, H, W]`.
        floor: least probability of a class in either, so that neither can exclude one.
    """
    joint = first.clamp(min=floor) * second.clamp(min=floor)
    return joint / joint.sum(1, keepdim=True)


# Number of tokens in a strip (2 megapixels at 4 pixels per cell), and rows of context around it.
PAINT_CELLS = 2**17
PAINT_CONTEXT = 16


def paint_tokens(vqvae: MaskigeVQModel, tokens: Tensor) -> Tensor:
    """Decode tokens `[h, w]` to a maskige picture, uint8 `[3, h*f, w*f]`.

    Large grids are decoded in strips of rows. This is exact for a local decoder; a contextual one reads
    `PAINT_CONTEXT` rows beyond the strip.
    """
    h, w = tokens.shape
    f = vqvae.token_stride
    picture = torch.empty(3, h * f, w * f, dtype=torch.uint8, device=tokens.device)
    rows = max(1, PAINT_CELLS // w)
    for top in range(0, h, rows):
        first = max(0, top - PAINT_CONTEXT)
        painted = vqvae.decode_tokens(tokens[None, first : top + rows + PAINT_CONTEXT])[0]
        strip = painted[:, (top - first) * f : (top - first + rows) * f].float()
        picture[:, top * f : (top + rows) * f] = ((strip.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return picture


OwnDecode = Callable[[Mapping[str, Tensor]], Tensor]
"""Class probabilities float32 `[B, K, H, W]` by decode mode to those of the new mode, of the same shape."""


def find_decode(name: str) -> tuple[OwnDecode, tuple[str, ...]] | None:
    """Return the function of a decode mode and the modes that it reads; None for a name that is no plugin's.

    Args:
        name: `module:Name` of a function with the attribute `modes`, or the name of an entry point of `gss.decode`.

    Raises:
        InputError: it cannot be imported or called, or does not state the modes that it reads.
    """
    found = find_plugin(name, "decode")
    if found is None:
        return None
    modes = getattr(found, "modes", None)
    if not callable(found) or isinstance(found, type) or not isinstance(modes, list | tuple) or not modes:
        raise InputError(
            f"decode={name!r}: must be a function that states the modes it reads, such as "
            f'{name.partition(":")[2]}.modes = ("aux",); docs/extending/decode.md shows a complete example'
        )
    return found, tuple(modes)


def modes_read(name: str) -> tuple[str, ...]:
    """Return the modes that a decode mode of the user's own reads; none for other modes."""
    found = find_decode(name) if ":" in name else None
    return () if found is None else found[1]


def check_decode(name: str, known: Collection[str]) -> None:
    """Require a decode mode of the user's own whose modes a pipeline has.

    Args:
        name: decode mode that the pipeline does not have itself.
        known: decode modes of the pipeline.

    Raises:
        InputError: it is none, or reads a mode that the pipeline lacks.
    """
    found = find_decode(name)
    if found is None:
        raise unknown_mode(name, known)
    for mode in found[1]:
        if mode not in known:
            raise unknown_name("decode mode", mode, known, where=name)


def run_decode(name: str, maps: Mapping[str, Tensor]) -> Tensor:
    """Return the class probabilities of a decode mode of the user's own, `[B, K, H, W]`.

    Raises:
        InputError: it gives another shape, or what are no probabilities; the message says what is allowed.
    """
    found = find_decode(name)
    assert found is not None
    result, like = found[0](maps), next(iter(maps.values()))
    if not isinstance(result, Tensor):
        problem = f"gives a {type(result).__name__}"
    elif result.shape != like.shape:
        problem = f"gives the shape {list(result.shape)}"
    else:
        result = result.float()
        problem = _no_probabilities(result)
    if problem:
        raise InputError(
            f"decode={name!r} {problem}; a decode mode gives a tensor of the shape of its inputs, here "
            f"{list(like.shape)}, with numbers from 0 to 1 that add up to 1 over the classes (axis 1): divide by "
            ".sum(1, keepdim=True), as docs/extending/decode.md shows"
        )
    return result


_TOLERANCE = 1e-3  # of the sum over the classes; networks may run in half precision


def _no_probabilities(maps: Tensor) -> str:
    """Return what is wrong with class probabilities `[B, K, H, W]`; empty if nothing is."""
    if not maps.numel():
        return ""
    sums = maps.sum(1)
    # One transfer from the device for all figures; NaN and infinity reach the sums.
    low, high, least, most = torch.stack([maps.amin(), maps.amax(), sums.amin(), sums.amax()]).tolist()
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(least) and math.isfinite(most)):
        return "gives numbers that are not finite"
    if low < -_TOLERANCE or high > 1 + _TOLERANCE:
        return f"gives numbers from {low:.4g} to {high:.4g}"
    if least < 1 - _TOLERANCE or most > 1 + _TOLERANCE:
        return f"gives probabilities whose sums over the classes go from {least:.4g} to {most:.4g}"
    return ""
