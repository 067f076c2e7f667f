"""Image tags of a full mask, with mistakes on request."""

from __future__ import annotations

import numpy as np

from gss.config.weak_labels import TagConfig
from gss.data.weak.labels import WeakLabels
from gss.weak.make.regions import Truth


def large_classes(truth: Truth, cfg: TagConfig) -> np.ndarray:
    """Return the classes large enough to be tagged; bool `[K]`."""
    counts = truth.counts()
    return (counts >= max(cfg.min_area, 1)) & (counts >= cfg.min_share * truth.labels.size)


def make_tags(truth: Truth, cfg: TagConfig, rng: np.random.Generator) -> WeakLabels:
    """Return tags of the classes in an image.

    Like the tags of a real annotator they claim to be exhaustive, even if `miss` has left one out. The background is
    never left out.
    """
    tags = large_classes(truth, cfg)
    kept = tags & (rng.random(len(tags)) >= cfg.miss)
    if truth.background is not None:
        kept[truth.background] = tags[truth.background]
    absent = np.flatnonzero(truth.counts() == 0)
    wrong = int(rng.binomial(len(absent), cfg.false))
    if wrong:
        weight = np.ones(len(absent))
        if cfg.context and truth.companions is not None:
            seen = np.maximum(np.diagonal(truth.companions), 1)
            weight = 1e-6 + (truth.companions / seen[:, None])[tags][:, absent].sum(0)
        kept[rng.choice(absent, wrong, replace=False, p=weight / weight.sum())] = True
    return WeakLabels(truth.id, truth.size, truth.num_classes, tags=kept, exhaustive=True)
