"""MaskigeVQModel: the vector-quantised autoencoder of maskiges, stage 1 of generative segmentation.

GSS (arXiv 2303.11316) takes its latent posterior q(z|c) from a frozen DALL-E tokenizer. Masks are far simpler than
photographs, so this model is trained on masks; it has fewer than 3 M parameters, most at latent resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffusers.configuration_utils import ConfigMixin, register_to_config

# A pipeline looks the base class of a component up in the component's own module when it loads it.
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from einops import rearrange
from torch import Tensor

from vqvae.coders import PatchDecoder, PatchEncoder, diffusers_coders
from vqvae.errors import InputSizeError, SettingError
from vqvae.quantizers import Quantizer


@dataclass
class VQEncoderOutput(BaseOutput):
    """Latents before quantisation `[B, D, h, w]` and tokens, int64 `[B, h, w]`."""

    latents: Tensor
    indices: Tensor


@dataclass
class VQModelOutput(BaseOutput):
    """Reconstruction `[B, 3, H, W]`, tokens `[B, h, w]`, scalar quantiser loss, quantised latents `[B, D, h, w]`."""

    sample: Tensor
    indices: Tensor
    loss: Tensor
    latents: Tensor


class MaskigeVQModel(ModelMixin, ConfigMixin):
    """Autoencoder of maskiges: encodes them as tokens and decodes tokens back.

    Args:
        downsample: pixels per cell side f: 4, 8 or 16.
        architecture: "patch" (patch stem, layers at latent resolution) or "diffusers" (diffusers' VAE blocks).
        decoder_type: "local" (a code determines its own cell only, so that p(c|x) is an exact sum) or "contextual"
            (convolutions across cells). "diffusers" is always contextual.
        hidden_dim: channels of the coders at latent resolution.
        depth: residual blocks per coder (per resolution for "diffusers").
        latent_dim: channels D of a code.
        quantizer_type: "vq", "fsq", "lfq", "simvq", or `module:Name` of a module of one's own.
        codebook_size: number of codes V.
        options: further arguments of the quantiser.

    Raises:
        SettingError: an argument is out of range.
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
            raise SettingError(f"downsample={downsample} is not supported: choose 4, 8 or 16")
        if architecture not in ("patch", "diffusers"):
            raise SettingError(f"architecture='{architecture}' is unknown: choose patch or diffusers")
        if decoder_type not in ("local", "contextual"):
            raise SettingError(f"decoder_type='{decoder_type}' is unknown: choose local or contextual")
        if architecture == "diffusers":
            if decoder_type == "local":
                raise SettingError(
                    "decoder_type='local' needs architecture='patch': diffusers' blocks always mix cells"
                )
            self.encoder, self.decoder = diffusers_coders(downsample, hidden_dim, depth, latent_dim)
        else:
            contextual = decoder_type == "contextual"
            sizes = (downsample, hidden_dim, depth, latent_dim)
            self.encoder = PatchEncoder(*sizes, contextual=contextual)
            self.decoder = PatchDecoder(*sizes, contextual=contextual)
        self.quantizer = Quantizer(quantizer_type, codebook_size, latent_dim, options)

    @property
    def token_stride(self) -> int:
        """Pixels per cell side f; the config calls it `downsample`."""
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
        """Encode a maskige `[B, 3, H, W]` in [-1, 1]; the codebook stays as it is.

        Raises:
            InputSizeError: H or W is not a multiple of f.
        """
        latents = self._latents(maskige)
        return VQEncoderOutput(latents=latents, indices=self.quantizer(latents, update=False).indices)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Decode latents `[B, D, h, w]` (codes, or expectations over codes) to a maskige `[B, 3, h*f, w*f]`."""
        return self.decoder(latents)

    def decode_tokens(self, indices: Tensor) -> Tensor:
        """Decode tokens, int64 `[B, h, w]`, to a maskige `[B, 3, h*f, w*f]`."""
        return self.decoder(self.code_embeddings(indices).movedim(-1, 1))

    def code_embeddings(self, indices: Tensor | None = None) -> Tensor:
        """Return the latents `[..., D]` of codes `[...]`, or of all codes `[V, D]`."""
        codes = self.quantizer.codes() if indices is None else self.quantizer.embed(indices)
        return codes.to(self.dtype)

    def code_cells(self) -> Tensor:
        """Decode every code as a cell: `[V, 3, f, f]` in [-1, 1].

        Raises:
            SettingError: the decoder is contextual, so that the cell of a code depends on its neighbours.
        """
        if not self.is_local:
            raise SettingError(
                "decoder_type='contextual' has no per-code cells: use decode_tokens, or train a local decoder"
            )
        return self.decode_codes(self.code_embeddings())

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Decode N separate codes `[N, D]` as cells `[N, 3, f, f]`; for a local decoder."""
        # One picture of 1 x N cells: N pictures of one cell are many times slower.
        strip = self.decoder(codes.t()[None, :, None, :])  # [1, 3, f, N*f]
        return rearrange(strip, "1 c i (n j) -> n c i j", j=self.token_stride)

    def forward(self, maskige: Tensor, return_dict: bool = True) -> VQModelOutput | tuple[Any, ...]:
        """Reconstruct a maskige `[B, 3, H, W]`; in training mode the codebook follows the data.

        Args:
            maskige: `[B, 3, H, W]` in [-1, 1].
            return_dict: False for a tuple of the fields.
        """
        quantized = self.quantizer(self._latents(maskige))
        output = VQModelOutput(
            sample=self.decoder(quantized.latents),
            indices=quantized.indices,
            loss=quantized.loss,
            latents=quantized.latents,
        )
        return output if return_dict else output.to_tuple()

    def _latents(self, maskige: Tensor) -> Tensor:
        f = self.token_stride
        H, W = maskige.shape[-2:]
        if H % f or W % f:
            fit = (-(-H // f) * f, -(-W // f) * f)
            raise InputSizeError(
                f"maskige of {H}x{W} pixels does not divide into cells of {f}: pad it to {fit[0]}x{fit[1]}"
            )
        return self.encoder(maskige)
