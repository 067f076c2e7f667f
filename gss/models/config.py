"""Configuration and output of the latent prior."""

from dataclasses import dataclass, field
from typing import Any

from huggingface_hub.dataclasses import strict
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec
from transformers.utils import ModelOutput

from gss.core.errors import InputError, quoted
from gss.models.inputs import usual_normalisation

_STRIDES = (4, 8, 16)
_CLASSIFIERS = ("low_rank", "evidence", "tied", "full")
# Depths of the network that features for a density come from, see `GSSPriorModel.dense_features`.
FEATURE_SOURCES = ("fusion", "context", "head")


@strict
class GSSPriorConfig(PreTrainedConfig):
    """Configuration of `GSSPriorModel`.

    Attributes:
        backbone_config: Backbone configuration or dictionary with `model_type`; EfficientNet-Lite0 if None.
        codebook_size: Number of tokens V of the posterior; 0 builds the discriminative twin, without token classifier.
        token_stride: Pixels per side of a cell f; 4, 8 or 16.
        context_stride: Pixels per side of a cell of the grid the window blocks work on, a multiple of `token_stride`;
            the larger of 8 and `token_stride` if None. A coarser grid costs less and gives more context; the finest
            map of the backbone is added afterwards, on the token grid.
        hidden_dim: Channels D of the fused features.
        depth: Number of window blocks; every second one is shifted.
        num_heads: Attention heads; divides `hidden_dim`.
        window_size: Attention window side in cells.
        mlp_ratio: MLP width relative to `hidden_dim`.
        classifier: "low_rank" (D -> R -> V, linear), "evidence" (low_rank plus the expected log-likelihood of each
            code, see `GSSPriorModel.tie_evidence`), "tied" (D -> R, then the negative squared distance to the
            posterior's codes of dimension R) or "full" (D -> R, GELU, -> V; the paper has R = 2048).
        classifier_rank: Width R in front of the token classifier.
        dropout: Channel dropout in front of the token classifier in 0..1.
        shortlists: Rules (certainty, share), from the most certain to the least: cells of at least this certainty are
            read with the codes of at least this share in their class, see `gss.pipeline.tokens`. Without rules, as in
            priors saved before there were any, every cell is read with all codes.
        shortlist_loss: Largest posterior mass of left-out codes, averaged over a sample of the cells of an image; above
            it all cells are read with all codes.
        freeze_batch_norm: Keep the running statistics of the backbone's batch norms fixed while training.
        image_mean: RGB mean of the backbone's input, of images in 0..1; that of its weights if None.
        image_std: RGB standard deviation of the backbone's input; that of its weights if None.
        label_colors: RGB in which pictures show each class; None in models of earlier versions.
    """

    model_type = "gss_prior"
    sub_configs_defaults = {"backbone_config": SubConfigSpec(config_class=AutoConfig, model_type="efficientnet_lite")}

    backbone_config: dict[str, Any] | PreTrainedConfig | None = None
    codebook_size: int = 1024
    token_stride: int = 4
    context_stride: int | None = None
    hidden_dim: int = 128
    depth: int = 2
    num_heads: int = 4
    window_size: int = 8
    mlp_ratio: float = 2.0
    classifier: str = "low_rank"
    classifier_rank: int = 64
    dropout: float = 0.0
    shortlists: list[list[float]] = field(default_factory=list)
    shortlist_loss: float = 0.005
    freeze_batch_norm: bool = False
    image_mean: list[float] | None = None
    image_std: list[float] | None = None
    label_colors: list[list[int]] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Build the backbone's configuration and fill the normalisation."""
        super().__post_init__(**kwargs)
        mean, std = usual_normalisation(self.backbone_config)
        self.image_mean = list(self.image_mean or mean)
        self.image_std = list(self.image_std or std)

    def validate_architecture(self) -> None:
        """Check the values; called by `strict` once the types of the fields are checked."""
        if self.token_stride not in _STRIDES:
            raise InputError(f"token_stride={self.token_stride} must be one of {_STRIDES}")
        self.context_stride = self.context_stride or max(8, self.token_stride)
        if self.context_stride < 1 or self.context_stride % self.token_stride:
            raise InputError(
                f"context_stride={self.context_stride} must be a multiple of token_stride={self.token_stride}"
            )
        if self.codebook_size < 0:
            raise InputError(f"codebook_size={self.codebook_size} must be at least 1, or 0 for no tokens")
        if self.classifier not in _CLASSIFIERS:
            raise InputError(f"classifier={quoted(self.classifier)} must be one of {_CLASSIFIERS}")
        mean, std = self.image_mean or [], self.image_std or []
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise InputError(f"image_mean={mean} and image_std={std} must have 3 values each, std > 0")
        if any(len(rule) != 2 or not all(0 <= part <= 1 for part in rule) for rule in self.shortlists):
            raise InputError(f"shortlists={self.shortlists} must be pairs of certainty and share, each in [0, 1]")
        if sorted(self.shortlists, reverse=True) != self.shortlists:
            raise InputError(f"shortlists={self.shortlists} must go from the most certain to the least")
        if not 0 <= self.shortlist_loss <= 1:
            raise InputError(f"shortlist_loss={self.shortlist_loss} must be in [0, 1]")
        if self.depth < 0:
            raise InputError(f"depth={self.depth} must be at least 0")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout={self.dropout} must be in [0, 1)")
        for name in ("hidden_dim", "num_heads", "window_size", "classifier_rank"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1")
        if self.hidden_dim % self.num_heads:
            raise InputError(f"hidden_dim={self.hidden_dim} must be a multiple of num_heads={self.num_heads}")


@dataclass
class GSSPriorOutput(ModelOutput):
    """Output of `GSSPriorModel`, on the token grid h = H / f, w = W / f.

    Attributes:
        token_logits: `[B, V, h, w]`, unnormalised log p(z | x); None if not asked for or without codebook.
        aux_logits: `[B, K, h, w]`, class logits of the auxiliary head at the cell centres.
        features: `[B, D, h, w]`, input of both heads.
        token_hidden: `[B, R, h, w]`, input of the last linear layer of the token classifier; None without one.
        fused: `[B, D, h', w']`, fused levels of the backbone in front of the window blocks, on the context grid of the
            padded image.
        maps: `[B, C_i, h_i, w_i]` per level of the backbone, of the padded image; None unless asked for.
        hidden_states: `[B, D, h', w']`, input of the window blocks and output of each; None unless asked for.
        attentions: `[B * windows, heads, cells, cells]`, weights of each window block; None unless asked for.
    """

    token_logits: Tensor | None = None
    aux_logits: Tensor | None = None
    features: Tensor | None = None
    token_hidden: Tensor | None = None
    fused: Tensor | None = None
    maps: tuple[Tensor, ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


AutoConfig.register(GSSPriorConfig.model_type, GSSPriorConfig, exist_ok=True)
