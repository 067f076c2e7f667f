"""Every setting of a training run, as typed dataclasses with their defaults.

`gss config posterior|prior` prints them as YAML together with the descriptions below. A config file states
only what differs. Reading and checking is done by `load_config` (see gss/config_io.py).
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from gss.config_agmm import AgmmConfig
from gss.config_io import config_root, limits, load_config, save_config, to_yaml

__all__ = [
    "CodecConfig",
    "DataConfig",
    "OptimConfig",
    "PosteriorConfig",
    "PosteriorLossConfig",
    "PriorConfig",
    "PriorLossConfig",
    "PriorModelConfig",
    "TrainConfig",
    "VQConfig",
    "WeakConfig",
    "config_root",
    "load_config",
    "save_config",
    "to_yaml",
]


@dataclass
class DataConfig:
    """Which data set is read and how training images are augmented.

    Attributes:
        spec: built-in data set (configs/data), path of a spec in YAML, or a folder of images and masks
        root: folder of the data set, in place of the one in the spec
        train_split: split trained on
        val_split: split validated on; SPEC:SPLIT for one of another data set with the same classes
        sampling: share of each domain of a mixture: equal, proportional, temperature:T, or numbers with commas
        size: [height, width] that images and masks are resized to when read, before augmentation
        crop: [height, width] of a training crop in pixels
        scale: smallest and largest random resize before cropping
        flip: probability of mirroring left to right
        photometric: probability of changing brightness, contrast, saturation and hue
        max_class_ratio: a crop where one class covers more than this is drawn again a few times
        shift: probability of a random weather or camera effect at a random severity (docs/shifts.md)
        shifts: effects and groups of effects to draw from, such as [noise, fog]; all when empty
        cache: keep decoded images in memory
        workers: processes that load data; 0 loads in the main process
    """

    spec: str = "scenes"
    root: str | None = None
    train_split: str = "train"
    val_split: str = "val"
    sampling: str = "equal"
    size: tuple[int, int] | None = limits(None, low=1)
    crop: tuple[int, int] = limits((192, 256), low=1)
    scale: tuple[float, float] = limits((0.5, 2.0), low=0.01, high=100.0)
    flip: float = limits(0.5, low=0.0, high=1.0)
    photometric: float = limits(0.5, low=0.0, high=1.0)
    max_class_ratio: float = limits(0.75, low=0.0, high=1.0)
    shift: float = limits(0.0, low=0.0, high=1.0)
    shifts: list[str] = field(default_factory=list)
    cache: bool = False
    workers: int = limits(0, low=0)


@dataclass
class OptimConfig:
    """AdamW and its learning-rate schedule.

    Attributes:
        lr: learning rate after warm-up
        backbone_lr_scale: the backbone learns at lr times this
        weight_decay: decoupled decay; norms, biases and other vectors have none
        betas: Adam's moment decay rates
        warmup_steps: steps of linear increase from 0
        schedule: poly, cosine or constant after warm-up
        power: exponent of the poly schedule
        clip_norm: largest gradient norm; 0 does not clip
    """

    lr: float = limits(1e-3, low=0.0, high=100.0)
    backbone_lr_scale: float = limits(0.1, low=0.0, high=100.0)
    weight_decay: float = limits(0.01, low=0.0, high=100.0)
    betas: tuple[float, float] = limits((0.9, 0.999), low=0.0, high=0.999999)
    warmup_steps: int = limits(50, low=0)
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    power: float = limits(0.9, low=0.0, high=100.0)
    clip_norm: float = limits(1.0, low=0.0)


@dataclass
class TrainConfig:
    """Length, batch, precision and output of a run.

    Attributes:
        steps: optimizer steps
        batch_size: images of one optimizer step, over all processes together
        accumulate: micro-batches each process splits its share of the batch in
        seed: seed of weights, data order and augmentation
        precision: no, bf16 or fp16 (mixed)
        ema_decay: decay of the averaged weights that are validated and exported; 0 turns them off
        log_every: steps between two lines of metrics.jsonl
        eval_every: steps between two validations; 0 validates only at the end
        picture_every: steps between two sets of prediction pictures; 0 draws none
        checkpoint_every: steps between two checkpoints; 0 saves only at the end and on a signal
        keep_checkpoints: newest checkpoints that are kept
        gradient_checkpointing: recompute activations in the backward pass to save memory
        tensorboard: also write tensorboard files (pip install 'gss[tensorboard]')
    """

    steps: int = limits(500, low=1)
    batch_size: int = limits(8, low=1)
    accumulate: int = limits(1, low=1)
    seed: int = limits(0, low=0)
    precision: Literal["no", "bf16", "fp16"] = "no"
    ema_decay: float = limits(0.0, low=0.0, high=0.999999)
    log_every: int = limits(10, low=1)
    eval_every: int = limits(0, low=0)
    picture_every: int = limits(200, low=0)
    checkpoint_every: int = limits(0, low=0)
    keep_checkpoints: int = limits(2, low=1)
    gradient_checkpointing: bool = False
    tensorboard: bool = False


@dataclass
class CodecConfig:
    """Labels to colours and back (maskige).

    Attributes:
        palette: how class colours are chosen; display takes those of the data set, list those of `colors`
        colors: one [red, green, blue] per class for the palette list
        palette_seed: seed of the palette
        inverse: colours back to classes by the nearest colour, or by a learned conv or swin network
        learn_palette: train the colours together with the quantiser
        temperature: squared colour distance (0..255 scale) that lowers a class by one nat
        inverse_width: channels of a learned inverse
        inverse_reduction: a learned inverse works at 1 / this of the resolution
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
        decoder_type: local (a token explains its own cell) or contextual (convolutions across cells)
        hidden_dim: channels at token resolution
        depth: residual blocks at token resolution
        latent_dim: dimension of a code
        quantizer_type: vq (moving-average codebook), fsq, lfq or simvq
        codebook_size: number of codes
        options: further arguments of the quantiser
    """

    downsample: int = limits(4, choices=(4, 8, 16))
    architecture: Literal["patch", "diffusers"] = "patch"
    decoder_type: Literal["local", "contextual"] = "local"
    hidden_dim: int = limits(192, low=1)
    depth: int = limits(2, low=0)
    latent_dim: int = limits(16, low=1)
    quantizer_type: Literal["vq", "fsq", "lfq", "simvq"] = "vq"
    codebook_size: int = limits(1024, low=2)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class PosteriorLossConfig:
    """Weights of the stage 1 loss.

    Attributes:
        commit: commitment of the encoder to its codes
        pixel: class cross-entropy through the codec
        colour: L1 + L2 distance of the maskige
        class_balance: a class weighs its pixel frequency to the power of minus this
        boundary: extra weight of pixels at class boundaries; contextual decoder only, a local one draws cells
        cells: cells drawn from a batch for a local decoder, rare classes and boundaries preferred
        uniform_share: share of one-class cells among those drawn
        repaint_steps: steps that fit a local decoder to the refined code table, at the end of the run
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
class WeakConfig:
    """Training labels with a confidence (pseudo-masks). Nothing of this matters for full masks.

    Attributes:
        weighting: none; threshold leaves out pixels below `threshold`; linear weighs pixels by their confidence; share
            keeps the most confident `share` of the pixels of each class
        threshold: of the weighting of this name
        share: of the weighting of this name
        loss: cross_entropy of the label; soft, of a distribution with the label's confidence; or collision, which asks
            nothing of pixels whose label says nothing
        allow_missing: train even if weak labels never show some class
    """

    weighting: Literal["none", "threshold", "linear", "share"] = "linear"
    threshold: float = limits(0.5, low=0.0, high=1.0)
    share: float = limits(0.5, low=0.0, high=1.0)
    loss: Literal["cross_entropy", "soft", "collision"] = "cross_entropy"
    allow_missing: bool = False


