"""Weak labels of each form from a full mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gss.data.weak.labels import WeakLabels
from gss.weak.make.blocks import make_blocks
from gss.weak.make.boxes import make_boxes
from gss.weak.make.coarse import make_coarse
from gss.weak.make.points import make_points
from gss.weak.make.regions import Truth, generator
from gss.weak.make.scribbles import make_scribbles
from gss.weak.make.tags import make_tags

_MAKERS: dict[str, Callable[[Truth, Any, np.random.Generator], WeakLabels]] = {
    "points": make_points,
    "scribbles": make_scribbles,
    "blocks": make_blocks,
    "boxes": make_boxes,
    "coarse": make_coarse,
    "tags": make_tags,
}


def weaken(truth: Truth, form: str, cfg: Any, *, seed: int = 0) -> WeakLabels:
    """Return weak labels made from a full mask; they depend on the arguments alone.

    Labels never lie on void or outside their class, except the cores of boxes, which are guesses.

    Args:
        truth: full mask.
        form: key of `gss.config.weak_labels.FORMS`.
        cfg: settings of the form.
        seed: seed of every random choice, together with the id of the image and the form.
    """
    rng: np.random.Generator = generator(seed, truth.id, form)
    return _MAKERS[form](truth, cfg, rng)
