"""Latent posterior: a vector-quantised autoencoder for images of masks (maskiges)."""

from typing import TYPE_CHECKING, Any

from vqvae.errors import InputSizeError, SettingError
from vqvae.model import MaskigeVQModel, VQEncoderOutput, VQModelOutput
from vqvae.quantizers import Quantizer, QuantizerOutput

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    """Import `CodebookUsage` on first use: torchmetrics takes seconds, and decoding does not need it."""
    if name != "CodebookUsage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vqvae.usage import CodebookUsage

    return CodebookUsage
