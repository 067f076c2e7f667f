"""The latent posterior: a vector-quantised autoencoder for images of masks (maskiges)."""

from vqvae.model import MaskigeVQModel, VQEncoderOutput, VQModelOutput
from vqvae.quantizers import Quantizer, QuantizerOutput
from vqvae.usage import CodebookUsage

__all__ = [
    "CodebookUsage",
    "MaskigeVQModel",
    "Quantizer",
    "QuantizerOutput",
    "VQEncoderOutput",
    "VQModelOutput",
]
