"""`Task`: modules, loss, validation and product of a stage, independent of the loop."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image
from torch import Tensor, nn

from gss.config.shared import OptimConfig
from gss.training.engine.optim import parameter_groups


class Task(nn.Module, ABC):
    """Modules in training, with their loss, validation and product.

    Modules assigned as attributes are trained, moved, averaged and saved in checkpoints. Modules that are
    only used go through `freeze`.

    Attributes:
        export_name: name of the folder in the run's folder that `export` fills.
        keeps_best: True if `validate` changes what is saved (the best weights so far, as modules or buffers);
            a checkpoint is then written again before the validation is recorded.
        figures: results of the last validation, which `export` may state.
    """

    export_name: str = "model"
    keeps_best: bool = False
    figures: Mapping[str, float] = MappingProxyType({})
    _frozen: dict[str, nn.Module]

    def __init__(self) -> None:
        """Create an empty task; sub-classes call this first."""
        super().__init__()
        object.__setattr__(self, "_frozen", {})

    def freeze(self, **modules: nn.Module) -> None:
        """Hold modules that are used but never trained, as attributes of these names.

        They are put in eval mode (`train()` does not reach them), need no gradient and follow `to(device)`,
        but they are not sub-modules: checkpoints, averages and optimizers do not contain them.

        Args:
            **modules: attribute name and module, for example `freeze(codec=codec, vqvae=vqvae)`.
        """
        for name, module in modules.items():
            self._frozen[name] = module.eval().requires_grad_(False)
            # Past nn.Module.__setattr__, which would register it.
            object.__setattr__(self, name, module)

    def _apply(self, fn: Callable, recurse: bool = True) -> "Task":
        for module in self._frozen.values():
            module._apply(fn)
        return super()._apply(fn, recurse)

    @abstractmethod
    def forward(self, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        """Compute the loss of one micro-batch.

        Args:
            batch: collated samples of the data set, on the device of the task.
            step: optimizer step, counted from 0.

        Returns:
            "loss", a scalar with gradient, and any detached scalars to log. The keys may depend on the step
            but not on the batch: every process must give the same ones.
        """

    def parameter_groups(self, optim: OptimConfig) -> list[dict[str, Any]]:
        """Return groups for AdamW; by default no decay for vectors and a lower rate for a backbone."""
        return parameter_groups(self, optim)

    def validate(self) -> dict[str, float]:
        """Measure on held-out data, in eval mode; runs on all processes and returns the same on each."""
        return {}

    def pictures(self) -> dict[str, Image.Image]:
        """Draw predictions by name, in eval mode; on the main process only, so without collectives."""
        return {}

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the product into a new folder, in eval mode; on the main process only."""
