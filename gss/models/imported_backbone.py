"""Backbones that are plain torch modules of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
from transformers.modeling_outputs import BackboneOutput

from gss.core.errors import InputError
from gss.core.lookup.plugins import find_class
from gss.models.layers import select_states


class ImportedBackboneConfig(BackboneConfigMixin, PreTrainedConfig):
    """Settings of a backbone of the user's own.

    Args:
        target: `module:Name` of the class, or the name of an entry point.
        channels: channels of its maps, finest first.
        options: arguments of the class.
        out_features, out_indices: maps that are used; all by default.
        **kwargs: settings of transformers.
    """

    model_type = "imported"

    def __init__(
        self,
        target: str = "",
        channels: Sequence[int] = (),
        options: dict[str, Any] | None = None,
        out_features: list[str] | None = None,
        out_indices: list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target, self.channels, self.options = target, list(channels), dict(options or {})
        self.stage_names = ["stem", *(f"stage{number}" for number in range(1, len(self.channels) + 1))]
        out_features = out_features or (None if out_indices else self.stage_names[1:])
        self.set_output_features_output_indices(out_features=out_features, out_indices=out_indices)


class ImportedBackbone(BackboneMixin, PreTrainedModel):
    """A torch module as a backbone of transformers."""

    config_class = ImportedBackboneConfig
    main_input_name = "pixel_values"

    def __init__(self, config: ImportedBackboneConfig) -> None:
        super().__init__(config)
        self.num_features = [3, *config.channels]
        self.network = backbone_class(config.target)(**config.options)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the weights as the class of the user has set them."""

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | int | Sequence[int] | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BackboneOutput | tuple[Any, ...]:
        """Return the maps that are used, `[B, C_i, h_i, w_i]`, finest first.

        Args:
            pixel_values: Images `[B, 3, H, W]`.
            output_hidden_states: Also return the images and all maps, or some of them by their indices.
            output_attentions: Ignored.
            return_dict: False for a tuple of the fields that are not None; the config's choice if None.
            **kwargs: Ignored.

        Raises:
            InputError: the network gives one tensor, another number of maps or other channels than its class states,
                or maps that do not come finest first.
        """
        given = self.network(pixel_values)
        if isinstance(given, Tensor):
            raise InputError(f"{self.config.target}: forward must return a list of maps, got one tensor")
        maps = list(given)
        stated, found = list(self.config.channels), [part.shape[1] for part in maps]
        if found != stated:
            raise InputError(f"{self.config.target} states maps of {stated} channels and gives {found}")
        sizes = [tuple(part.shape[2:]) for part in maps]
        if any(after > before for pair in pairwise(sizes) for before, after in zip(*pair, strict=True)):
            raise InputError(f"{self.config.target}: maps must come finest first, got {_sizes(sizes)}")
        used = [part for name, part in zip(self.stage_names[1:], maps, strict=True) if name in self.out_features]
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        output = BackboneOutput(feature_maps=tuple(used), hidden_states=select_states((pixel_values, *maps), wanted))
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()


def _sizes(sizes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, size)) for size in sizes)


def backbone_class(target: str) -> type:
    """Return the class of a backbone.

    Raises:
        InputError: it cannot be imported, is no torch module, or does not state its channels.
    """
    found = find_class(target, "backbones", nn.Module)
    if found is None:
        raise InputError(f"backbone {target!r}: write module:Name of a torch module, see docs/extending/backbone.md")
    channels = getattr(found, "channels", None)
    if not isinstance(channels, list | tuple) or not channels or any(type(count) is not int for count in channels):
        raise InputError(f"{target}: must state the channels of its maps, such as channels = (32, 64, 128)")
    return found


def imported_config(target: str, options: dict[str, Any] | None = None) -> ImportedBackboneConfig:
    """Return the configuration of a backbone of the user's own.

    Raises:
        InputError: see `backbone_class`.
    """
    return ImportedBackboneConfig(target=target, channels=backbone_class(target).channels, options=options)  # type: ignore[attr-defined]


def load_imported(config: ImportedBackboneConfig) -> ImportedBackbone:
    """Return a backbone with the weights that `NAME.pretrained(**options)` gives, if the class has this method."""
    model, found = ImportedBackbone(config), backbone_class(config.target)
    if hasattr(found, "pretrained"):
        model.network = found.pretrained(**config.options)
    return model


AutoConfig.register(ImportedBackboneConfig.model_type, ImportedBackboneConfig, exist_ok=True)
AutoBackbone.register(ImportedBackboneConfig, ImportedBackbone, exist_ok=True)
