"""Random walks over the pixels of one image, on sparse affinities: exact, without an n x n matrix.

Each pixel has links to those within a radius. `random_walk` spreads scores for a number of steps. `absorbing_walk`
lets a walker go on until it stops at a labelled pixel, which suits few and certain labels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.linalg import splu
from scipy.special import gammaln

from gss.core.errors import InputError

# Strength of every pixel beyond its own: makes the system regular where no label can be reached.
_REGULAR = 1e-9


def edge_map(image: np.ndarray, *, smooth: float = 1.0) -> np.ndarray:
    """Return the strength of the edges of an image: 1 - exp(-|grad I|^2 / (2 mean |grad I|^2)).

    This is the contrast term of GrabCut (Rother et al., SIGGRAPH 2004). It is relative to the mean contrast of the
    image, so that dark and foggy pictures have edges too.

    Args:
        image: RGB `[H, W, 3]` of any scale.
        smooth: standard deviation in pixels of a Gaussian filter before the gradient.

    Returns:
        float32 `[H, W]` in 0..1.
    """
    pixels = image.astype(np.float32)
    squared = np.zeros(pixels.shape[:2], np.float32)
    for axis in (0, 1):
        order = [0, 0]
        order[axis] = 1
        for channel in range(pixels.shape[2]):
            squared += ndimage.gaussian_filter(pixels[..., channel], smooth, order=order, mode="nearest") ** 2
    mean = float(squared.mean())
    return 1 - np.exp(-squared / (2 * mean)) if mean > 0 else squared


def edge_affinity(edges: np.ndarray, *, radius: float = 3.0, power: float = 4.0) -> csr_array:
    """Return affinities a_ij = (1 - max of the edges on the line from i to j)^power.

    Ahn et al., Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations, CVPR 2019.

    Args:
        edges: `[h, w]` in 0..1, such as `edge_map` or the edges of another source.
        radius: radius of the neighbourhood in pixels, at least 1.
        power: exponent; larger values make more of weak edges.

    Returns:
        Symmetric float32 `[h*w, h*w]` with ones on the diagonal. Every pair within the radius is stored, zeros too.
    """

    def affinity(dy: int, dx: int) -> np.ndarray:
        count = max(dy, abs(dx))
        steps = [(round(k * dy / count), round(k * dx / count)) for k in range(count + 1)]
        worst = np.maximum.reduce([_shifted(edges, y, x, dy, dx) for y, x in steps])
        return (1 - worst) ** power

    return _neighbourhood(edges.shape, radius, affinity)


def feature_affinity(features: np.ndarray, *, radius: float = 3.0, scale: float | None = None) -> csr_array:
    """Return affinities a_ij = exp(-|f_i - f_j|^2 / (2 scale^2)).

    Args:
        features: `[C, h, w]`, colours or the features of a network.
        radius: radius of the neighbourhood in pixels, at least 1.
        scale: distance at which the affinity is exp(-1/2); the root mean square distance of direct neighbours by
            default.

    Returns:
        Symmetric float32 `[h*w, h*w]` with ones on the diagonal. Every pair within the radius is stored, zeros too.
    """
    features = features.astype(np.float32)
    if scale is None:
        across, down = np.diff(features, axis=2) ** 2, np.diff(features, axis=1) ** 2
        scale = float(np.sqrt((across.sum() + down.sum()) / max(across[0].size + down[0].size, 1))) or 1.0

    def affinity(dy: int, dx: int) -> np.ndarray:
        apart = _shifted(features, dy, dx, dy, dx) - _shifted(features, 0, 0, dy, dx)
        return np.exp(-(apart**2).sum(0) / (2 * scale**2))

    return _neighbourhood((features.shape[1], features.shape[2]), radius, affinity)


def image_links(
    cells: np.ndarray, *, radius: float, edge: float, color: float, weakest: float, barrier: np.ndarray | None = None
) -> csr_array:
    """Return the product of edge and colour affinities, none of which is below a floor.

    Args:
        cells: RGB `[3, h, w]`, scale 0..255.
        radius: radius of the neighbourhood in cells, at least 1.
        edge: exponent of `edge_affinity`.
        color: scale of `feature_affinity`, a distance in RGB.
        weakest: floor; above 0 every cell can be reached from every other one.
        barrier: edges `[h, w]` in 0..1; those of the cells themselves by default.

    Returns:
        Symmetric float32 `[h*w, h*w]` with ones on the diagonal.
    """
    edges = edge_map(cells.transpose(1, 2, 0), smooth=0.7) if barrier is None else barrier
    links = edge_affinity(edges, radius=radius, power=edge)
    # Both store the same pairs in the same order. A sparse product would drop those that vanish, and the floor with it.
    links.data *= feature_affinity(cells, radius=radius, scale=color).data
    np.maximum(links.data, np.float32(weakest), out=links.data)
    return links


def random_walk(affinity: csr_array, scores: np.ndarray, *, steps: int = 256, tolerance: float = 1e-6) -> np.ndarray:
    """Return scores after steps in which each pixel takes the affinity-weighted mean of its neighbours.

    With D the row sums of the affinity A this is (D^-1 A)^steps applied to the scores. The power of the symmetric
    S = D^-1/2 A D^-1/2 is a sum of Chebyshev polynomials whose coefficients are the chances of a coin-flip walk to end
    k steps from its start (Sachdeva and Vishnoi, 2014, chapter 3). About sqrt(2 steps log(1 / tolerance)) products
    with A therefore replace `steps` of them.

    Args:
        affinity: symmetric, non-negative `[N, N]` with positive row sums.
        scores: `[N, K]`.
        steps: number of steps, at least 0.
        tolerance: probability that may be left out; it bounds the error relative to the scores in the norm of D.

    Returns:
        float32 `[N, K]`.
    """
    root = np.sqrt(affinity.sum(axis=1)).astype(np.float32)
    scale = diags_array(1 / root)
    symmetric = csr_array(scale @ affinity @ scale)
    weights = chebyshev_weights(steps, tolerance)
    before = root[:, None] * scores.astype(np.float32)  # T_0
    here = symmetric @ before  # T_1
    total = weights[0] * before
    for weight in weights[1:]:
        if weight:
            total += weight * here
        before, here = here, 2 * (symmetric @ here) - before
    return total / root[:, None]


def chebyshev_weights(steps: int, tolerance: float) -> np.ndarray:
    """Return coefficients of the Chebyshev polynomials whose sum is x^steps, float32 `[degree + 1]`.

    The coefficient of degree k is the probability that `steps` steps of -1 or 1 end at distance k.

    Args:
        steps: exponent, at least 0.
        tolerance: sum of the coefficients of high degrees that may be left out.
    """
    if steps < 0:
        raise InputError(f"steps is {steps}; it must be 0 or more")
    k = np.arange(steps % 2, steps + 1, 2)
    up = (steps + k) / 2
    chance = np.exp(gammaln(steps + 1) - gammaln(up + 1) - gammaln(steps - up + 1) - steps * np.log(2.0))
    weights = np.zeros(steps + 1, np.float32)
    weights[k] = np.where(k > 0, 2, 1) * chance
    rest = 1 - np.cumsum(weights, dtype=np.float64)
    return weights[: int((rest > tolerance).sum()) + 1]


def absorbing_walk(affinity: csr_array, targets: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Return what a walker finds where it stops; it stops at pixel i with odds of strength_i to the sum of its links.

    This solves (diag(strength) + L) x = strength * targets with the graph Laplacian L of the affinity, the random
    walker (Grady, PAMI 2006) with soft seeds, by one sparse factorisation for all columns. On a grid with links of
    radius 2 the factors take about 2.5 KB a pixel: 430 MiB for 360x480 of them.

    Args:
        affinity: symmetric, non-negative `[N, N]`; the diagonal does not matter.
        targets: what is found where a walker stops `[N, K]`; rows without strength do not matter.
        strength: non-negative `[N]`, above 0 somewhere. A pixel from which no such pixel can be reached gets the mean
            of the targets, weighted by strength.

    Returns:
        float32 `[N, K]`; rows sum to 1 if those of the targets do.
    """
    hold = strength.astype(np.float64)
    links = affinity.astype(np.float64)
    links.setdiag(0)
    system = diags_array(hold + np.asarray(links.sum(axis=1)) + _REGULAR) - links
    wanted = hold[:, None] * targets  # float64 [N, K]
    wanted += _REGULAR * wanted.sum(0) / max(float(hold.sum()), 1e-300)
    # The matrix is symmetric and positive definite: any order of elimination is stable, so the sparsest one is taken.
    options = {"SymmetricMode": True}
    factors = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    return factors.solve(wanted).astype(np.float32)


