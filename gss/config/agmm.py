"""Settings of the adaptive Gaussian mixtures: losses of `gss train weak-agmm` and stage 2, and pseudo-masks."""

from dataclasses import dataclass, field
from typing import Literal

from gss.config.limits import limits
from gss.config.weak_labels import SpreadConfig


@dataclass
class ConferenceConfig:
    """Method `conference`.

    Attributes:
        variance: adaptive estimates the variance of each class and image (eq. 6), fixed takes exp(-d^2) as score
    """

    variance: Literal["adaptive", "fixed"] = "adaptive"


@dataclass
class OnlineConfig:
    """Method `online`. Times are shares of the run.

    Attributes:
        warmup: time with the labelled pixels and tags alone
        ramp: time after the warm-up in which pseudo-labels reach their full weight
        mixture: exponent of the mixture in the pseudo-labels, reached with the warm-up; the network's probability has 1
        unlabelled: weight of an unlabelled pixel against a labelled one in the class means, after the ramp
        shrinkage: number of pixels that the prior of a variance counts as
        bank_decay: decay of the class means kept across images, per batch
        balance: weights of pseudo-labels, from 0 (by area) to 1 (all classes of an image alike)
        gate: confidence weighs each pseudo-label by its probability; agreement leaves out those that the network denies
        spread: pseudo-labels spread over the image
    """

    warmup: float = limits(0.3, low=0.0, high=1.0)
    ramp: float = limits(0.2, low=0.0, high=1.0)
    mixture: float = limits(1.0, low=0.0)
    unlabelled: float = limits(0.1, low=0.0)
    shrinkage: float = limits(32.0, low=0.0)
    bank_decay: float = limits(0.99, low=0.0, high=0.999999)
    balance: float = limits(0.5, low=0.0, high=1.0)
    gate: Literal["confidence", "agreement"] = "confidence"
    spread: SpreadConfig = field(default_factory=SpreadConfig)


@dataclass
class AgmmConfig:
    """Adaptive Gaussian mixtures: what unlabelled pixels learn from the labelled ones of their image.

    Attributes:
        method: partial learns labelled pixels and tags only; conference and online add a mixture for each image
        tags: source of the classes that an image can show: data takes the tags of the data set, labels the classes of
            its weak mask (points, scribbles), none allows all (blocks, coarse polygons)
        cross: weight of the agreement between mixture and network
        labelled: weight of the mixture's fit to the labelled pixels
        pull: weight of the distance of pixels to the mean of their pseudo-class (online)
        push: weight of the repulsion between class means
        tag: weight of the loss of classes that tags exclude
    """

    method: Literal["partial", "conference", "online"] = "online"
    tags: Literal["data", "labels", "none"] = "data"
    cross: float = limits(1.0, low=0.0)
    labelled: float = limits(0.1, low=0.0)
    pull: float = limits(0.1, low=0.0)
    push: float = limits(0.1, low=0.0)
    tag: float = limits(1.0, low=0.0)
    conference: ConferenceConfig = field(default_factory=ConferenceConfig)
    online: OnlineConfig = field(default_factory=OnlineConfig)


@dataclass
class ProduceConfig:
    """Settings of `gss weak produce`: pseudo-masks from a pipeline and the weak labels of each image.

    Attributes:
        tags: source of the classes of an image, as in `agmm.tags`
        mixture: exponent of the image's own mixture; the network's probability has 1
        unlabelled: weight of an unlabelled pixel against a labelled one in the class means
        shrinkage: number of pixels that the image's mean variance counts as in the variance of a class
        threshold: smallest certainty of a label; other pixels stay unlabelled
        spread: labels and predictions spread over the image
    """

    tags: Literal["data", "labels", "none"] = "data"
    mixture: float = limits(1.0, low=0.0)
    unlabelled: float = limits(0.1, low=0.0)
    shrinkage: float = limits(32.0, low=0.0)
    threshold: float = limits(0.4, low=0.0, high=1.0)
    spread: SpreadConfig = field(default_factory=lambda: SpreadConfig(steps=[40, 20, 10]))
