"""MaskigeVQModel: the vector-quantised autoencoder of maskiges, stage 1 of generative segmentation.

GSS (arXiv 2303.11316) takes its latent posterior q(z|c) from a frozen DALL-E tokenizer. Masks are far simpler than
photographs, so this one is trained on masks: well under 3 M parameters, most work at latent resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffusers.configuration_utils import ConfigMixin, register_to_config

# A pipeline looks the base class of a component up in the component's own module when it loads it.
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from torch import Tensor

from vqvae.coders import PatchDecoder, PatchEncoder, diffusers_coders
from vqvae.quantizers import Quantizer


@dataclass
class VQEncoderOutput(BaseOutput):
    """Latents before quantisation `[B, D, h, w]` and int64 token indices `[B, h, w]`."""

    latents: Tensor
    indices: Tensor


@dataclass
class VQModelOutput(BaseOutput):
    """Reconstructed maskige `[B, 3, H, W]`, tokens `[B, h, w]`, quantiser loss (scalar), quantised latents."""

    sample: Tensor
    indices: Tensor
    loss: Tensor
    latents: Tensor


class MaskigeVQModel(ModelMixin, ConfigMixin):
    """Encodes a maskige into tokens and paints tokens back into a maskige.

    Args:
        downsample: pixels per cell side f: 4, 8 or 16.
        architecture: "patch" (patchify stem, work at latent resolution) or "diffusers" (diffusers' VAE blocks).
        decoder_type: "local" (a code paints its own cell and nothing else, so that p(c|x) is an exact sum) or
            "contextual" (convolutions across cells). "diffusers" is always contextual.
        hidden_dim: channels of the coders at latent resolution.
        depth: residual blocks per coder (per resolution for "diffusers").
        latent_dim: channels D of a code.
        quantizer_type: "vq", "fsq", "lfq" or "simvq".
        codebook_size: number of codes V.
        options: further arguments of the quantiser.

    Raises:
        ValueError: an argument outside what is listed above.
    """

    @register_to_config
    def __init__(
        self,
        downsample: int = 4,
        architecture: str = "patch",
        decoder_type: str = "local",
        hidden_dim: int = 192,
        depth: int = 2,
        latent_dim: int = 16,
        quantizer_type: str = "vq",
        codebook_size: int = 1024,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if downsample not in (4, 8, 16):
            raise ValueError(f"downsample={downsample} is not supported: choose 4, 8 or 16")
        if architecture not in ("patch", "diffusers"):
            raise ValueError(f"architecture='{architecture}' is unknown: choose patch or diffusers")
        if decoder_type not in ("local", "contextual"):
            raise ValueError(f"decoder_type='{decoder_type}' is unknown: choose local or contextual")
        if architecture == "diffusers":
            if decoder_type == "local":
                raise ValueError("decoder_type='local' needs architecture='patch': diffusers' blocks always mix cells")
            self.encoder, self.decoder = diffusers_coders(downsample, hidden_dim, depth, latent_dim)
        else:
            contextual = decoder_type == "contextual"
            sizes = (downsample, hidden_dim, depth, latent_dim)
            self.encoder = PatchEncoder(*sizes, contextual=contextual)
            self.decoder = PatchDecoder(*sizes, contextual=contextual)
        self.quantizer = Quantizer(quantizer_type, codebook_size, latent_dim, options)

    @property
    def downsample(self) -> int:
        """Pixels per cell side f."""
        return self.config["downsample"]

    @property
    def codebook_size(self) -> int:
        """Number of codes V."""
        return self.config["codebook_size"]

    @property
    def is_local(self) -> bool:
        """True when a code determines its own cell alone."""
        return self.config["decoder_type"] == "local"

    def encode(self, maskige: Tensor) -> VQEncoderOutput:
        """Tokens of a maskige `[B, 3, H, W]` in [-1, 1]; never moves the codebook.

        Raises:
            ValueError: H or W is not a multiple of f.
        """
        latents = self._latents(maskige)
        return VQEncoderOutput(latents=latents, indices=self.quantizer(latents, update=False).indices)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Paints latents `[B, D, h, w]` (codes, or expectations over codes) as a maskige `[B, 3, h*f, w*f]`."""
        return self.decoder(latents)

    def decode_tokens(self, indices: Tensor) -> Tensor:
        """Paints int64 tokens `[B, h, w]` as a maskige `[B, 3, h*f, w*f]`."""
        return self.decoder(self.code_embeddings(indices).movedim(-1, 1))

    def code_embeddings(self, indices: Tensor | None = None) -> Tensor:
        """Latents `[..., D]` of the given codes, or of all codes `[V, D]`."""
        codes = self.quantizer.codes() if indices is None else self.quantizer.embed(indices)
        return codes.to(self.dtype)

    def code_cells(self) -> Tensor:
        """What every code paints: `[V, 3, f, f]` in [-1, 1].

        Raises:
            ValueError: the decoder is contextual, so that a code alone paints nothing definite.
        """
        if not self.is_local:
            raise ValueError(
                "decoder_type='contextual' has no per-code cells: use decode_tokens, or train a local decoder"
            )
        return self.decode_codes(self.code_embeddings())

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Paints N separate codes `[N, D]` as cells `[N, 3, f, f]`; for a local decoder."""
        # One picture of 1 x N cells: N pictures of one cell are many times slower.
        strip = self.decoder(codes.t()[None, :, None, :])  # [1, 3, f, N*f]
        f = self.downsample
        return strip[0].reshape(3, f, -1, f).permute(2, 0, 1, 3)

    def forward(self, maskige: Tensor) -> VQModelOutput:
        """Reconstructs a maskige `[B, 3, H, W]`; in training mode the codebook follows the data."""
        quantized = self.quantizer(self._latents(maskige))
        return VQModelOutput(
            sample=self.decoder(quantized.latents),
            indices=quantized.indices,
            loss=quantized.loss,
            latents=quantized.latents,
        )

    def _latents(self, maskige: Tensor) -> Tensor:
        f = self.downsample
        H, W = maskige.shape[-2:]
        if H % f or W % f:
            fit = (-(-H // f) * f, -(-W // f) * f)
            raise ValueError(
                f"maskige of {H}x{W} pixels does not divide into cells of {f}: pad it to {fit[0]}x{fit[1]}"
            )
        return self.encoder(maskige)
