"""Latent posterior: a vector-quantised autoencoder for images of masks (maskiges)."""

from vqvae.errors import InputSizeError, SettingError
from vqvae.model import MaskigeVQModel, VQEncoderOutput, VQModelOutput
from vqvae.quantizers import Quantizer, QuantizerOutput
from vqvae.usage import CodebookUsage

__all__ = [
    "CodebookUsage",
    "InputSizeError",
    "MaskigeVQModel",
    "Quantizer",
    "QuantizerOutput",
    "SettingError",
    "VQEncoderOutput",
    "VQModelOutput",
]
