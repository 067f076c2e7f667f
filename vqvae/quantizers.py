"""One adapter over the quantisers of vector-quantize-pytorch: VQ-EMA, FSQ, LFQ and SimVQ.

All four map latents `[B, D, h, w]` to int64 indices `[B, h, w]`. Codes are looked up here instead of by
`VectorQuantize.get_output_from_indices`, which confuses the channel axis of image maps (vector-quantize-pytorch 1.32).
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ, LFQ, SimVQ, VectorQuantize

from vqvae.errors import SettingError

# Level counts per number of bits, after Table 1 of "Finite Scalar Quantization" (arXiv 2309.15505), with powers of two
# so that the product is exactly V.
_FSQ_LEVELS: dict[int, tuple[int, ...]] = {
    4: (4, 4),
    5: (8, 4),
    6: (8, 8),
    7: (8, 4, 4),
    8: (8, 8, 4),
    9: (8, 8, 8),
    10: (8, 8, 4, 4),
    11: (8, 8, 8, 4),
    12: (8, 8, 8, 8),
    13: (8, 8, 8, 4, 4),
    14: (8, 8, 8, 8, 4),
    15: (8, 8, 8, 8, 8),
    16: (8, 8, 8, 8, 4, 4),
}


def _build_vq(codebook_size: int, dim: int, options: dict[str, Any]) -> nn.Module:
    defaults: dict[str, Any] = {"kmeans_init": True, "decay": 0.95, "threshold_ema_dead_code": 0.2}
    quantizer = VectorQuantize(
        dim=dim, codebook_size=codebook_size, **{**defaults, "commitment_weight": 1.0, **options}
    )
    codebook: Any = quantizer._codebook
    if not codebook.initted:
        # k-means replaces the codes at the first step of training; until then they would all be 0. A generator of its
        # own leaves the random numbers of the caller as they are.
        start = torch.randn(codebook.embed.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
        codebook.embed.copy_(torch.nn.functional.normalize(start, dim=-1))
    return quantizer


def _build_fsq(codebook_size: int, dim: int, options: dict[str, Any]) -> nn.Module:
    bits = _bits(codebook_size, "fsq")
    if "levels" not in options and bits not in _FSQ_LEVELS:
        raise SettingError(f"codebook_size={codebook_size} has no default FSQ levels: give options.levels")
    levels = list(options.pop("levels", _FSQ_LEVELS.get(bits, ())))
    if math.prod(levels) != codebook_size:
        raise SettingError(f"levels={levels} make {math.prod(levels)} codes, codebook_size is {codebook_size}")
    return FSQ(levels=levels, dim=dim, **options)


def _build_lfq(codebook_size: int, dim: int, options: dict[str, Any]) -> nn.Module:
    _bits(codebook_size, "lfq")
    quantizer = LFQ(codebook_size=codebook_size, dim=dim, **{"entropy_loss_weight": 0.02, **options})
    return quantizer.to(torch.get_default_dtype())  # its codes are float32 whatever its layers are


def _build_simvq(codebook_size: int, dim: int, options: dict[str, Any]) -> nn.Module:
    return SimVQ(dim=dim, codebook_size=codebook_size, **{"rotation_trick": True, **options})


def _bits(codebook_size: int, kind: str) -> int:
    bits = int(math.log2(codebook_size))
    if 2**bits != codebook_size:
        raise SettingError(f"codebook_size={codebook_size} must be a power of two for '{kind}': try {2**bits}")
    return bits


KINDS: dict[str, Callable[[int, int, dict[str, Any]], nn.Module]] = {
    "vq": _build_vq,
    "fsq": _build_fsq,
    "lfq": _build_lfq,
    "simvq": _build_simvq,
}
"""Kind to the function that builds it from codebook size V, latent channels D and options.

