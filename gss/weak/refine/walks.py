"""Random walks over the pixels of one image, on sparse affinities: exact, without an n x n matrix.

A pixel is joined to those within a radius. `random_walk` spreads scores for a number of steps; `absorbing_walk` lets a
walker go on until it ends at a labelled pixel, which is the right form for few and certain labels.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.special import gammaln

from gss.core.errors import InputError


def edge_map(image: np.ndarray, *, smooth: float = 1.0) -> np.ndarray:
    """How likely the image has an edge at each pixel: 1 - exp(-|grad I|^2 / (2 mean |grad I|^2)).

    The contrast term of GrabCut (Rother et al., SIGGRAPH 2004): relative to the mean contrast of the image, so that
    dark and foggy pictures have edges too.

    Args:
        image: RGB `[H, W, 3]` of any scale.
        smooth: standard deviation in pixels of a Gaussian before the gradient.

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
    """Pixels are akin unless an edge lies between them: a_ij = (1 - max of the edges on the line from i to j)^power.

    Ahn et al., Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations, CVPR 2019.

    Args:
        edges: `[h, w]` in 0..1, such as `edge_map` or the edges of any other source.
        radius: of the neighbourhood in pixels, at least 1.
        power: sharpens the affinities.

    Returns:
        Symmetric float32 `[h*w, h*w]` with ones on the diagonal.
    """

    def affinity(dy: int, dx: int) -> np.ndarray:
        count = max(dy, abs(dx))
        steps = [(round(k * dy / count), round(k * dx / count)) for k in range(count + 1)]
        worst = np.maximum.reduce([_shifted(edges, y, x, dy, dx) for y, x in steps])
        return (1 - worst) ** power

    return _neighbourhood(edges.shape, radius, affinity)


def feature_affinity(features: np.ndarray, *, radius: float = 3.0, scale: float | None = None) -> csr_array:
    """Pixels are akin when their features are: a_ij = exp(-|f_i - f_j|^2 / (2 scale^2)).

    Args:
        features: `[C, h, w]`, colours or the features of a network.
        radius: of the neighbourhood in pixels, at least 1.
        scale: distance that makes two pixels strangers; by default the root mean square distance of direct neighbours.

    Returns:
        Symmetric float32 `[h*w, h*w]` with ones on the diagonal.
    """
    features = features.astype(np.float32)
    if scale is None:
        across, down = np.diff(features, axis=2) ** 2, np.diff(features, axis=1) ** 2
        scale = float(np.sqrt((across.sum() + down.sum()) / max(across[0].size + down[0].size, 1))) or 1.0

    def affinity(dy: int, dx: int) -> np.ndarray:
        apart = _shifted(features, dy, dx, dy, dx) - _shifted(features, 0, 0, dy, dx)
        return np.exp(-(apart**2).sum(0) / (2 * scale**2))

    return _neighbourhood((features.shape[1], features.shape[2]), radius, affinity)


def random_walk(affinity: csr_array, scores: np.ndarray, *, steps: int = 256, tolerance: float = 1e-6) -> np.ndarray:
    """Scores after a number of steps in which each pixel takes the affinity-weighted mean of its neighbours.

    With D the row sums of the affinity A this is (D^-1 A)^steps applied to the scores. The power of the symmetric
    S = D^-1/2 A D^-1/2 is a sum of Chebyshev polynomials whose coefficients are the chances of a coin-flip walk to end
    k steps from its start (Sachdeva and Vishnoi, 2014, chapter 3), so about sqrt(2 steps log(1 / tolerance)) products
    with A replace `steps` of them.

    Args:
        affinity: symmetric, non-negative `[N, N]` with positive row sums.
        scores: `[N, K]`.
        steps: at least 0.
        tolerance: chance that may be left out; a bound of the error relative to the scores in the norm of D.

    Returns:
        float32 `[N, K]`.
    """
    root = np.sqrt(affinity.sum(axis=1)).astype(np.float32)
    symmetric = _scaled(affinity, 1 / root)
    weights = _coin_flip(steps, tolerance)
    before = root[:, None] * scores.astype(np.float32)  # T_0
    here = symmetric @ before  # T_1
    total = weights[0] * before
    for weight in weights[1:]:
        if weight:
            total += weight * here
        before, here = here, 2 * (symmetric @ here) - before
    return total / root[:, None]


