"""A sample of pixels of bounded size, drawn evenly from all that pass by."""

from __future__ import annotations

import torch
from torch import Tensor

from gss.sampling import balanced_sample, balanced_sample_across


class Reservoir:
    """Of each class, the pixels with the smallest keys.

    Args:
        num_classes: K.
        per_class: pixels kept of each class.
        empty: every column that is kept of a pixel, as a tensor of no rows. `labels` (int64) and `keys` are always
            there.
    """

    def __init__(self, num_classes: int, per_class: int, **empty: Tensor) -> None:
        self.num_classes, self.per_class = num_classes, per_class
        fixed = {"labels": torch.zeros(0, dtype=torch.long), "keys": torch.zeros(0, dtype=torch.float64)}
        self._parts: list[dict[str, Tensor]] = [empty | fixed]
        self._waiting = 0

    def add(self, **rows: Tensor) -> None:
        """Offers pixels: all columns, `[n, ...]` on the CPU."""
        self._parts.append({name: rows[name] for name in self._parts[0]})
        self._waiting += len(rows["labels"])
        if self._waiting > self.num_classes * self.per_class:
            self._keep(across=False)

    def finish(self) -> dict[str, Tensor]:
        """This process's share of the sample: `per_class` counts all processes. Call it once, after the last `add`."""
        self._keep(across=True)
        return self._parts[0]

    def _keep(self, *, across: bool) -> None:
        joined = {name: torch.cat([part[name] for part in self._parts]) for name in self._parts[0]}
        sample = balanced_sample_across if across else balanced_sample
        chosen = sample(joined["labels"], self.per_class, self.num_classes, joined["keys"])
        self._parts, self._waiting = [{name: rows[chosen] for name, rows in joined.items()}], 0