The module maps latents `[B, N, D]` to quantised latents, indices `[B, N]` and an auxiliary loss, and its
`indices_to_codes` maps int64 indices `[B, N]` to latents `[B, N, D]`.
"""


def _imported(kind: str) -> Callable[[int, int, dict[str, Any]], nn.Module]:
    """Return the function that builds a quantiser of the user's own, a module `module:Name`.

    Raises:
        SettingError: no such class, or one that is no module with `indices_to_codes`.
    """
    place, colon, name = kind.partition(":")
    if not colon:
        raise SettingError(
            f"quantizer_type='{kind}' is unknown: choose one of {', '.join(KINDS)}, or write module:Name"
        )
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(place), name, None)
    except Exception as error:  # the code of someone else may raise anything
        raise SettingError(f"quantizer_type='{kind}' cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(found, type) or not issubclass(found, nn.Module) or not hasattr(found, "indices_to_codes"):
        raise SettingError(f"quantizer_type='{kind}' is no torch module with indices_to_codes, see docs/extending")
    return lambda codebook_size, dim, options: found(codebook_size, dim, **options)


@dataclass
class QuantizerOutput:
    """Output of a quantiser for a latent map.

    Attributes:
        latents: `[B, D, h, w]`, quantised latents, with the straight-through gradient in training.
        indices: int64 `[B, h, w]`, codes in `0..V-1`.
        loss: scalar auxiliary loss (commitment, entropy); 0 if the quantiser has none.
    """

    latents: Tensor
    indices: Tensor
    loss: Tensor


class Quantizer(nn.Module):
    """Quantiser of latents to V codes.

    Args:
        kind: "vq" (exponential moving average codebook, arXiv 1711.00937), "fsq" (arXiv 2309.15505), "lfq"
            (arXiv 2310.05737), "simvq" (arXiv 2411.02038), or `module:Name` of a module of one's own.
        codebook_size: number of codes V. FSQ and LFQ need a power of two.
        dim: latent channels D.
        options: keyword arguments of the wrapped class, on top of the defaults chosen here.

    Raises:
        SettingError: unknown kind, V below 2, or V not a power of two where one is needed.
    """

    def __init__(self, kind: str, codebook_size: int, dim: int, options: dict[str, Any] | None = None) -> None:
        super().__init__()
        build = KINDS.get(kind) or _imported(kind)
        if codebook_size < 2:
            raise SettingError(f"codebook_size={codebook_size} is too small: give at least 2")
        self.kind, self.codebook_size, self.dim = kind, codebook_size, dim
        try:
            self.wrapped = build(codebook_size, dim, dict(options or {}))
        except (TypeError, AssertionError) as error:
            raise SettingError(f"options={options} do not fit the quantiser '{kind}': {error}") from error

    def forward(self, latents: Tensor, *, update: bool = True) -> QuantizerOutput:
        """Quantise latents `[B, D, h, w]`; with `update=False` training leaves the codebook as it is."""
        grid = {"h": latents.shape[2], "w": latents.shape[3]}
        rows = rearrange(latents, "b d h w -> b (h w) d").float()  # the codebook works in float32,
        rows = rows.to(next(self.wrapped.parameters(), rows).dtype)  # and layers around it in that of their weights
        if self._waits_for_training and not (self.training and update):
            # The library would start the codebook from these latents, in evaluation too.
            codes = self.codes().to(rows.dtype)
            indices = torch.cdist(rows, codes).argmin(-1)
            quantized, loss = codes[indices], rows.new_zeros(())
        elif isinstance(self.wrapped, VectorQuantize):
            quantized, indices, loss = self.wrapped(rows, freeze_codebook=not update)
        elif isinstance(self.wrapped, FSQ):
            quantized, indices = self.wrapped(rows)
            loss = rows.new_zeros(())
        else:
            quantized, indices, loss = self.wrapped(rows)
        quantized = rearrange(quantized, "b (h w) d -> b d h w", **grid).to(latents.dtype)
        return QuantizerOutput(quantized, rearrange(indices, "b (h w) -> b h w", **grid).long(), loss.mean())

    def embed(self, indices: Tensor) -> Tensor:
        """Look up the latents `[..., D]` of codes, int64 `[...]`."""
        rows = indices.reshape(1, -1)
        if isinstance(self.wrapped, VectorQuantize):
            codes = self.wrapped.project_out(self.wrapped.codebook[rows])
        else:
            codes = self.wrapped.indices_to_codes(rows)  # type: ignore[operator]
        return codes.reshape(*indices.shape, self.dim)

    def codes(self) -> Tensor:
        """Return the latents `[V, D]` of all codes."""
        return self.embed(torch.arange(self.codebook_size, device=self.device))

    @property
    def _waits_for_training(self) -> bool:
        return isinstance(self.wrapped, VectorQuantize) and not bool(self.wrapped._codebook.initted)

    @property
    def has_free_codes(self) -> bool:
        """True if codes are plain vectors that `set_codes` can replace."""
        return (
            isinstance(self.wrapped, VectorQuantize)
            and not self.wrapped.has_projections
            and not self.wrapped.use_cosine_sim
        )

    @torch.no_grad()
    def set_codes(self, codes: Tensor) -> None:
        """Replace all codes by `[V, D]`; usage counts restart.

        Raises:
            SettingError: the codes of this quantiser are not free (FSQ, LFQ, SimVQ, cosine or projected VQ).
        """
        if not self.has_free_codes:
            raise SettingError(f"codes of this '{self.kind}' quantiser are not free: train it further instead")
        codebook: Any = self.wrapped._codebook
        codebook.embed.copy_(codes[None])
        codebook.embed_avg.copy_(codes[None])
        codebook.cluster_size.fill_(1.0)
        codebook.initted.fill_(True)

    @property
    def device(self) -> torch.device:
        """Device of the codebook."""
        tensors = [*self.wrapped.parameters(), *self.wrapped.buffers()]
        return tensors[0].device
