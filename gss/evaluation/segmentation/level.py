"""Which decode modes are level: whose difference in mIoU is within the chance of which images were measured."""

from __future__ import annotations

import numpy as np

from gss.core.words import joined
from gss.evaluation.segmentation.result import EvaluationResult

DRAWS = 200
ERRORS = 2.0  # standard errors that a difference must exceed
# Without the counts of single images: points of mIoU, and the number of images below which they mean nothing.
POINTS, FEW_IMAGES = 0.005, 50


def difference_errors(hits: np.ndarray, unions: np.ndarray) -> np.ndarray:
    """Return the standard error of the difference in mIoU of each mode from the best one, by a paired bootstrap.

    The images are drawn again with replacement, the same ones for all modes; mIoU is computed from their counts.

    Args:
        hits: right pixels of each class, [images, modes, K].
        unions: pixels of each class in truth or prediction, [images, modes, K].

    Returns:
        float64 [modes], fractions; 0 for the best mode.
    """
    images = len(hits)
    draws = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=DRAWS).astype(np.float64)
    best = int(np.argmax(_miou(hits.sum(0)[None], unions.sum(0)[None])[0]))
    miou = _miou(np.tensordot(draws, hits, 1), np.tensordot(draws, unions, 1))
    return np.asarray((miou - miou[:, best : best + 1]).std(0))


def _miou(hits: np.ndarray, unions: np.ndarray) -> np.ndarray:
    """Return the mean over the classes that occur, [..., K] to [...]; 0 where none does."""
    return np.asarray((hits / np.maximum(unions, 1)).sum(-1) / np.maximum((unions > 0).sum(-1), 1))


def level_modes(result: EvaluationResult) -> list[str]:
    """Return the modes that are level with the one of the highest mIoU, with it, best first; empty if none is."""
    known = {mode: metrics.miou for mode, metrics in result.modes.items() if metrics.miou is not None}
    order = sorted(known, key=lambda mode: -known[mode])
    few = result.images < FEW_IMAGES
    level = order[:1]
    for mode in order[1:]:
        difference = known[order[0]] - known[mode]
        error = result.difference_errors.get(mode)
        within = difference <= ERRORS * error if error is not None else few and difference < POINTS
        if not within:
            break
        level.append(mode)
    return level if len(level) > 1 else []


def level_note(result: EvaluationResult) -> str:
    """Return one sentence that says which modes are level, and by which rule; empty if the first one is ahead."""
    level = level_modes(result)
    if not level:
        return ""
    rule = (
        f"less than twice the standard error of the difference (paired bootstrap over the {result.images} images)"
        if result.difference_errors
        else f"less than {100 * POINTS:g} points, on fewer than {FEW_IMAGES} images"
    )
    return f"{joined(level)} are level in mIoU: they differ by {rule}."
