"""Maps of outlier scores and their truth, checked: what every out-of-distribution metric starts from."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gss.core.errors import InputError

INLIER, OUTLIER, VOID = 0, 1, 255


def as_numpy(values: Tensor | np.ndarray) -> np.ndarray:
    """Return the values of an array or of a tensor on any device; they must not be written to."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        # NumPy has no bfloat16; float32 holds every value of it.
        return (values.float() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def check_target(target: Tensor | np.ndarray, of: np.ndarray, name: str) -> np.ndarray:
    """Return the truth that belongs to a map as an integer array.

    Args:
        target: `[H, W]` or `[B, H, W]`, integers: 0 inlier, 1 outlier, 255 void.
        of: map that the truth belongs to.
        name: name of this map in messages.

    Raises:
        ValueError: another shape than the map, or other values.
    """
    truth = as_numpy(target)
    if truth.ndim not in (2, 3) or truth.dtype.kind not in "bui":
        raise InputError(f"target must be an integer [H, W] or [B, H, W], got {truth.dtype} {list(truth.shape)}")
    if truth.shape != of.shape:
        raise InputError(
            f"{name} has shape {list(of.shape)} but target {list(truth.shape)}; interpolate {name} to the size of "
            "the labels"
        )
    known = (truth == INLIER) | (truth == OUTLIER) | (truth == VOID)
    if not known.all():
        raise InputError(
            f"target holds label {int(truth[~known][0])}, allowed are {INLIER} (in), {OUTLIER} (out) and {VOID} "
            "(void); translate other labels in the data spec"
        )
    return truth
