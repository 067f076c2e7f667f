"""Settings of `gss train posterior`."""

from dataclasses import dataclass, field
from typing import Any, Literal

from gss.config.limits import limits
from gss.config.shared import DataConfig, OptimConfig, TrainConfig, WeakConfig


@dataclass
class CodecConfig:
    """Labels to colors and back (maskige).

    Attributes:
        palette: choice of class colors; display takes those of the data set, list those of `colors`
        colors: one [red, green, blue] per class for the palette list
        palette_seed: seed of the palettes random and jitter
        inverse: decision for a class by the nearest color, or by a learned conv or swin network
        learn_palette: train the colors together with the quantiser
        temperature: squared color distance (0..255 scale) that lowers a class by one nat
        inverse_width: channels of a learned inverse
        inverse_reduction: factor by which a learned inverse lowers the resolution it works at
    """

    palette: Literal["maxmin", "lattice", "random", "jitter", "display", "list"] = "maxmin"
    colors: list[list[int]] | None = None
    palette_seed: int = limits(0, low=0)
    inverse: Literal["nearest", "conv", "swin"] = "nearest"
    learn_palette: bool = False
    temperature: float = limits(900.0, low=1e-6)
    inverse_width: int = limits(64, low=1)
    inverse_reduction: int = limits(2, low=1)


@dataclass
class VQConfig:
    """Vector-quantised autoencoder of maskige (stage 1).

    Attributes:
        downsample: pixels per token along each side
        architecture: patch (small, most work at token resolution) or the blocks of diffusers
        decoder_type: local (a token decides its own cell alone) or contextual (convolutions across cells)
        hidden_dim: channels at token resolution
        depth: residual blocks at token resolution
        latent_dim: dimension of a code
        quantizer_type: vq (moving-average codebook), fsq, lfq, simvq, or module:Name of your own (docs/extending)
        codebook_size: number of codes
        options: further arguments of the quantiser
    """

    downsample: int = limits(4, choices=(4, 8, 16))
    architecture: Literal["patch", "diffusers"] = "patch"
    decoder_type: Literal["local", "contextual"] = "local"
    hidden_dim: int = limits(192, low=1)
    depth: int = limits(2, low=0)
    latent_dim: int = limits(16, low=1)
    quantizer_type: str = "vq"
    codebook_size: int = limits(1024, low=2)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class PosteriorLossConfig:
    """Weights of the stage 1 loss.

    Attributes:
        commit: commitment of the encoder to its codes
        pixel: class cross-entropy through the codec
        colour: L1 + L2 distance of the maskige
        class_balance: exponent of 1 / pixel frequency in the weight of a class; 0 weighs classes by their pixels
        boundary: extra weight of pixels at class boundaries; contextual decoder only, a local one draws cells
        cells: cells drawn from a batch for a local decoder; rare classes and boundaries are preferred
        uniform_share: share of one-class cells among those drawn
        repaint_steps: steps that fit a local decoder to the refined code table at the end (fewer if train.steps < 60)
    """

    commit: float = limits(0.25, low=0.0)
    pixel: float = limits(1.0, low=0.0)
    colour: float = limits(1.0, low=0.0)
    class_balance: float = limits(0.5, low=0.0, high=2.0)
    boundary: float = limits(1.0, low=0.0)
    cells: int = limits(4096, low=1)
    uniform_share: float = limits(0.05, low=0.0, high=1.0)
    repaint_steps: int = limits(500, low=0)


@dataclass
class PosteriorConfig:
    """Stage 1: how masks become tokens and back.

    Attributes:
        stage: mark of a stage 1 config
    """

    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    codec: CodecConfig = field(default_factory=CodecConfig)
    vq: VQConfig = field(default_factory=VQConfig)
    loss: PosteriorLossConfig = field(default_factory=PosteriorLossConfig)
    weak: WeakConfig = field(default_factory=WeakConfig)
    stage: Literal["posterior"] = "posterior"
