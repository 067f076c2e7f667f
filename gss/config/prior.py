"""Settings of `gss train prior` and `gss train twin`."""

from dataclasses import dataclass, field
from typing import Any, Literal

from gss.config.agmm import AgmmConfig
from gss.config.limits import limits
from gss.config.shared import DataConfig, OptimConfig, TrainConfig, WeakConfig


@dataclass
class PriorModelConfig:
    """Network that predicts tokens from an image (stage 2).

    Attributes:
        backbone: efficientnet-lite0, a local folder, a model id of the hub, or module:Name of your own (docs/extending)
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
        shortlists: rules [certainty, share] of cells read with some of the codes (docs/inference.md); [] for none
        freeze_batch_norm: keep the backbone's running statistics, for tiny batches or several processes
        init_from: pipeline, run folder or prior whose weights the network starts from; '' for none
        init_parts: parts taken from init_from, out of backbone, fusion, blocks, token and aux
        freeze: parts that are not trained; names as in init_parts
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
    shortlists: list[list[float]] = field(default_factory=lambda: [[0.9, 0.6], [0.7, 0.35], [0.5, 0.2]])
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
        isolate: keep the gradient of token and pixel loss from the shared features and the auxiliary head, which then
            train as those of the twin do
        agmm: weight of the mixture losses of partial labels, see the section `agmm`
        easy_share: share of the easy cells (one class, of which the auxiliary head is certain) in token and pixel loss,
            weighted so that the mean stays; 1 takes all (local decoder)
        rarity: exponent of 1 / pixel frequency in the weight of a token's classes; 0 treats all tokens alike
        void_fill: mask leaves void cells out, aux fills them with the auxiliary head's prediction
        void_fill_warmup: steps before void cells are filled
        terms: further losses of your own on the class logits, {module:Name: weight}, see docs/extending
        token_chunk: cells per pass of the token loss, for large codebooks; 0 takes a good size (local decoder) or all
    """

    token: float = limits(0.2, low=0.0)
    pixel: float = limits(1.0, low=0.0)
    aux: float = limits(1.0, low=0.0)
    agmm: float = limits(0.0, low=0.0)
    token_soften: float = limits(0.0, low=0.0)
    isolate: bool = False
    easy_share: float = limits(1.0, low=0.01, high=1.0)
    rarity: float = limits(0.0, low=0.0)
    void_fill: Literal["mask", "aux"] = "mask"
    void_fill_warmup: int = limits(500, low=0)
    terms: dict[str, float] = field(default_factory=dict)
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
