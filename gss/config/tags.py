"""Settings of `gss train weak-tags` and of pseudo-masks from tags; see gss/config/shared.py for the sections shared."""

from dataclasses import dataclass, field
from typing import Any

from gss.config.limits import limits
from gss.config.shared import DataConfig, OptimConfig, TrainConfig
from gss.config.weak_labels import RefineConfig


@dataclass
class TagModelConfig:
    """Tag classifier.

    Attributes:
        backbone: efficientnet-lite0, a local folder, or a model id of the hub
        backbone_config: a transformers backbone config ({model_type: swin, ...}) built with random weights
        pretrained: load the pretrained weights of `backbone`
        output_stride: pixels per cell of the deepest map; null takes 16 for EfficientNet-Lite, others as they are
        levels: number of the backbone's maps that are read, the deepest ones
        freeze_batch_norm: keep the backbone's running statistics
        init_from: classifier folder whose weights are the start, such as that of a run without wood.ood
        allow_missing: train even if no image has the tag of some class
    """

    backbone: str = "efficientnet-lite0"
    backbone_config: dict[str, Any] | None = None
    pretrained: bool = True
    output_stride: int | None = None
    levels: int = limits(1, low=1)
    freeze_batch_norm: bool = True
    init_from: str = ""
    allow_missing: bool = False


@dataclass
class WoodConfig:
    """Out-of-distribution images: they show none of the classes, but their context (W-OoD).

    Attributes:
        ood: folder of images that show none of the classes; self cuts them from the training images; '' uses none
        start: share of the run, from its start, that learns tags alone
        absent: weight of the loss that no class is in such images
        step: largest change of a pixel (0..1) of the adversarial step on such images; 0 leaves them unchanged
        distance: weight of the distance loss to class and outlier centres (0.007 in the paper); 0 leaves it out
        clusters: centres of such images
        share: share of the distances to these centres that count as near
        pull: weight of own centres inside the distance loss
        momentum: decay of the running centres, per step
        survey: largest number of images of each kind that the centres are first fitted to
        size: with `ood: self`, side of a window as a share of the crop's shorter side
        threshold: with `ood: self`, keep a window only if its mean activation is below this (and among the lowest)
    """

    ood: str = ""
    start: float = limits(0.3, low=0.0, high=1.0)
    absent: float = limits(1.0, low=0.0)
    step: float = limits(0.016, low=0.0, high=1.0)
    distance: float = limits(0.0, low=0.0)
    clusters: int = limits(50, low=1)
    share: float = limits(0.2, low=1e-6, high=1.0)
    pull: float = limits(0.02, low=0.0)
    momentum: float = limits(0.99, low=0.0, high=1.0)
    survey: int = limits(500, low=1)
    size: float = limits(0.25, low=0.01, high=1.0)
    threshold: float = limits(0.1, low=1e-3, high=1.0)


def _data() -> DataConfig:
    return DataConfig(crop=(320, 320), scale=(0.75, 1.3))


@dataclass
class WeakTagsConfig:
    """A classifier from image tags, whose activation maps become pseudo-masks.

    `data.scale` is relative to an image whose longer side is that of `data.crop`, whatever the size of the file.
    """

    data: DataConfig = field(default_factory=_data)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    tags: TagModelConfig = field(default_factory=TagModelConfig)
    wood: WoodConfig = field(default_factory=WoodConfig)


@dataclass
class CamConfig:
    """Class activation maps.

    Attributes:
        size: longer side of an image in pixels; 0 takes that of the training
        scales: relative sizes that are summed
        flip: also read the mirror image
    """

    size: int = limits(0, low=0)
    scales: list[float] = field(default_factory=lambda: [1.0, 1.5, 2.0])
    flip: bool = True


@dataclass
class WalkConfig:
    """Random walk of the activation maps over similar pixels.

    Attributes:
        steps: number of steps; 0 leaves the walk out
        stride: pixels per cell of the grid it runs on
        radius: cells that are joined
        color: RGB distance (0..255) that separates two cells
        edge: power of 1 minus the strongest edge between two cells
    """

    steps: int = limits(256, low=0)
    stride: int = limits(4, low=1)
    radius: float = limits(3.0, low=1.0, high=10.0)
    color: float = limits(10.0, low=1e-3)
    edge: float = limits(2.0, low=0.0)


@dataclass
class TagProduceConfig:
    """Settings of `gss weak produce` with a tag classifier.

    Attributes:
        background: activation below which a pixel is background, or nothing where the classes have no background
        refined: spread the labels to edges of the image (section refine)
        abstain: smallest certainty of a label, without `refined`; other pixels stay unlabelled
    """

    cam: CamConfig = field(default_factory=CamConfig)
    walk: WalkConfig = field(default_factory=WalkConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    background: float = limits(0.35, low=0.001, high=0.999)
    refined: bool = False
    abstain: float = limits(0.0, low=0.0, high=1.0)
