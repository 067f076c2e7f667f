"""Every setting of a training run, as typed dataclasses with their defaults.

`gss config posterior|prior` prints them as YAML together with the descriptions below. A config file states
only what differs. Reading and checking is done by `load_config` (see gss/config/io.py).
"""

from dataclasses import dataclass, field
from typing import Literal

from gss.config.limits import limits


@dataclass
class DataConfig:
    """Which data set is read and how training images are augmented.

    Attributes:
        spec: built-in data set (configs/data), path of a spec in YAML, or a folder of images and masks
        root: folder of the data set, instead of the one in the spec; alone it is the data set
        train_split: split trained on
        val_split: split validated on; SPEC:SPLIT for one of another data set with the same classes
        sampling: share of each domain of a mixture: equal, proportional, temperature:T, or numbers with commas
        size: [height, width] that images and masks are resized to when read, before augmentation
        crop: [height, width] of a training crop in pixels
        scale: smallest and largest random resize before cropping
        flip: probability of mirroring left to right
        photometric: probability of changing brightness, contrast, saturation and hue
        max_class_ratio: largest share of one class in a crop; others are drawn again a few times
        shift: probability of a random weather or camera effect at a random severity (docs/shifts.md)
        shifts: effects and groups of effects to draw from, such as [noise, fog]; [] draws from all
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
    scale: tuple[float, float] = limits((0.5, 2.0), low=0.01, high=100.0, ascending=True)
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
        backbone_lr_scale: learning rate of the backbone, relative to lr
        weight_decay: decoupled weight decay; norms, biases and other vectors have none
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
        accumulate: micro-batches that each process splits its share of the batch into
        seed: seed of weights, data order and augmentation
        precision: no (float32), or the format of the forward pass, bf16 or fp16
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
class WeakConfig:
    """Training labels with a confidence (pseudo-masks); without effect on full masks.

    Attributes:
        weighting: none; threshold leaves out pixels below `threshold`; linear weighs pixels by their confidence; share
            keeps the most confident `share` of the pixels of each class
        threshold: smallest confidence that counts, with `weighting: threshold`
        share: share of the pixels of each class that count, with `weighting: share`
        loss: cross_entropy of the label; soft, cross-entropy of a distribution with the label's confidence; collision,
            which has no gradient where that distribution is uniform
        allow_missing: train even if no training pixel is labelled as some class
    """

    weighting: Literal["none", "threshold", "linear", "share"] = "linear"
    threshold: float = limits(0.5, low=0.0, high=1.0)
    share: float = limits(0.5, low=0.0, high=1.0)
    loss: Literal["cross_entropy", "soft", "collision"] = "cross_entropy"
    allow_missing: bool = False
