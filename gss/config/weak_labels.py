"""Settings of `gss weak make`, one dataclass for each form of weak labels, and of what spreads them."""

from dataclasses import dataclass
from typing import Any, Literal

from gss.config.limits import limits


@dataclass
class PointConfig:
    """Clicks.

    Attributes:
        mode: one unit of clicks for each connected component, or for each class of an image
        count: clicks of a unit
        position: uniform in the unit, interior (people click centres), or its four extreme pixels
        power: with `position: interior`, exponent of the distance to the border in the probability of a pixel
        jitter: standard deviation in pixels by which a click is moved, as long as it stays in its class
        width: diameter of the disc that is labelled, where it fits; else one pixel
        min_area: components below this many pixels get no click, unless their class has no larger one
    """

    mode: Literal["component", "class"] = "component"
    count: int = limits(1, low=1)
    position: Literal["uniform", "interior", "extreme"] = "interior"
    power: float = limits(1.0, low=0.0)
    jitter: float = limits(0.0, low=0.0)
    width: float = limits(3.0, low=1.0)
    min_area: int = limits(16, low=1)


@dataclass
class ScribbleConfig:
    """Scribbles.

    Attributes:
        method: curve (smooth, through a jittered centre), medial (along the middle) or walk (random, with momentum)
        length: share of the full length that is drawn; 0 leaves a click
        width: width of the line in pixels, where it fits; else one pixel
        min_area: components below this many pixels get no stroke, unless their class has no larger one
        tries: attempts of a curve before it keeps further away from the border
    """

    method: Literal["curve", "medial", "walk"] = "curve"
    length: float = limits(0.9, low=0.0, high=1.0)
    width: float = limits(3.0, low=1.0)
    min_area: int = limits(80, low=1)
    tries: int = limits(20, low=1)


@dataclass
class BlockConfig:
    """Fully labelled cells of a grid.

    Attributes:
        share: smallest share of the valid pixels of an image that is labelled
        grid: cells along each side
        choice: uniform, checkerboard (one colour of the board first), or balanced (cells with rare classes first)
    """

    share: float = limits(0.1, low=0.0, high=1.0)
    grid: int = limits(10, low=1)
    choice: Literal["uniform", "checkerboard", "balanced"] = "uniform"


@dataclass
class BoxConfig:
    """Bounding boxes of connected components.

    Attributes:
        min_area: components below this many pixels get no box
        jitter: standard deviation of each edge, relative to the side of the box
        loose: share of its side by which a box is larger on each side
        drop: probability that a box is left out
    """

    min_area: int = limits(16, low=1)
    jitter: float = limits(0.0, low=0.0, high=0.5)
    loose: float = limits(0.0, low=0.0, high=1.0)
    drop: float = limits(0.0, low=0.0, high=1.0)


@dataclass
class CoarseConfig:
    """Coarse polygons inside each connected component.

    Attributes:
        inset: distance to the border as a share of the square root of the area, between 2 and 12 pixels
        tolerance: tolerance of the polygon, as a share of its perimeter
        min_area: polygons below this many pixels are left out
    """

    inset: float = limits(0.02, low=0.0, high=1.0)
    tolerance: float = limits(0.015, low=0.0, high=0.2)
    min_area: int = limits(64, low=1)


@dataclass
class TagConfig:
    """Image tags.

    Attributes:
        min_area: a class below this many pixels is not tagged
        min_share: a class below this share of the image is not tagged
        miss: probability that a tag is left out
        false: probability of each wrong tag
        context: wrong tags are drawn from classes that often come along with those of the image
    """

    min_area: int = limits(64, low=1)
    min_share: float = limits(0.001, low=0.0, high=1.0)
    miss: float = limits(0.0, low=0.0, high=1.0)
    false: float = limits(0.0, low=0.0, high=1.0)
    context: bool = False


@dataclass
class RefineConfig:
    """Refinement of partial or uncertain labels: a random walk to the labels, then Potts steps on the pixels.

    Attributes:
        stride: pixels per cell of the finest grid the walk runs on
        radius: cells that are joined
        color: RGB distance (0..255) that separates two cells
        edge: power of 1 minus the strongest edge between two cells
        hold: absorption by a label, a factor on its odds confidence / (1 - confidence)
        potts: weight of the agreement of neighbouring pixels
        iterations: Potts steps; 0 leaves them out
        abstain: smallest certainty of a label; other pixels stay unlabelled
    """

    stride: int = limits(2, low=1)
    radius: float = limits(2.0, low=1.0, high=10.0)
    color: float = limits(15.0, low=1e-3)
    edge: float = limits(2.0, low=0.0)
    hold: float = limits(0.05, low=1e-6)
    potts: float = limits(1.0, low=0.0)
    iterations: int = limits(10, low=0)
    abstain: float = limits(0.5, low=0.0, high=1.0)


@dataclass
class SpreadConfig:
    """Spreading of labels and predictions over similar colors of an image (AGMM).

    Attributes:
        steps: steps on the grid of the features, and on grids with cells of half, a quarter, ... the size; [] for none
        contrast: squared difference that separates neighbours, as a share of its mean in the image
        hold: weight of a cell's own value, a factor on the odds of its certainty
        belief: certainty of an unlabelled cell, as a share of the network's largest probability there
    """

    steps: list[int] = limits([40, 20], low=0)
    contrast: float = limits(0.02, low=1e-6)
    hold: float = limits(0.05, low=1e-6)
    belief: float = limits(0.3, low=0.0, high=1.0)


FORMS: dict[str, Any] = {
    "points": PointConfig,
    "scribbles": ScribbleConfig,
    "blocks": BlockConfig,
    "boxes": BoxConfig,
    "coarse": CoarseConfig,
    "tags": TagConfig,
}
"""Form of weak labels to its settings."""
