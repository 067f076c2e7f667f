"""Scribbles on a full mask: smooth curves, middle lines, or random walks, one for each component."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from gss.config.weak_labels import ScribbleConfig
from gss.data.weak.labels import Stroke, WeakLabels
from gss.weak.make.paths import arc, medial_path, smoothed, sub_path, walk_path
from gss.weak.make.regions import Region, Truth, fits, regions

# A curve keeps further from the border in large components: pixels at these shares of the image's area.
_MARGIN_SHARES, _MARGIN_PIXELS = (0.003, 0.15), (2.0, 20.0)
_ROUNDS = 6


def make_scribbles(truth: Truth, cfg: ScribbleConfig, rng: np.random.Generator) -> WeakLabels:
    """Return a stroke in every component; a component without room for it gets a thinner stroke, or a click."""
    strokes = [_stroke(region, truth, cfg, rng) for region in regions(truth, cfg.min_area)]
    return WeakLabels(truth.id, truth.size, truth.num_classes, strokes=strokes, exhaustive=True)


def _stroke(region: Region, truth: Truth, cfg: ScribbleConfig, rng: np.random.Generator) -> Stroke:
    for width in dict.fromkeys((cfg.width, 1.0)):
        if cfg.length == 0:
            break
        for path in _paths(region, truth, cfg, width, rng):
            # Rounded as in files, so that the stroke that is checked is the one that will be read.
            xy = np.round(sub_path(path, 1.0 if cfg.method == "walk" else cfg.length, rng), 2)
            if len(xy) > 1 and fits(region.mask, xy, width):
                return Stroke(region.label, region.place(xy), width)
    row, column = np.unravel_index(region.depth.argmax(), region.depth.shape)
    click = np.array([[column + 0.5, row + 0.5]])
    width = cfg.width if fits(region.mask, click, cfg.width) else 1.0
    return Stroke(region.label, region.place(click), width)


def _paths(
    region: Region, truth: Truth, cfg: ScribbleConfig, width: float, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield paths `[n, 2]` in the box of a region, those of the chosen method first."""
    if cfg.method == "curve":
        yield from _curves(region, truth, cfg, rng)
    if cfg.method == "walk":
        path = walk_path(region.depth, max(2.0, width / 2 + 0.75), cfg.length * 2 * region.area**0.5, rng)
        if path is not None:
            yield path
    middle = medial_path(region.depth, width)
    if middle is not None:
        yield smoothed(middle)
        yield middle


def _curves(region: Region, truth: Truth, cfg: ScribbleConfig, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield curves through two distant ends and a jittered center, and two more points near this curve.

    The recipe is that of Boettcher et al., Scribbles for All, NeurIPS 2024.
    """
    share = region.area / truth.labels.size
    margin = float(np.interp(share, _MARGIN_SHARES, _MARGIN_PIXELS))
    if region.label == truth.background:
        margin = _MARGIN_PIXELS[1]
    jitter = region.area**0.5 / 20
    margin = min(margin, 0.5 * float(region.depth.max()))
    for _ in range(_ROUNDS):
        numbered, count = ndimage.label(region.depth > margin)
        if not count:
            return
        core = numbered == np.bincount(numbered.ravel())[1:].argmax() + 1
        pixels = np.argwhere(core)
        rim = np.argwhere(core & ~ndimage.binary_erosion(core))
        for _ in range(cfg.tries):
            ends = rim[rng.choice(len(rim), min(25, len(rim)), replace=False)]
            apart = ((ends[:, None] - ends) ** 2).sum(-1)
            first, last = np.unravel_index(apart.argmax(), apart.shape)
            if apart[first, last] < 9:
                return
            center = _snapped(rng.normal(pixels.mean(0), jitter), pixels)
            start, stop = ends[first].astype(np.float64), ends[last].astype(np.float64)
            curve = arc(np.array([start, center, stop]))
            middle = np.hypot(*(center - start)) / (np.hypot(*(center - start)) + np.hypot(*(stop - center)))
            picks = rng.uniform(0.2, 0.8, 2)
            points = [_snapped(rng.normal(curve[round(pick * (len(curve) - 1))], jitter / 2), pixels) for pick in picks]
            # In the order of the first curve, so that the second curve does not turn back.
            inner = [point for _, point in sorted(zip((*picks, middle), (*points, center), strict=True), key=_position)]
            yield (arc(np.array([start, *inner, stop])) + 0.5)[:, ::-1]
        margin += 2


def _position(pair: tuple[float, np.ndarray]) -> float:
    return pair[0]


def _snapped(point: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return the nearest of the pixels (row, column)."""
    return pixels[((pixels - point) ** 2).sum(1).argmin()].astype(np.float64)
