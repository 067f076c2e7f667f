"""Latent prior p(z | x): image -> categorical distribution over mask tokens at every cell."""

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Self, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from torch.nn import functional as F

# Pipelines look `PreTrainedModel` up in this module when they load the component: keep that name here.
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init

from gss.core.errors import InputError, unknown_name
from gss.models.backbone import (
    build_backbone,
    build_backbone_config,
    fixed_size,
    folder_normalisation,
    input_multiple,
    load_pretrained_backbone,
)
from gss.models.config import FEATURE_SOURCES, GSSPriorConfig
from gss.models.config import GSSPriorOutput as GSSPriorOutput
from gss.models.inputs import backbone_input
from gss.models.layers import ChannelNorm, FeatureFusion, WindowBlock, select_states

# Log-probability at which the evidence against a code stops growing, per pixel: one wrong pixel is no proof.
_LEAST_LOG = -7.0


class GSSPriorModel(PreTrainedModel):
    """Backbone, fusion to the token grid, window blocks, token classifier and auxiliary pixel head.

    The auxiliary head reads the same features as the token classifier, so training with its loss alone gives
    the discriminative network of the same size.
    """

    config_class = GSSPriorConfig
    config: GSSPriorConfig
    base_model_prefix = "prior"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True

    def __init__(self, config: GSSPriorConfig) -> None:
        super().__init__(config)
        dim, rank = config.hidden_dim, config.classifier_rank
        self.gradient_checkpointing = False
        self._held: tuple[nn.Module, ...] = ()
        self.register_buffer("pixel_mean", torch.tensor(config.image_mean).view(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor(config.image_std).view(1, 3, 1, 1))
        self.backbone = build_backbone(config.backbone_config)
        self.fusion = FeatureFusion(self.backbone.channels, dim)
        self.blocks = nn.ModuleList(
            WindowBlock(dim, config.num_heads, config.window_size, i % 2 == 1, config.mlp_ratio)
            for i in range(config.depth)
        )
        self.detail = (
            FeatureFusion((dim, self.backbone.channels[0]), dim)
            if cast(int, config.context_stride) > config.token_stride
            else None
        )
        if config.codebook_size:
            self.token_proj = nn.Conv2d(dim, rank, 1)
            self.token_act = nn.GELU() if config.classifier == "full" else nn.Identity()
            self.token_drop = nn.Dropout2d(config.dropout)
        if config.codebook_size and config.classifier == "tied":
            self.register_buffer("code_embeddings", torch.zeros(config.codebook_size, rank))
            self.code_scale = nn.Parameter(torch.zeros(()))  # log of the inverse temperature
            self.code_bias = nn.Parameter(torch.zeros(config.codebook_size))
        elif config.codebook_size:
            self.token_head = nn.Linear(rank, config.codebook_size)
        if config.codebook_size and config.classifier == "evidence":
            cell = config.num_labels * config.token_stride**2
            self.register_buffer("code_evidence", torch.zeros(config.codebook_size, cell))
            self.evidence_scale = nn.Parameter(torch.ones(()))
        self.norm = ChannelNorm(dim)
        self.aux_head = nn.Conv2d(dim, config.num_labels, 1)
        self.post_init()

    @classmethod
    def from_backbone(
        cls,
        name: str = "efficientnet-lite0",
        *,
        backbone_config: dict[str, Any] | None = None,
        pretrained: bool = True,
        **config: Any,
    ) -> Self:
        """Build a prior on a named backbone.

        Args:
            name: "efficientnet-lite0" / "1" / "2", a local folder, or a hub id.
            backbone_config: Backbone configuration with `model_type` instead of `name`; randomly initialised.
            pretrained: Load the trained weights of `name`.
            **config: Other fields of `GSSPriorConfig`.

        Raises:
            InputError: The backbone is unknown, its weights are missing or a field is bad.
        """
        unknown = set(config) - {field.name for field in fields(GSSPriorConfig)} - {"num_labels"}
        if unknown:
            raise InputError(f"{sorted(unknown)} are no fields of GSSPriorConfig")
        found = build_backbone_config(name, backbone_config)
        if backbone_config is None and "image_mean" not in config and "image_std" not in config:
            config = {**folder_normalisation(name), **config}
        try:
            model = cls(GSSPriorConfig(backbone_config=found, **config))
        except StrictDataclassError as error:
            raise InputError(" ".join(str(error.__cause__ or error).split())) from error
        if pretrained and backbone_config is None:
            model.backbone.load_state_dict(load_pretrained_backbone(name, found).state_dict())
        return model

    @torch.no_grad()
    def tie_codebook(self, code_embeddings: Tensor) -> None:
        """Copy the posterior's codes into the "tied" classifier, centred and with a mean squared norm of 1.

        Args:
            code_embeddings: Codes `[V, R]` with R = `classifier_rank`.

        Raises:
            InputError: The classifier is not tied or the shape differs.
        """
        if self.config.classifier != "tied" or not self.config.codebook_size:
            raise InputError(f"classifier={self.config.classifier!r} has no codebook; configure classifier='tied'")
        expected = (self.config.codebook_size, self.config.classifier_rank)
        if tuple(code_embeddings.shape) != expected:
            raise InputError(
                f"code_embeddings have shape {tuple(code_embeddings.shape)}, expected {expected}; set"
                " codebook_size and classifier_rank to the posterior's number and dimension of codes"
            )
        codes = code_embeddings.detach().to(self.code_embeddings)
        codes = codes - codes.mean(0)
        norm = codes.square().sum(1).mean().sqrt().clamp_min(1e-12)
        self.code_embeddings.copy_(codes / norm)

    @torch.no_grad()
    def tie_evidence(self, table: Tensor) -> None:
        """Copy a local posterior's p(c | z) into the "evidence" classifier.

        With independent pixels of class probabilities a (those of the auxiliary head), the mean-field posterior of
        the code is p(z | x) proportional to exp(sum over pixels and classes of a log p(c | z)). The classifier adds
        this exponent, scaled by a learned factor, to its own logits; its own weights only learn the difference.

        Args:
            table: Class probabilities of every code `[V, K, f, f]`.

        Raises:
            InputError: The classifier is another one or the shape differs.
        """
        if self.config.classifier != "evidence" or not self.config.codebook_size:
            raise InputError(f"classifier={self.config.classifier!r} uses no code table; configure 'evidence'")
        side = self.config.token_stride
        expected = (self.config.codebook_size, self.config.num_labels, side, side)
        if tuple(table.shape) != expected:
            raise InputError(f"table has shape {tuple(table.shape)}, expected {expected} of this prior")
        self.code_evidence.copy_(table.flatten(1).log().clamp(min=_LEAST_LOG))

    def classifier_weight(self) -> tuple[Tensor, Tensor]:
        """Last linear layer of the token classifier: `token_logits = weight @ token_hidden + bias`.

        Returns:
            weight `[V, R]` and bias `[V]`; with "evidence" R counts its columns too.

        Raises:
            InputError: The model has no token classifier.
        """
        if not self.config.codebook_size:
            raise InputError("codebook_size=0: this prior has no token classifier; it reads pixels only")
        if self.config.classifier == "evidence":
            return torch.cat([self.token_head.weight, self.code_evidence], 1), self.token_head.bias
        if self.config.classifier != "tied":
            return self.token_head.weight, self.token_head.bias
        # -s |h - e|^2 = 2s h.e - s |e|^2 up to a constant of the cell.
        scale = self.code_scale.exp()
        return 2 * scale * self.code_embeddings, self.code_bias - scale * self.code_embeddings.square().sum(1)

    def hold(self, modules: Sequence[nn.Module]) -> None:
        """Keep modules of this model in evaluation mode whatever the mode of the rest."""
        self._held = tuple(modules)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, leaving held modules and frozen batch norms in evaluation mode."""
        super().train(mode)
        for held in self._held:
            held.eval()
        if mode and self.config.freeze_batch_norm:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    @property
    def input_multiple(self) -> int:
        """Pixels per side that images are padded to multiples of."""
        return math.lcm(input_multiple(self.config.backbone_config), cast(int, self.config.context_stride))

    def padded_grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the cells (h, w) of the padded image, which the backbone's maps cover."""
        stride, multiple = self.config.token_stride, self.input_multiple
        return -(-height // multiple) * multiple // stride, -(-width // multiple) * multiple // stride

    def forward(
        self,
        pixel_values: Tensor,
        *,
        return_tokens: bool = True,
        return_hidden: bool = True,
        return_maps: bool = False,
        output_hidden_states: bool | int | Sequence[int] | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> GSSPriorOutput | tuple[Any, ...]:
        """Predict the token distribution and the classes of every cell.

        Args:
            pixel_values: Images `[B, 3, H, W]` in [0, 1]; H and W multiples of `token_stride`.
            return_tokens: Compute `token_logits`; losses that chunk the classifier leave them out.
            return_hidden: Compute `token_hidden` even if `token_logits` are not asked for.
            return_maps: Keep the backbone's maps in the output.
            output_hidden_states: Keep the maps around the window blocks, all or those of some indices; the config's
                choice if None.
            output_attentions: Keep the attention weights; the config's choice if None.
            return_dict: False for a tuple of the fields that are not None; the config's choice if None.

        Raises:
            InputError: The shape or type of the input does not fit.
        """
        # 0. Check the input.
        self._check_input(pixel_values)
        stride = self.config.token_stride
        height, width = pixel_values.shape[-2:]
        grid = self.padded_grid(height, width)

        # 1. Backbone: one map per level, [B, C_i, h_i, w_i].
        x = backbone_input(
            pixel_values,
            self.pixel_mean,
            self.pixel_std,
            dtype=cast(nn.Conv2d, self.fusion.projections[0]).weight.dtype,
            multiple=self.input_multiple,
            size=fixed_size(self.config.backbone_config),
        )
        maps = self.backbone(x).feature_maps

        # 2. Fusion on the context grid, [B, D, h', w'].
        ratio = cast(int, self.config.context_stride) // stride
        x = fused = self.fusion(maps, (-(-grid[0] // ratio), -(-grid[1] // ratio)))

        # 3. Window blocks, same shape.
        states, weights = [x], []
        with_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        for block in self.blocks:
            if with_attentions:
                x, weight = block(x, return_attention=True)
                weights.append(weight)
            elif self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(block.__call__, x)
            else:
                x = block(x)
            states.append(x)

        # 4. Finest level joins on the token grid; the padding is cut off, [B, D, h, w].
        if self.detail is not None:
            x = self.detail((x, maps[0]), grid)
        features = self.norm(x)[..., : height // stride, : width // stride]

        # 5. Heads: class logits [B, K, h, w] and token logits [B, V, h, w].
        output = self.read_features(features, return_tokens=return_tokens, return_hidden=return_hidden)
        output.fused = fused
        if return_maps:
            output.maps = tuple(maps)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        output.hidden_states = select_states(tuple(states), wanted)
        if with_attentions:
            output.attentions = tuple(weights)
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def read_features(
        self, features: Tensor, *, return_tokens: bool = True, return_hidden: bool = True
    ) -> GSSPriorOutput:
        """Run the two heads.

        Args:
            features: `[B, D, h, w]`, those of the output of `forward`.
            return_tokens: See `forward`.
            return_hidden: See `forward`.
        """
        aux_logits = self.aux_head(features)
        hidden = logits = None
        if self.config.codebook_size and (return_tokens or return_hidden):
            hidden = self.token_input(features, aux_logits)
            logits = self.classify(hidden) if return_tokens else None
        return GSSPriorOutput(token_logits=logits, aux_logits=aux_logits, features=features, token_hidden=hidden)

    def token_input(self, features: Tensor, aux_logits: Tensor) -> Tensor:
        """Compute the input of the last layer of the token classifier, `[B, R, h, w]` or `[B, R + K*f*f, h, w]`.

        Args:
            features: `[B, D, h, w]`.
            aux_logits: `[B, K, h, w]`, class logits of the auxiliary head, for the "evidence" classifier.
        """
        hidden = self.project(features)
        if self.config.classifier != "evidence":
            return hidden
        stride = self.config.token_stride
        # Linear in the evidence too: its columns join those of the classifier, see `classifier_weight`.
        pixels = F.interpolate(aux_logits, scale_factor=stride, mode="bilinear").softmax(1)  # [B, K, H, W]
        evidence = F.pixel_unshuffle(pixels, stride)  # [B, K*f*f, h, w]
        return torch.cat([hidden, self.evidence_scale * evidence], 1)  # [B, R + K*f*f, h, w]

    def dense_features(self, output: GSSPriorOutput, source: str) -> Tensor:
        """Return the features that a density head or score describes.

        Training clusters the head features by class, so unseen objects end up inside the clusters as well. Features
        before the window blocks ("fusion") keep more of the difference.

        Args:
            output: Result of `forward`.
            source: "head" for the features both heads read, "fusion" or "context" for the fused levels of the backbone.

        Returns:
            `[B, D, h, w]`, on the token grid.

        Raises:
            InputError: Unknown source.
        """
        if source not in FEATURE_SOURCES:
            raise unknown_name("source", source, FEATURE_SOURCES)
        features = cast(Tensor, output.features)
        if source == "head":
            return features
        ratio = cast(int, self.config.context_stride) // self.config.token_stride
        fused = F.interpolate(cast(Tensor, output.fused), scale_factor=ratio, mode="bilinear")
        return fused[..., : features.shape[-2], : features.shape[-1]]

    def project(self, features: Tensor) -> Tensor:
        """Project features `[B, D, h, w]` to the width of the token classifier, `[B, R, h, w]`."""
        return self.token_drop(self.token_act(self.token_proj(features)))

    def classify(self, hidden: Tensor) -> Tensor:
        """Compute token logits `[B, V, h, w]` of the input `[B, R, h, w]` of the last linear layer."""
        weight, bias = self.classifier_weight()
        if self.config.classifier != "evidence":
            return F.conv2d(hidden, weight[..., None, None], bias)
        # Sums of log-likelihoods reach some hundreds: half precision would round differences between codes away.
        with torch.autocast(hidden.device.type, enabled=False):
            return F.conv2d(hidden.float(), weight.float()[..., None, None], bias.float())

    def _check_input(self, pixel_values: Tensor) -> None:
        if pixel_values.ndim != 4 or pixel_values.shape[1] != 3:
            raise InputError(f"pixel_values have shape {tuple(pixel_values.shape)}, expected (B, 3, H, W)")
        if not pixel_values.is_floating_point():
            raise InputError(f"pixel_values have type {pixel_values.dtype}, expected floats in [0, 1]; divide by 255")
        stride = self.config.token_stride
        height, width = pixel_values.shape[-2:]
        if height % stride or width % stride or not height or not width:
            size = "x".join(str(max(-(-n // stride), 1) * stride) for n in (height, width))
            raise InputError(f"image size {height}x{width} is no multiple of token_stride={stride}; pad it to {size}")

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise new layers; only called for those without loaded weights."""
        if module is self:
            # Buffers come back uninitialised when a checkpoint lacks them.
            init.copy_(self.pixel_mean, torch.tensor(self.config.image_mean).view(1, 3, 1, 1))
            init.copy_(self.pixel_std, torch.tensor(self.config.image_std).view(1, 3, 1, 1))
            if self.config.codebook_size and self.config.classifier == "tied":
                init.normal_(self.code_embeddings, std=self.config.classifier_rank**-0.5)
                init.zeros_(self.code_scale)
                init.zeros_(self.code_bias)
            if self.config.codebook_size and self.config.classifier == "evidence":
                init.zeros_(self.code_evidence)
                init.ones_(self.evidence_scale)
        elif module in (self.aux_head, getattr(self, "token_head", None)):
            init.normal_(module.weight, std=0.02)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=0.02)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="linear")
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)


AutoModel.register(GSSPriorConfig, GSSPriorModel, exist_ok=True)
