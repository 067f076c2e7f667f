"""Palettes: one RGB colour per class, as far from each other as the 8-bit cube allows.

The nearest colour decodes a noisy maskige rightly if the noise is below half the distance of two colours, so the
smallest pairwise distance is maximised. `maxmin` takes the best of sphere packings (cubic, face-centred and
body-centred lattices, best for many classes) and of repulsion from seeded farthest points (best for few), so it is
never worse than a lattice.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gss.core.errors import InputError, unknown_name

MAX_CLASSES = 255
METHODS = ("maxmin", "lattice", "random", "jitter", "display")


def _check_count(num_classes: int) -> None:
    if not isinstance(num_classes, (int, np.integer)) or isinstance(num_classes, bool):
        raise InputError(f"num_classes: {num_classes!r} is not an integer; give the number of classes (1 to 255)")
    if not 1 <= num_classes <= MAX_CLASSES:
        raise InputError(
            f"num_classes: {num_classes} is outside 1 to {MAX_CLASSES} (255 is void); merge classes to fit"
        )


def min_distance(palette: np.ndarray) -> float:
    """Return the smallest Euclidean RGB distance of two colours; infinite for a single colour.

    Args:
        palette: `[K, 3]`, 8-bit units.
    """
    return float(np.sqrt(_squared_distances(np.asarray(palette, dtype=np.float64)).min()))


def _squared_distances(points: np.ndarray) -> np.ndarray:
    """Return squared distances `[..., K, K]` of points `[..., K, 3]`, infinite on the diagonal."""
    square = np.square(points).sum(axis=-1)
    product = points @ points.swapaxes(-1, -2)
    distances = np.maximum(square[..., :, None] + square[..., None, :] - 2.0 * product, 0.0)
    diagonal = np.arange(points.shape[-2])
    distances[..., diagonal, diagonal] = np.inf
    return distances


def _farthest_points(candidates: np.ndarray, count: int, start: int) -> np.ndarray:
    """Return `count` indices into `candidates` in greedy farthest-point order from `start`."""
    chosen = [start]
    nearest = ((candidates - candidates[start]) ** 2).sum(axis=1)
    for _ in range(count - 1):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((candidates - candidates[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen)


def _best_packing(num_classes: int) -> np.ndarray:
    """Return the lattice packing of the cube with at least `num_classes` points and the widest spacing."""
    best, best_distance = np.zeros((0, 3)), -1.0
    for counts in itertools.combinations_with_replacement(range(1, 13), 3):
        size = counts[0] * counts[1] * counts[2]
        if not num_classes <= size <= 8 * num_classes + 32:
            continue
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"), axis=-1).reshape(-1, 3)
        spacing = np.array([255.0 / (n - 1) if n > 1 else 0.0 for n in counts])
        parity = grid % 2
        even = grid.sum(axis=1) % 2 == 0
        body = (parity[:, 0] == parity[:, 1]) & (parity[:, 1] == parity[:, 2])
        for keep in (np.ones(size, dtype=bool), even, ~even, body):
            points = np.rint(grid[keep] * spacing)
            # A packing with many spare points has needlessly small spacing: skip the costly distances.
            if num_classes <= len(points) <= 2 * num_classes + 8 and min_distance(points) > best_distance:
                best, best_distance = points, min_distance(points)
    return best


def _repel(points: np.ndarray, iterations: int) -> Iterator[np.ndarray]:
    """Descend the energy sum (d_min / d)^p of R layouts at once, with p rising from 8 to 96.

    Args:
        points: `[R, K, 3]`.
        iterations: number of steps.

    Yields:
        `[R, K, 3]`, the layouts after each step.
    """
    for step in range(iterations):
        progress = step / iterations
        distances = np.maximum(_squared_distances(points), 1e-6)
        smallest = distances.min(axis=(1, 2), keepdims=True)
        power = 8.0 * 12.0**progress
        weights = (distances / smallest) ** (-(power / 2.0 + 1.0))
        force = points * weights.sum(axis=2, keepdims=True) - weights @ points
        largest = np.maximum(np.abs(force).max(axis=(1, 2), keepdims=True), 1e-12)
        stride = 0.1 * np.sqrt(smallest) * (1.0 - progress) ** 1.5 + 0.02
        points = np.clip(points + force * (stride / largest), 0.0, 255.0)
        yield points


@functools.lru_cache(maxsize=64)
def _solve_maxmin(num_classes: int, seed: int) -> np.ndarray:
    """Return the read-only palette of `maxmin`, uint8 `[K, 3]`."""
    if num_classes == 1:
        return np.zeros((1, 3), dtype=np.uint8)
    rng = np.random.default_rng([seed, num_classes])
    best, best_distance = np.zeros((num_classes, 3)), -1.0

    def consider(layouts: np.ndarray) -> None:
        nonlocal best, best_distance
        layouts = np.rint(layouts)
        distances = _squared_distances(layouts).min(axis=(1, 2))
        if distances.max() > best_distance:
            best, best_distance = layouts[distances.argmax()], distances.max()

    packing = _best_packing(num_classes)
    consider(packing[None, rng.choice(len(packing), num_classes, replace=False)])
    consider(lattice(num_classes)[None].astype(np.float64))
    corners = np.array(list(itertools.product((0.0, 255.0), repeat=3)))
    starts = []
    # Restarts are cheap and useful for few classes; for many a packing is nearly always best.
    for _ in range(int(np.clip(60000 // num_classes**2, 2, 64))):
        candidates = np.concatenate([rng.uniform(0.0, 255.0, (1000, 3)), corners])
        starts.append(candidates[_farthest_points(candidates, num_classes, int(rng.integers(len(candidates))))])
    for index, layouts in enumerate(_repel(np.stack(starts), iterations=300)):
        if index % 20 == 19 or index >= 290:
            consider(layouts)
    # Farthest-point order: the first classes, most often the frequent ones, get the most different colours.
    order = _farthest_points(best, num_classes, int(rng.integers(num_classes)))
    palette = best[order].astype(np.uint8)
    palette.setflags(write=False)
    return palette


def maxmin(num_classes: int, seed: int = 0) -> np.ndarray:
    """Build the palette of the largest smallest pairwise distance that the solver finds.

    Args:
        num_classes: 1 to 255.
        seed: seed of layout and order; the distance is never below the lattice's.

    Returns:
        uint8 `[K, 3]`.

    Raises:
        InputError: `num_classes` out of range.
    """
    _check_count(num_classes)
    return _solve_maxmin(int(num_classes), int(seed)).copy()


def lattice(num_classes: int) -> np.ndarray:
    """Return colours of the smallest cubic lattice n x n x n that holds them, in farthest-point order."""
    _check_count(num_classes)
    side = next(n for n in range(1, MAX_CLASSES) if n**3 >= num_classes)
    levels = np.rint(np.linspace(0.0, 255.0, side)) if side > 1 else np.zeros(1)
    points = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    return points[_farthest_points(points, num_classes, 0)].astype(np.uint8)


def random(num_classes: int, seed: int = 0) -> np.ndarray:
    """Draw uniformly random distinct colours (the paper's FF-R)."""
    _check_count(num_classes)
    rng = np.random.default_rng([seed, num_classes])
    while True:
        palette = rng.integers(0, 256, (num_classes, 3))
        if len(np.unique(palette, axis=0)) == num_classes:
            return palette.astype(np.uint8)


def jitter(num_classes: int, seed: int = 0) -> np.ndarray:
    """Build the palette of the paper's released code: a coarse grid, each colour moved by up to 15 levels at random.

    Its smallest distance is about a third of `maxmin`'s.
    """
    _check_count(num_classes)
    counts = [1, 1, 1]
    while np.prod(counts) < num_classes:
        # Green first: the released 150-class grid is 5 x 6 x 5.
        counts[min((1, 0, 2), key=lambda axis: counts[axis])] += 1
    levels = [16.0 + 200.0 * np.arange(n) / max(n - 1, 1) for n in counts]
    grid = np.stack(np.meshgrid(*levels, indexing="ij"), axis=-1).reshape(-1, 3)[-num_classes:]
    rng = np.random.default_rng([seed, num_classes])
    while True:
        palette = np.clip(np.rint(grid) + rng.integers(-15, 16, grid.shape), 0, 255)
        if len(np.unique(palette, axis=0)) == num_classes:
            return palette.astype(np.uint8)


def from_list(colors: Sequence[Sequence[int]] | np.ndarray) -> np.ndarray:
    """Build a palette from explicit colours.

    Args:
        colors: K triples of integers in 0..255.

    Returns:
        uint8 `[K, 3]`.

    Raises:
        InputError: wrong shape, type or range, too many colours, or two classes of one colour.
    """
    try:
        palette = np.asarray(colors)
    except ValueError as error:
        raise InputError("colors: rows differ in length; give one [R, G, B] triple per class") from error
    if palette.ndim != 2 or palette.shape[1] != 3:
        raise InputError(f"colors: shape {palette.shape} is not [K, 3]; give one [R, G, B] triple per class")
    if not (np.issubdtype(palette.dtype, np.number) and np.array_equal(palette, np.rint(palette))):
        raise InputError(f"colors: {palette.dtype} values are not integers; give 8-bit values 0 to 255")
    _check_count(len(palette))
    if palette.min() < 0 or palette.max() > 255:
        row = int(np.argmax(((palette < 0) | (palette > 255)).any(axis=1)))
        raise InputError(f"colors: class {row} has {palette[row].tolist()}; every value must be 0 to 255")
    _, first, inverse = np.unique(palette, axis=0, return_index=True, return_inverse=True)
    owner = first[inverse.reshape(-1)]
    repeated = np.flatnonzero(owner != np.arange(len(palette)))
    if len(repeated):
        row = int(repeated[0])
        raise InputError(
            f"colors: classes {int(owner[row])} and {row} share {palette[row].tolist()}; "
            "decoding needs distinct colours, change one or use palette 'maxmin'"
        )
    return palette.astype(np.uint8)


def extend(palette: np.ndarray, count: int) -> np.ndarray:
    """Return more colours for a given palette, each the farthest from all before it.

    Args:
        palette: uint8 `[K, 3]` of distinct colours.
        count: number of new colours, at least 0.

    Returns:
        uint8 `[count, 3]`, points of a grid of 18 levels a channel.

    Raises:
        InputError: more than 255 colours in all.
    """
    if count:
        _check_count(len(palette) + count)
    levels = np.arange(0.0, 256.0, 15.0)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    nearest = np.full(len(grid), np.inf)
    for color in palette.astype(np.float64):
        nearest = np.minimum(nearest, np.square(grid - color).sum(axis=1))
    chosen = []
    for _ in range(count):
        chosen.append(grid[nearest.argmax()])
        nearest = np.minimum(nearest, np.square(grid - chosen[-1]).sum(axis=1))
    return np.array(chosen, dtype=np.uint8).reshape(-1, 3)


def build(
    method: str, num_classes: int, seed: int = 0, colors: Sequence[Sequence[int]] | np.ndarray | None = None
) -> np.ndarray:
    """Build a palette by method name.

    Args:
        method: `maxmin`, `lattice`, `random`, `jitter` or `display` (the data set's own colours).
        num_classes: K, 1 to 255.
        seed: seed of `maxmin`, `random` and `jitter`.
        colors: exactly K colours, needed by `display`.

    Returns:
        uint8 `[K, 3]`.

    Raises:
        InputError: unknown method, K out of range, or (`display`) missing, surplus, too few or equal colours.
    """
    _check_count(num_classes)
    if method == "maxmin":
        return maxmin(num_classes, seed)
    if method == "lattice":
        return lattice(num_classes)
    if method == "random":
        return random(num_classes, seed)
    if method == "jitter":
        return jitter(num_classes, seed)
    if method == "display":
        if colors is None:
            raise InputError("colors: palette 'display' needs the data set's colours; give them or use 'maxmin'")
        if len(colors) != num_classes:
            few = "too few" if len(colors) < num_classes else "too many"
            raise InputError(
                f"colors: {few}, {len(colors)} colours for {num_classes} classes; "
                "give one per class or use palette 'maxmin'"
            )
        return from_list(colors)
    raise unknown_name("palette", method, METHODS)


def swatch(palette: np.ndarray, names: Sequence[str] | None = None) -> Image.Image:
    """Draw a palette: one labelled tile per class, and the smallest distance in the header.

    Args:
        palette: uint8 `[K, 3]`.
        names: K class names; numbers when not given.

    Raises:
        InputError: `names` and `palette` differ in length.
    """
    names = [str(k) for k in range(len(palette))] if names is None else list(names)
    if len(names) != len(palette):
        raise InputError(f"names: {len(names)} names for {len(palette)} colours; give one name per class")
    columns = min(len(palette), max(4, int(np.ceil(np.sqrt(len(palette) * 0.6)))))
    tile_width, tile_height, header = 132, 56, 40
    rows = -(-len(palette) // columns)
    picture = Image.new("RGB", (max(columns * tile_width, 400) + 16, rows * tile_height + header + 8), "white")
    draw = ImageDraw.Draw(picture)
    title_font, font = ImageFont.load_default(16), ImageFont.load_default(12)
    distance = min_distance(palette)
    title = f"{len(palette)} colours" + (f", minimum distance {distance:.1f}" if np.isfinite(distance) else "")
    draw.text((12, 10), title, fill="black", font=title_font)
    for index, (color, name) in enumerate(zip(palette.tolist(), names, strict=True)):
        left, top = 8 + index % columns * tile_width, header + index // columns * tile_height
        box = (left + 2, top + 2, left + tile_width - 4, top + tile_height - 4)
        draw.rounded_rectangle(box, radius=6, fill=tuple(color), outline=(120, 120, 120))
        # Rec. 601 luma decides between black and white text.
        ink = "black" if 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140 else "white"
        text = name if len(name) <= 18 else name[:17] + "\u2026"
        draw.text((left + 9, top + 8), text, fill=ink, font=font)
        draw.text((left + 9, top + 28), "{} {} {}".format(*color), fill=ink, font=font)
    return picture
