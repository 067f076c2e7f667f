"""Settings of `gss train residual`; see gss/config/shared.py for the sections it shares with the other stages."""

from dataclasses import dataclass, field
from typing import Literal

from gss.config.limits import limits
from gss.config.shared import DataConfig, OptimConfig, TrainConfig


def _known_things() -> list[str]:
    return ["person", "bicycle", "car", "motorcycle", "bus", "truck", "traffic light", "stop sign"]


@dataclass
class ResidualModelConfig:
    """Residual pattern head.

    Attributes:
        target: logits that are perturbed, those of the auxiliary pixel head or of the tokens
        levels: number of the backbone's maps that are read, the deepest ones
        width: channels of the branch; equal to those of the prior's fusion, the branch starts as a copy of it
        rates: dilations of the parallel convolutions
        embed_dim: channels of the embeddings of the contrast; only used in training
    """

    target: Literal["pixel", "token"] = "pixel"
    levels: int = limits(3, low=1)
    width: int = limits(128, low=1)
    rates: list[int] = field(default_factory=lambda: [1, 2, 4])
    embed_dim: int = limits(128, low=1)


@dataclass
class ResidualLossConfig:
    """Weights of the losses.

    Attributes:
        pseudo: cross-entropy against the classes of the frozen network, on inliers
        dissimilarity: squared change of the entropy, on inliers
        energy: ReLU(margin - energy), on outliers
        margin: energy above which an outlier costs nothing
        contrast: context-robust contrast of embeddings; needs context.source
        temperature: divisor of the similarities of the contrast
        samples: largest number of embeddings of each of the four sets
    """

    pseudo: float = limits(1.0, low=0.0)
    dissimilarity: float = limits(1.0, low=0.0)
    energy: float = limits(0.05, low=0.0)
    margin: float = 0.0
    contrast: float = limits(1.0, low=0.0)
    temperature: float = limits(0.1, low=1e-3)
    samples: int = limits(512, low=1)


@dataclass
class OutlierConfig:
    """Objects that are pasted into images as unknown.

    Attributes:
        objects: folder with images/, masks/ and objects.json; COCO file; or generated scenes (scenes_unknown)
        images: folder of the pictures of a COCO file
        split: split of the objects trained on
        val_objects: source of the objects validated on; '' takes `objects`
        val_images: folder of its pictures, if it is a COCO file; '' takes `images`
        val_split: split of the objects validated on
        exclude: categories that are not outliers
        min_pixels: size of the smallest objects, in pixels; smaller ones are left out
        count: fewest and most objects in an image
        size: longer side of an object relative to the shorter side of the image, smallest and largest
        depth: strength from 0 to 1 by which objects are smaller towards the top of the image
        feather: pixels over which edges fade in
        probability: share of training images that get objects
        ids: digest of all ids; filled in by training, which refuses to resume with others
    """

    objects: str = ""
    images: str = ""
    split: str = "train"
    val_objects: str = ""
    val_images: str = ""
    val_split: str = "val"
    exclude: list[str] = field(default_factory=_known_things)
    min_pixels: int = limits(200, low=1)
    count: tuple[int, int] = limits((1, 3), low=1, ascending=True)
    size: tuple[float, float] = limits((0.05, 0.6), low=0.001, high=10.0, ascending=True)
    depth: float = limits(0.0, low=0.0, high=1.0)
    feather: float = limits(0.0, low=0.0, high=100.0)
    probability: float = limits(1.0, low=0.0, high=1.0)
    ids: str = ""


@dataclass
class ContextConfig:
    """Foreign scenes of the contrast.

    Attributes:
        source: folder of pictures, or with images/ and masks/; data spec; or COCO file
        images: folder of the pictures of a COCO file
        split: split of the scenes
        objects: classes of `source` that are objects, with commas; things for those of COCO; '' pastes objects
    """

    source: str = ""
    images: str = ""
    split: str = "train"
    objects: str = ""


def _train() -> TrainConfig:
    return TrainConfig(steps=500, eval_every=100)


@dataclass
class ResidualConfig:
    """Residual pattern head on a trained pipeline, which stays as it is.

    Attributes:
        pipeline: folder of the pipeline to extend
        val_images: validation images that get objects, evenly spread; 0 takes all
    """

    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=_train)
    model: ResidualModelConfig = field(default_factory=ResidualModelConfig)
    loss: ResidualLossConfig = field(default_factory=ResidualLossConfig)
    outliers: OutlierConfig = field(default_factory=OutlierConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    pipeline: str = ""
    val_images: int = limits(0, low=0)
