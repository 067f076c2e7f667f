"""Masks from class probabilities that come in strips of rows, so that no map of all classes exists."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

# Numbers in a strip, 4 MB in float32: on a CPU it stays in the cache.
STRIP = 2**20


class MaskRows:
    """Labels and confidence of one image, from class probabilities that are added strip by strip, from above.

    Strips are resized bilinearly to the size of the mask, as by `F.interpolate(mode="bilinear", align_corners=False)`.

    Args:
        content: (h, w) at which the probabilities come; what is added to the right of it or below it is padding.
        size: (H, W) of the mask.

    Attributes:
        labels: uint8 `[H, W]`, the class of the largest probability, the first one of equal ones.
        confidence: float32 `[H, W]`, its probability.
    """

    def __init__(self, content: tuple[int, int], size: tuple[int, int], device: torch.device) -> None:
        self.labels = torch.empty(size, dtype=torch.uint8, device=device)
        self.confidence = torch.empty(size, device=device, dtype=torch.float32)
        self._content, self._size = content, size
        self._added = self._done = 0  # rows of the probabilities and of the mask
        self._held: Tensor | None = None  # last rows added, [K, rows, w], which rows of the mask still need
        # Half-pixel centres, clamped at the border, as in F.interpolate.
        source = (torch.arange(size[0]) + 0.5) * (content[0] / size[0]) - 0.5
        source = source.clamp(0, content[0] - 1)
        self._upper = source.floor().long()  # [H]
        self._lower = (self._upper + 1).clamp(max=content[0] - 1)
        self._share = source - self._upper

    @property
    def complete(self) -> bool:
        """Whether every row of the mask is there."""
        return self._done == self._size[0]

    def add(self, values: Tensor) -> None:
        """Add the next rows of class probabilities `[K, rows, W']`."""
        values = values[:, : self._content[0] - self._added, : self._content[1]]
        if self.complete or not values.shape[1]:
            return
        self._added += values.shape[1]
        if self._content[0] == self._size[0]:
            self._reduce(values)
            return
        # 1. Rows that are there, from `first` on, and rows of the mask that need no others.
        known = values if self._held is None else torch.cat([self._held, values], 1)
        first = self._added - known.shape[1]
        ready = int(torch.searchsorted(self._lower, self._added))

        # 2. These rows of the mask.
        rows = max(1, STRIP // max(1, values.shape[0] * self._size[1]))
        for top in range(self._done, ready, rows):
            part = slice(top, min(ready, top + rows))
            upper, lower = ((index[part] - first).to(known.device) for index in (self._upper, self._lower))
            share = self._share[part, None].to(known)
            self._reduce(torch.lerp(known[:, upper], known[:, lower], share))

        # 3. Rows to keep for the next ones.
        keep = int(self._upper[ready]) - first if ready < self._size[0] else known.shape[1]
        self._held = known[:, keep:].clone()

    def _reduce(self, values: Tensor) -> None:
        """Write the next rows of the mask from their probabilities `[K, rows, w]`."""
        if values.shape[2] != self._size[1]:
            size = (values.shape[1], self._size[1])
            values = F.interpolate(values[None], size=size, mode="bilinear", align_corners=False)[0]
        part = slice(self._done, self._done + values.shape[1])
        confidence, index = values.max(0)
        self.confidence[part] = confidence
        self.labels[part] = index.to(torch.uint8)
        self._done = part.stop


def pixel_rows(logits: Tensor, stride: int, top: int, bottom: int) -> Tensor:
    """Return class probabilities of the pixels of rows of cells.

    Args:
        logits: class logits at the cell centres, float32 `[K, h, w]`.
        stride: pixels per cell side f.
        top: first row of cells.
        bottom: row of cells behind the last one.

    Returns:
        float32 `[K, (bottom - top)*f, w*f]`, the rows that the enlarged whole map has.
    """
    # With a row of neighbours on both sides the rows are those of the whole map.
    first, last = max(0, top - 1), min(logits.shape[1], bottom + 1)
    pixels = F.interpolate(logits[None, :, first:last], scale_factor=stride, mode="bilinear")[0]
    return pixels[:, (top - first) * stride : (bottom - first) * stride].softmax(0)


def cell_strips(height: int, width: int, numbers: int, limit: int) -> Iterator[tuple[int, int]]:
    """Yield first and last row + 1 of strips of a grid, with at most `limit` numbers, `numbers` a cell, in each."""
    step = max(1, limit // (numbers * width))
    for top in range(0, height, step):
        yield top, min(top + step, height)
