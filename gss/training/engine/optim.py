"""Parameter groups, AdamW, and the learning rate as a pure function of the optimizer step."""

import math
from typing import Any

from torch import nn
from torch.optim import AdamW

from gss.config.shared import OptimConfig
from gss.core.errors import InputError

_NORMS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.batchnorm._NormBase,  # every batch and instance norm
)


def parameter_groups(module: nn.Module, optim: OptimConfig) -> list[dict[str, Any]]:
    """Split the trainable parameters by weight decay and learning rate.

    Norms, biases (also relative-position bias tables) and all other 0-d and 1-d parameters get no weight
    decay. Parameters whose name starts with "backbone" or contains ".backbone." get
    `lr * backbone_lr_scale`.

    Args:
        module: module whose parameters with `requires_grad` are taken, each once.
        optim: learning rate, backbone scale and weight decay.

    Returns:
        Groups for a torch optimizer: "params", "lr", "weight_decay" and "name"; none is empty.

    Raises:
        InputError: nothing is trainable.
    """
    norms = {
        parameter
        for child in module.modules()
        if isinstance(child, _NORMS)
        for parameter in child.parameters(recurse=False)
    }
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        in_backbone = name.startswith("backbone") or ".backbone." in name
        no_decay = parameter.ndim <= 1 or parameter in norms or "bias" in name.rpartition(".")[2]
        key = ("backbone" if in_backbone else "head") + ("_no_decay" if no_decay else "")
        group = groups.setdefault(
            key,
            {
                "params": [],
                "lr": optim.lr * (optim.backbone_lr_scale if in_backbone else 1.0),
                "weight_decay": 0.0 if no_decay else optim.weight_decay,
                "name": key,
            },
        )
        group["params"].append(parameter)
    if not groups:
        raise InputError(f"{type(module).__name__} has no trainable parameter; set requires_grad on some")
    return list(groups.values())


def build_optimizer(groups: list[dict[str, Any]], optim: OptimConfig) -> AdamW:
    """Build AdamW over parameter groups; each group keeps its full rate under "base_lr".

    Args:
        groups: groups as `parameter_groups` gives them; "lr" and "weight_decay" may be left out.
        optim: defaults of the groups and the betas.

    Returns:
        Optimizer with rates that are not scheduled yet.
    """
    optimizer = AdamW(groups, lr=optim.lr, betas=optim.betas, weight_decay=optim.weight_decay)
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def learning_rate_scale(step: int, steps: int, optim: OptimConfig) -> float:
    """Return the factor on the learning rate of one optimizer step.

    Linear warm-up over `warmup_steps`, then `(1 - t) ** power` (poly), a half cosine, or 1 (constant), with
    t running from 0 to 1 over the rest. It depends on nothing but the step, so it is the same for any
    number of processes and micro-batches, and after a resume.

    Args:
        step: optimizer step about to be made, counted from 0.
        steps: optimizer steps of the whole run.
        optim: warm-up, schedule and power.

    Returns:
        A number in (0, 1].
    """
    if step < optim.warmup_steps:
        return (step + 1) / optim.warmup_steps
    progress = (step - optim.warmup_steps) / max(1, steps - optim.warmup_steps)
    if optim.schedule == "poly":
        return (1.0 - progress) ** optim.power
    if optim.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    return 1.0