def absorbing_walk(
    affinity: csr_array,
    targets: np.ndarray,
    strength: np.ndarray,
    *,
    start: np.ndarray | None = None,
    tolerance: float = 1e-4,
    most: int = 2000,
) -> np.ndarray:
    """Where a walker ends who stops at pixel i with odds of strength_i to the sum of its affinities, from each pixel.

    Solves (diag(strength) + L) x = strength * targets with the graph Laplacian L by conjugate gradients, all columns at
    once; the random walker (Grady, PAMI 2006) with soft seeds.

    Args:
        affinity: symmetric, non-negative `[N, N]`.
        targets: what is found where a walker stops `[N, K]`; rows without strength do not matter.
        strength: non-negative `[N]`, above 0 somewhere in every connected part.
        start: guess of the result `[N, K]`, such as that of a coarser grid; saves iterations.
        tolerance: of the residual relative to the right-hand side.
        most: iterations.

    Returns:
        float32 `[N, K]`; rows sum to 1 if those of the targets do.
    """
    links = affinity.copy()
    links.setdiag(0)
    degree = np.asarray(links.sum(axis=1), np.float32)
    diagonal = (strength + degree).astype(np.float32)
    # Preconditioned by its diagonal, the system is symmetric positive definite with ones on the diagonal.
    root = 1 / np.sqrt(np.maximum(diagonal, 1e-12))
    coupling = _scaled(links, root)
    wanted = (root * strength)[:, None].astype(np.float32) * targets.astype(np.float32)
    if start is None:
        mean = (strength[:, None] * targets).sum(0) / max(float(strength.sum()), 1e-12)
        start = np.where(strength[:, None] > 0, targets, mean)
    found = start.astype(np.float32) / root[:, None]
    residual = wanted - (found - coupling @ found)
    direction = residual.copy()
    energy = (residual**2).sum(0)
    least = tolerance**2 * np.maximum((wanted**2).sum(0), 1e-20)
    for _ in range(most):
        if (energy <= least).all():
            break
        moved = direction - coupling @ direction
        step = energy / np.maximum((direction * moved).sum(0), 1e-30)
        found += step * direction
        residual -= step * moved
        before, energy = energy, (residual**2).sum(0)
        direction = residual + energy / np.maximum(before, 1e-30) * direction
    return found * root[:, None]


def _neighbourhood(size: tuple[int, int], radius: float, affinity: object) -> csr_array:
    """Affinities of all pairs of pixels within a radius; `affinity(dy, dx)` gives those of one offset."""
    if radius < 1:
        raise InputError(f"radius is {radius}; it must be at least 1 pixel")
    height, width = size
    number = np.arange(height * width, dtype=np.int32).reshape(size)
    reach = int(radius)
    rows, columns, values = [number.ravel()], [number.ravel()], [np.ones(number.size, np.float32)]
    for dy in range(reach + 1):
        for dx in range(-reach, reach + 1):
            # Half of the disc: the other half are the same pairs.
            if (dy == 0 and dx <= 0) or dy * dy + dx * dx > radius**2 or dy >= height or abs(dx) >= width:
                continue
            here, there = _shifted(number, 0, 0, dy, dx).ravel(), _shifted(number, dy, dx, dy, dx).ravel()
            value = affinity(dy, dx).astype(np.float32).ravel()  # type: ignore[operator]
            rows += [here, there]
            columns += [there, here]
            values += [value, value]
    data = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return coo_array(data, shape=(number.size, number.size)).tocsr()


def _shifted(values: np.ndarray, y: int, x: int, dy: int, dx: int) -> np.ndarray:
    """`values[..., i + y, j + x]` of all pixels (i, j) whose partner (i + dy, j + dx) is in the picture too."""
    height, width = values.shape[-2:]
    left = max(-dx, 0)
    right = width - max(dx, 0)
    return values[..., y : height - dy + y, left + x : right + x]


def _scaled(matrix: csr_array, factor: np.ndarray) -> csr_array:
    diagonal = diags_array(factor.astype(np.float32))
    return csr_array(diagonal @ matrix @ diagonal)


def _coin_flip(steps: int, tolerance: float) -> np.ndarray:
    """Chance that `steps` steps of -1 or 1 end at distance k, up to where the rest is below the tolerance."""
    if steps < 0:
        raise InputError(f"steps is {steps}; it must be 0 or more")
    k = np.arange(steps % 2, steps + 1, 2)
    up = (steps + k) / 2
    chance = np.exp(gammaln(steps + 1) - gammaln(up + 1) - gammaln(steps - up + 1) - steps * np.log(2.0))
    weights = np.zeros(steps + 1, np.float32)
    weights[k] = np.where(k > 0, 2, 1) * chance
    rest = 1 - np.cumsum(weights, dtype=np.float64)
    return weights[: int((rest > tolerance).sum()) + 1]
