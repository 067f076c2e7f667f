"""Settings of `gss train joint`; see gss/config/shared.py for the sections it shares with the other stages."""

from dataclasses import dataclass, field

from gss.config.limits import limits
from gss.config.shared import DataConfig, OptimConfig, TrainConfig


@dataclass
class JointModelConfig:
    """Joint prior of tokens.

    Attributes:
        width: channels of the network
        depth: blocks at every level but the finest
        levels: levels of the network; each halves the context grid
        rank: features in front of the token logits
        embed_dim: channels of the token embeddings
        shift: known cells also tell how the image errs around them
    """

    width: int = limits(64, low=1)
    depth: int = limits(1, low=1)
    levels: int = limits(4, low=1, high=8)
    rank: int = limits(32, low=1)
    embed_dim: int = limits(24, low=1)
    shift: bool = True


@dataclass
class JointLossConfig:
    """Loss, and what is known and seen of each training mask.

    Attributes:
        token: weight of the cross-entropy of the tokens of unknown cells
        pixel: weight of the likelihood of their pixels through the code table, which the bound measures
        masks_only: share of the steps, at the start, that see no image
        image_drop: share of the masks without image in the other steps
        structured: share of the masks whose known cells have a form (rectangles, regions, borders, strokes, marks)
        repeats: masks drawn for each image
        cells: unknown cells of each mask that the loss is taken at; 0 takes all
        match_evidence: set data.shift so that training images leave the prior as unsure as validation images do
    """

    token: float = limits(0.2, low=0.0)
    pixel: float = limits(1.0, low=0.0)
    masks_only: float = limits(0.6, low=0.0, high=1.0)
    image_drop: float = limits(0.25, low=0.0, high=1.0)
    structured: float = limits(0.5, low=0.0, high=1.0)
    repeats: int = limits(2, low=1)
    cells: int = limits(768, low=0)
    match_evidence: bool = True


@dataclass
class JointValidationConfig:
    """What is measured on validation images.

    Attributes:
        images: validation images, evenly spread; 0 takes all
        orders: numbers of unknown cells that the bound of an image is estimated from
        given: share of the cells that is given where the gain on the others is measured
    """

    images: int = limits(20, low=0)
    orders: int = limits(8, low=1)
    given: float = limits(0.2, above=0.0, below=1.0)


def _data() -> DataConfig:
    return DataConfig(max_class_ratio=1.0)  # masks as they are, sky alone included


def _optim() -> OptimConfig:
    return OptimConfig(lr=2e-3, warmup_steps=20)


@dataclass
class JointConfig:
    """Joint prior p(unknown tokens | known tokens, image) on a trained pipeline, which stays as it is.

    Attributes:
        pipeline: folder of the pipeline to extend
    """

    data: DataConfig = field(default_factory=_data)
    optim: OptimConfig = field(default_factory=_optim)
    train: TrainConfig = field(default_factory=TrainConfig)
    model: JointModelConfig = field(default_factory=JointModelConfig)
    loss: JointLossConfig = field(default_factory=JointLossConfig)
    validation: JointValidationConfig = field(default_factory=JointValidationConfig)
    pipeline: str = ""
