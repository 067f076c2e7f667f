"""Tag classifier: image -> classes in it; its linear head on every cell gives class activation maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config

# `from_pretrained` and pipelines look the base class up in this module.
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from gss.core.errors import InputError, quoted
from gss.models.backbone import (
    build_backbone,
    build_backbone_config,
    fixed_size,
    input_multiple,
    load_pretrained_backbone,
)
from gss.models.efficientnet_lite import EfficientNetLiteConfig
from gss.models.inputs import backbone_input, usual_normalisation
from gss.models.layers import enlarge


@dataclass
class TagOutput:
    """Output of `TagClassifier`; a field is None unless asked for.

    Attributes:
        pooled: `[B, D]`, mean feature of each image.
        logits: `[B, K]`, of the tags.
        features: `[B, D, h, w]`, of the cells.
    """

    pooled: Tensor | None = None
    logits: Tensor | None = None
    features: Tensor | None = None


class TagClassifier(ModelMixin, ConfigMixin):
    """Backbone, mean over the image, and a linear classifier without bias (CAM; Zhou et al., CVPR 2016).

    Without a bias the logit of an image is the mean of the logits of its cells, so these show where a class is.

    Args:
        class_names: names of the label space; all but the background are tags, K of them.
        background: label that is not a tag; None where every label is one.
        backbone_config: configuration of the backbone as a dictionary with `model_type`.
        levels: number of the backbone's maps that are read, the deepest ones, on the grid of the finest of them.
        freeze_batch_norm: keep the running statistics of the backbone's batch norms fixed while training.
        image_size: longer side in pixels of the images it is trained on.
        image_mean, image_std: normalisation of the backbone's input, of images in 0..1; that of its weights if None.

    Raises:
        InputError: no tag, a background that is not a label, or more levels than the backbone has.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    @register_to_config
    def __init__(
        self,
        class_names: Sequence[str] = ("background", "object"),
        background: int | None = 0,
        backbone_config: dict[str, Any] | None = None,
        levels: int = 1,
        freeze_batch_norm: bool = True,
        image_size: int = 320,
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if background is not None and not 0 <= background < len(class_names):
            raise InputError(f"background={background} is not a label: there are {len(class_names)} classes")
        self.classes = tuple(k for k in range(len(class_names)) if k != background)
        if not self.classes:
            raise InputError(
                f"class_names={list(class_names)} leave no tag: name at least one class besides background"
            )
        found = build_backbone_config(config=backbone_config or EfficientNetLiteConfig().to_dict())
        self.backbone = build_backbone(found)
        channels = [int(count) for count in self.backbone.channels]
        if not 1 <= levels <= len(channels):
            raise InputError(f"levels={levels} must be 1 to {len(channels)}, the maps of the backbone")
        self.multiple, self.fixed_size = input_multiple(found), fixed_size(found)
        self.dim = sum(channels[-levels:])
        self.classifier = nn.Conv2d(self.dim, len(self.classes), 1, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.01)
        mean, std = usual_normalisation(found)
        self.register_buffer("pixel_mean", torch.tensor(list(image_mean or mean)).view(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor(list(image_std or std)).view(1, 3, 1, 1))

    @classmethod
    def from_backbone(
        cls,
        name: str = "efficientnet-lite0",
        *,
        backbone_config: dict[str, Any] | None = None,
        pretrained: bool = True,
        output_stride: int | None = None,
        **config: Any,
    ) -> Self:
        """Build a classifier on a named backbone.

        Args:
            name: "efficientnet-lite0" / "1" / "2", a local folder, or a hub id.
            backbone_config: backbone configuration with `model_type` instead of `name`; randomly initialised.
            pretrained: load the trained weights of `name`.
            output_stride: pixels per cell of the deepest map; only EfficientNet-Lite can change it. None is 16 for a
                named EfficientNet-Lite.
            **config: other arguments of the class.

        Raises:
            InputError: the backbone is unknown, its weights are missing, or its stride cannot be changed.
        """
        found = build_backbone_config(name, backbone_config)
        if output_stride is None and isinstance(found, EfficientNetLiteConfig) and backbone_config is None:
            output_stride = 16
        if output_stride is not None:
            if not isinstance(found, EfficientNetLiteConfig):
                raise InputError(
                    f"output_stride={output_stride}: only EfficientNet-Lite can keep its maps finer, not "
                    f"{quoted(found.model_type)}; leave it out, or read more levels"
                )
            found = EfficientNetLiteConfig(**{**found.to_dict(), "output_stride": output_stride})
        model = cls(backbone_config=found.to_dict(), **config)
        if pretrained and backbone_config is None:
            model.backbone.load_state_dict(load_pretrained_backbone(name, found).state_dict())
        return model

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, leaving frozen batch norms in evaluation mode."""
        super().train(mode)
        if mode and self.config["freeze_batch_norm"]:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(self, images: Tensor, *, logits: bool = True, features: bool = False) -> TagOutput:
        """Classify images.

        Args:
            images: float `[B, 3, H, W]` in 0..1, of any size.
            logits: compute logits and pooled features.
            features: return the features of the cells.

        Raises:
            InputError: the input's shape or type does not fit.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise InputError(
                f"images are {images.dtype} {list(images.shape)}; expected floats in 0..1 of shape [B, 3, H, W]"
            )
        # 1. Deepest maps of the backbone, side by side on the grid of the finest, [B, D, h', w'].
        height, width = images.shape[-2:]
        dtype = self.classifier.weight.dtype
        x = backbone_input(
            images, self.pixel_mean, self.pixel_std, dtype=dtype, multiple=self.multiple, size=self.fixed_size
        )
        maps = self.backbone(x).feature_maps[-cast(int, self.config["levels"]) :]
        grid = cast(tuple[int, int], tuple(maps[0].shape[-2:]))
        cells = torch.cat([enlarge(x, grid) for x in maps], 1)

        # 2. Without the cells of the padding, which would count the border twice, [B, D, h, w].
        padded = [-(-side // self.multiple) * self.multiple for side in (height, width)]
        h, w = (max(round(side * n / full), 1) for side, n, full in zip((height, width), grid, padded, strict=True))
        cells = cells[..., :h, :w]

        # 3. Mean over the image [B, D] and its logits [B, K].
        output = TagOutput(features=cells if features else None)
        if logits:
            output.pooled = cells.mean((-2, -1))
            output.logits = F.linear(output.pooled, self.classifier.weight[:, :, 0, 0])
        return output

    def class_maps(self, features: Tensor) -> Tensor:
        """Classify every cell: features `[B, D, h, w]` to logits `[B, K, h, w]`, whose mean is the image's logit."""
        return self.classifier(features)

    def tags(self, labels: Tensor) -> Tensor:
        """Select the columns of the tags: values of all labels `[..., L]` to those of the classifier `[..., K]`."""
        return labels[..., list(self.classes)]
