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

from gss.core.errors import InputError
from gss.models.backbone import (
    build_backbone,
    build_backbone_config,
    fixed_size,
    input_multiple,
    load_pretrained_backbone,
)
from gss.models.efficientnet_lite import EfficientNetLiteConfig

_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_SYMMETRIC = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])


@dataclass
class TagOutput:
    """Output of `TagClassifier`; what was not asked for is None.

    Attributes:
        pooled: mean feature of each image `[B, D]`.
        logits: of the tags `[B, K]`.
        features: of the cells `[B, D, h, w]`.
    """

    pooled: Tensor | None = None
    logits: Tensor | None = None
    features: Tensor | None = None


class TagClassifier(ModelMixin, ConfigMixin):
    """Backbone, mean over the image, and a linear classifier without bias (CAM; Zhou et al., CVPR 2016).

    Without a bias the logit of an image is the mean of what the classifier says about its cells, so those values tell
    where a class is seen.

    Args:
        class_names: names of the label space; K of them, those but the background, are tags.
        background: label that stands for no tag; None where every label is one.
        backbone_config: configuration of the backbone as a dictionary with `model_type`.
        levels: how many of the backbone's maps are read, the deepest ones, side by side on the grid of the finest.
        freeze_batch_norm: keep the running statistics of the backbone's batch norms fixed while training.
        image_size: longer side in pixels of the images it is trained on.
        image_mean, image_std: normalisation of the backbone's input, of images in 0..1; its usual one if None.

    Raises:
        ValueError: no tag, a background that is no label, or more levels than the backbone has.
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
            raise InputError(f"background={background} is no label: there are {len(class_names)} classes")
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
        mean, std = _SYMMETRIC if isinstance(found, EfficientNetLiteConfig) else _IMAGENET
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
            output_stride: pixels per cell of the deepest map; None takes 16 for a named EfficientNet-Lite, and others
                as they are. Only EfficientNet-Lite can change it.
            **config: other arguments of the class.

        Raises:
            ValueError: the backbone is unknown, its weights are missing, or its stride cannot be changed.
        """
        found = build_backbone_config(name, backbone_config)
        if output_stride is None and isinstance(found, EfficientNetLiteConfig) and backbone_config is None:
            output_stride = 16
        if output_stride is not None:
            if not isinstance(found, EfficientNetLiteConfig):
                raise InputError(
                    f"output_stride={output_stride}: only EfficientNet-Lite can keep its maps finer, not "
                    f"{found.model_type!r}; leave it out, or read more levels"
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
        """Read images.

        Args:
            images: float `[B, 3, H, W]` in 0..1, of any size.
            logits: compute the logits and the pooled features they are of.
            features: keep the features of the cells.

        Raises:
            ValueError: the input's shape or type does not fit.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise InputError(
                f"images are {images.dtype} {list(images.shape)}; expected floats in 0..1 of shape [B, 3, H, W]"
            )
        height, width = images.shape[-2:]
        x = (images - self.pixel_mean) / self.pixel_std
        x = x.to(self.classifier.weight.dtype)
        # All maps of the backbone then cover the image exactly, whatever its way of rounding sizes.
        bottom, right = -height % self.multiple, -width % self.multiple
        if bottom or right:
            x = F.pad(x, (0, right, 0, bottom), mode="replicate")
        x = x.contiguous(memory_format=torch.channels_last)
        if self.fixed_size is not None:
            x = F.interpolate(x, size=self.fixed_size, mode="bilinear", antialias=True)
        maps = self.backbone(x).feature_maps[-cast(int, self.config["levels"]) :]
        grid = cast(tuple[int, int], tuple(maps[0].shape[-2:]))
        found = torch.cat([maps[0], *(F.interpolate(deep, size=grid, mode="bilinear") for deep in maps[1:])], 1)
        # Cells of the padding are left out: they would count the border twice.
        h = max(round(height * grid[0] / (height + bottom)), 1)
        w = max(round(width * grid[1] / (width + right)), 1)
        found = found[..., :h, :w]
        output = TagOutput(features=found if features else None)
        if logits:
            output.pooled = found.mean((-2, -1))
            output.logits = F.linear(output.pooled, self.classifier.weight[:, :, 0, 0])
        return output

    def class_maps(self, features: Tensor) -> Tensor:
        """What the classifier says about every cell: `[B, D, h, w]` to `[B, K, h, w]`; means are the logits."""
        return self.classifier(features)

    def tags(self, labels: Tensor) -> Tensor:
        """Columns of the tags: flags or numbers of all labels `[..., L]` to those of the classifier `[..., K]`."""
        return labels[..., list(self.classes)]