@dataclass
class PosteriorConfig:
    """Stage 1: how masks become tokens and back.

    Attributes:
        stage: marks the file as a stage 1 config
    """

    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    codec: CodecConfig = field(default_factory=CodecConfig)
    vq: VQConfig = field(default_factory=VQConfig)
    loss: PosteriorLossConfig = field(default_factory=PosteriorLossConfig)
    weak: WeakConfig = field(default_factory=WeakConfig)
    stage: Literal["posterior"] = "posterior"


@dataclass
class PriorModelConfig:
    """Network that predicts tokens from an image (stage 2).

    Attributes:
        backbone: efficientnet-lite0, a local folder, or a model id of the hub
        backbone_config: a transformers backbone config ({model_type: swin, ...}) built with random weights
        pretrained: load the pretrained weights of `backbone`
        hidden_dim: channels of the fused features
        depth: windowed transformer blocks
        num_heads: attention heads of a block
        window_size: side of an attention window, in cells of the context grid
        context_stride: pixels per cell of the grid the blocks work on, at least those of a token
        classifier: low_rank; evidence (low_rank plus the expected fit of every code; local posteriors); tied to the
            codebook; or a full matrix
        classifier_rank: rank of the low_rank classifier
        dropout: channel dropout in front of the token classifier
        freeze_batch_norm: keep the backbone's running statistics, for tiny batches or several processes
        init_from: pipeline, run folder or prior whose weights the network starts from; '' for none
        init_parts: parts taken from init_from, out of backbone, fusion, blocks, token and aux
        freeze: parts that are not trained, of the same names
    """

    backbone: str = "efficientnet-lite0"
    backbone_config: dict[str, Any] | None = None
    pretrained: bool = True
    hidden_dim: int = limits(128, low=1)
    depth: int = limits(2, low=0)
    num_heads: int = limits(4, low=1)
    window_size: int = limits(8, low=1)
    context_stride: int = limits(8, choices=(4, 8, 16, 32))
    classifier: Literal["low_rank", "evidence", "tied", "full"] = "evidence"
    classifier_rank: int = limits(64, low=1)
    dropout: float = limits(0.0, low=0.0, high=0.99)
    freeze_batch_norm: bool = False
    init_from: str = ""
    init_parts: list[str] = field(default_factory=lambda: ["backbone", "fusion", "blocks", "token", "aux"])
    freeze: list[str] = field(default_factory=list)