def _neighbourhood(size: tuple[int, ...], radius: float, affinity: Callable[[int, int], np.ndarray]) -> csr_array:
    """Return the affinities of all pairs of pixels within a radius; `affinity(dy, dx)` gives those of one offset."""
    if radius < 1:
        raise InputError(f"radius is {radius}; it must be at least 1 pixel")
    height, width = size
    number = np.arange(height * width, dtype=np.int32).reshape(size)
    reach = int(radius)
    rows, columns, values = [number.ravel()], [number.ravel()], [np.ones(number.size, np.float32)]
    for dy in range(reach + 1):
        for dx in range(-reach, reach + 1):
            # One half of the disc; the other half holds the same pairs.
            if (dy == 0 and dx <= 0) or dy * dy + dx * dx > radius**2 or dy >= height or abs(dx) >= width:
                continue
            here, there = _shifted(number, 0, 0, dy, dx).ravel(), _shifted(number, dy, dx, dy, dx).ravel()
            value = affinity(dy, dx).astype(np.float32).ravel()
            rows += [here, there]
            columns += [there, here]
            values += [value, value]
    data = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return coo_array(data, shape=(number.size, number.size)).tocsr()


def _shifted(values: np.ndarray, y: int, x: int, dy: int, dx: int) -> np.ndarray:
    """Return `values[..., i + y, j + x]` for all pixels (i, j) whose neighbour (i + dy, j + dx) is in the image too."""
    height, width = values.shape[-2:]
    left = max(-dx, 0)
    right = width - max(dx, 0)
    return values[..., y : height - dy + y, left + x : right + x]
