"""What the joint prior computes once an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class JointContext:
    """Everything that a step of the joint prior reads besides the tokens.

    Attributes:
        size: cells (h, w).
        image: bool `[B]`, False for items without an image.
        rows: first and last row of the grid in the scene, as fractions of its height; (0, 1) for a whole scene. Windows
            of a larger mask tell here where they lie.
        base: float32 `[B, V, h, w]`, token logits of the image with the evidence of given pixels; None without images.
        doubt: float32 `[B, C, h, w]`, how sure the image is of each cell; None without images.
        belief: float32 `[B, K, h, w]`, log of the class shares of each cell by the image; None without images.
        silence: float32 `[1, K + R, h, w]`, what the known cells say where none is known; None without images.
        pixels: float32 `[B, V, h, w]`, log-likelihood of the given pixels of cells given in part; None without any.
        given: int64 `[B, h, w]`, tokens of the cells whose pixels are all given, V elsewhere; None without any.
        mass: float32 `[B, K, h, w]`, share of the pixels of each cell that are given, by class; None without any.
    """

    size: tuple[int, int]
    image: Tensor
    rows: tuple[float, float] = (0.0, 1.0)
    base: Tensor | None = None
    doubt: Tensor | None = None
    belief: Tensor | None = None
    silence: Tensor | None = None
    pixels: Tensor | None = None
    given: Tensor | None = None
    mass: Tensor | None = None

    @classmethod
    def empty(cls, batch: int, h: int, w: int, rows: tuple[float, float] = (0.0, 1.0)) -> JointContext:
        """Return the context of `batch` masks of h x w cells without image."""
        return cls((h, w), torch.zeros(batch, dtype=torch.bool), rows)

    @property
    def batch(self) -> int:
        """Number of items B."""
        return len(self.image)

    def repeat(self, count: int) -> JointContext:
        """Return a context with every item `count` times in a row."""
        return self._items(lambda value: value.repeat_interleave(count, 0))

    def select(self, items: Tensor | slice) -> JointContext:
        """Return the context of some items: bool or int64 indices, or a slice."""
        return self._items(lambda value: value[items])

    def to(self, device: torch.device | str) -> JointContext:
        """Move all tensors to a device."""
        tensors: dict[str, Any] = {name: value.to(device) for name, value in self._tensors().items()}
        return dataclasses.replace(self, **tensors)

    def without_image(self) -> JointContext:
        """Return the context of the same masks, and given pixels, without their images."""
        image = torch.zeros_like(self.image)
        return dataclasses.replace(self, image=image, base=None, doubt=None, belief=None, silence=None)

    def _tensors(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def _items(self, change: Callable[[Tensor], Tensor]) -> JointContext:
        """Change every tensor with a batch dimension."""
        tensors: dict[str, Any] = {name: change(value) for name, value in self._tensors().items() if name != "silence"}
        return dataclasses.replace(self, **tensors)
