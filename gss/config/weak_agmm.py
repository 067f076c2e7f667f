"""Settings of `gss train weak-agmm`; see gss/config/shared.py for the sections it shares with the other stages."""

from dataclasses import dataclass, field

from gss.config.agmm import AgmmConfig
from gss.config.prior import PriorModelConfig
from gss.config.shared import DataConfig, OptimConfig, TrainConfig, WeakConfig


@dataclass
class WeakAgmmConfig:
    """A pixel classifier from partial masks: training labels are 255 where nobody labelled."""

    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    model: PriorModelConfig = field(default_factory=PriorModelConfig)
    agmm: AgmmConfig = field(default_factory=AgmmConfig)
    weak: WeakConfig = field(default_factory=WeakConfig)
