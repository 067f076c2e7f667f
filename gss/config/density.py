"""Settings of `gss train density`; see gss/config/shared.py for the sections it shares with the other stages."""

from dataclasses import dataclass, field
from typing import Literal

from gss.config.limits import limits
from gss.config.shared import DataConfig, OptimConfig, TrainConfig


@dataclass
class DensityModelConfig:
    """GMM density head; `configs/density/hybrid.yaml` has the settings of GMMSeg.

    Attributes:
        num_components: Gaussians per class
        source: features it describes: those of the fusion, or those of the heads, which are clustered by class;
            context: as fusion, but scores are computed on the context grid and then enlarged, four times fewer cells
        unit_input: scale features to unit length first
        embed_dim: channels of a projection before the mixture, learned (hybrid) or principal (posthoc); 0 for none
        covariance: diagonal, spherical, or low_rank (diagonal plus `rank` directions)
        rank: directions of low_rank, below the number of dimensions
        mixture_weights: uniform over the components of a class (assignments are balanced), or learned
        evidence: class evidence by the best component (max) or by all (logsumexp)
        logit_norm: class evidence to logits by layer_norm over classes, a learned temperature, or none
        layer_norm: normalise projected features over channels
        l2_norm: scale them to unit length
        variance_floor: added to every variance; principal directions have a variance of 1, unit vectors at most 1/D
        smoothing: odd side of the square of cells over which scores average the log-likelihood
    """

    num_components: int = limits(10, low=1)
    source: Literal["fusion", "context", "head"] = "fusion"
    unit_input: bool = True
    embed_dim: int = limits(64, low=0)
    covariance: Literal["diagonal", "spherical", "low_rank"] = "low_rank"
    rank: int = limits(32, low=1)
    mixture_weights: Literal["uniform", "learned"] = "uniform"
    evidence: Literal["max", "logsumexp"] = "max"
    logit_norm: Literal["layer_norm", "temperature", "none"] = "layer_norm"
    layer_norm: bool = False
    l2_norm: bool = False
    variance_floor: float = limits(0.1, low=1e-12, high=1e12)
    smoothing: int = limits(5, low=1)


@dataclass
class MixtureConfig:
    """Expectation maximisation.

    Attributes:
        assignment: fixed shares pixels out at `temperature`; official gives each to one component, as GMMSeg
        temperature: temperature with `assignment: fixed`, in nats
        relative_temperature: temperature with `assignment: official`, relative to the largest log-density of the class
        sinkhorn_iterations: rounds of balancing
        memory: ema averages statistics, fifo keeps the newest pixels of every component (as GMMSeg)
        decay: decay of the averages per step, with `memory: ema`; the post-hoc fit reads all pixels at once
        fifo_size: pixels kept per component
        fifo_push: most pixels a component takes in per step
        interval: steps between two M-steps
    """

    assignment: Literal["fixed", "official"] = "fixed"
    temperature: float = limits(1.0, low=1e-6)
    relative_temperature: float = limits(0.05, low=1e-6)
    sinkhorn_iterations: int = limits(3, low=1)
    memory: Literal["ema", "fifo"] = "ema"
    decay: float = limits(0.99, low=0.0, high=0.999999)
    fifo_size: int = limits(1000, low=1)
    fifo_push: int = limits(20, low=1)
    interval: int = limits(1, low=1)


@dataclass
class PostHocConfig:
    """Fit on a frozen prior: one pass over the training images, then EM on the pixels it kept.

    Attributes:
        iterations: largest number of rounds of EM
        tolerance: smallest gain of a round in mean log-likelihood, in nats per pixel; less ends the fit
        pixels_per_class: pixels kept of every class, drawn evenly from all images
        pixels_per_image: largest number of pixels of one class kept of one image
        images: training images read, evenly spaced; 0 takes all
        correct_only: leave out pixels that the prior's own classifier gets wrong
        scores: further scores to fit in the same pass, with commas; '' for none
        combine: parts of the score `combined`; those that a pipeline lacks are left out
        bank_size: pixels the nearest-neighbour score keeps
    """

    iterations: int = limits(40, low=1)
    tolerance: float = limits(1e-3, low=0.0)
    pixels_per_class: int = limits(10_000, low=1)
    pixels_per_image: int = limits(500, low=1)
    images: int = limits(0, low=0)
    correct_only: bool = True
    scores: str = "sml,mahalanobis,mahalanobis++,knn,vim,ddu,combined"
    combine: str = "gmm_class,knn,entropy"
    bank_size: int = limits(5_000, low=1)


@dataclass
class HybridConfig:
    """Hybrid training: features by gradient through the mixture's logits, the mixture by EM.

    Attributes:
        train_prior: also train the prior; otherwise the projection alone, and masks stay exactly as they are
        contrast: weight of the cross-entropy over all components
        own: weight of the prior's own losses, with train_prior
        pixels_per_class: pixels of every class in a batch, for EM and the contrast
        class_balanced: draw training images by class, every class equally often, rather than each image once an epoch
    """

    train_prior: bool = False
    contrast: float = limits(0.01, low=0.0)
    own: float = limits(1.0, low=0.0)
    pixels_per_class: int = limits(500, low=1)
    class_balanced: bool = True


@dataclass
class OutlierConfig:
    """Mixture of outliers for the score gmm_ratio, fitted at the end to labelled objects of other images.

    Attributes:
        spec: data set with two classes, the second of which is the outliers; '' for no such mixture
        root: folder of the data set, instead of the one in the spec
        split: split of the data set
        paste: paste the outliers on training images instead of reading their own images
        scale: smallest and largest longer side of what is pasted, as a share of the training image's shorter side
        components: Gaussians
        pixels: largest number of pixels to fit them to
        pixels_per_image: largest number of pixels of one image
    """

    spec: str = ""
    root: str | None = None
    split: str = "train"
    paste: bool = True
    scale: tuple[float, float] = limits((0.05, 0.4), low=0.001, high=1.0, ascending=True)
    components: int = limits(10, low=1)
    pixels: int = limits(50_000, low=1)
    pixels_per_image: int = limits(500, low=1)


@dataclass
class DensityConfig:
    """Density head on a trained pipeline.

    Attributes:
        pipeline: folder of the pipeline to extend
        mode: posthoc fits a mixture to a frozen prior, hybrid trains features with it
    """

    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    model: DensityModelConfig = field(default_factory=DensityModelConfig)
    em: MixtureConfig = field(default_factory=MixtureConfig)
    posthoc: PostHocConfig = field(default_factory=PostHocConfig)
    hybrid: HybridConfig = field(default_factory=HybridConfig)
    outliers: OutlierConfig = field(default_factory=OutlierConfig)
    pipeline: str = ""
    mode: Literal["posthoc", "hybrid"] = "posthoc"