@dataclass
class PriorLossConfig:
    """Weights of the stage 2 loss.

    Attributes:
        token: cross-entropy of the tokens
        pixel: likelihood of the labels through the frozen decoder
        aux: cross-entropy of the auxiliary pixel head
        token_soften: temperature of the exact posterior over codes used as target; 0 takes the best code alone
        agmm: mixture losses of partial labels, see the section `agmm`
        rarity: weight of tokens that hold rare classes; 0 treats all alike
        void_fill: mask leaves void cells out, aux fills them with the auxiliary head's prediction
        void_fill_warmup: steps before void cells are filled
        token_chunk: tokens per piece of the loss, for large codebooks; 0 takes a good size (local decoder) or all
    """

    token: float = limits(0.2, low=0.0)
    pixel: float = limits(1.0, low=0.0)
    aux: float = limits(1.0, low=0.0)
    agmm: float = limits(0.0, low=0.0)
    token_soften: float = limits(0.0, low=0.0)
    rarity: float = limits(0.0, low=0.0)
    void_fill: Literal["mask", "aux"] = "mask"
    void_fill_warmup: int = limits(500, low=0)
    token_chunk: int = limits(0, low=0)


@dataclass
class PriorConfig:
    """Stage 2: how images become tokens. The discriminative twin takes the same settings.

    Attributes:
        posterior: folder written by stage 1
    """

    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    model: PriorModelConfig = field(default_factory=PriorModelConfig)
    loss: PriorLossConfig = field(default_factory=PriorLossConfig)
    weak: WeakConfig = field(default_factory=WeakConfig)
    agmm: AgmmConfig = field(default_factory=AgmmConfig)
    posterior: str = ""
