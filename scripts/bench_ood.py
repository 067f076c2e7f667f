"""Out-of-distribution metrics against the usual way to compute them: time, peak memory and equality of results.

    python scripts/bench_ood.py [--quick] [--only NAME] [--json FILE] [--repeats N] [--threads N] [--cpu-time]

The rows of the residual pattern head are those of `bench_residual.py`, which runs them alone; those of the density head
are in `bench_density.py`. How it measures is described in `bench_core.py`. The ranking metrics report the largest
distance of AP, AUROC and FPR at 95 % TPR from scikit-learn's exact ones, and stop when one of their bounds does not
contain it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from bench_core import Case, Row, run
from bench_residual import ROWS as RESIDUAL_ROWS
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from gss.metrics.components import LEVELS, TRACKS, match_components
from gss.metrics.ood import Bounded, OODMetrics

IMAGE = (1000, 2000)


def ranking(pixels: int, exact: bool = False, rounds: int = 1) -> Callable[[bool], Case]:
    """AP, AUROC and FPR95 of log-density-like scores, 1 % outliers, image by image against all at once.

    With `rounds` ours sees every image so many times and the peer once: none of the three figures changes when every
    pixel is there ten times, so the exact values are known without sorting ten times as many pixels.
    """

    def build(quick: bool) -> Case:
        count = max(pixels // (100 if quick else 1) // (IMAGE[0] * IMAGE[1]), 1)
        shape = (count, *((100, 200) if quick else IMAGE))
        rng = np.random.default_rng(0)
        target = (rng.random(shape, np.float32) < 0.01).astype(np.uint8)
        scores = 50 * rng.standard_normal(shape, np.float32) + 200 + 100 * target

        def ours() -> list[Bounded]:
            metrics = OODMetrics(exact=exact)
            for _ in range(rounds):
                for image, truth in zip(scores, target, strict=True):
                    metrics.update(image, truth)
            result = metrics.compute()
            found = [result.ap, result.auroc, result.fpr["first_at_least"]]
            return [figure for figure in found if figure is not None]

        def peer() -> list[float]:
            truth, ranked = target.ravel(), scores.ravel()
            rates, recalls, _ = roc_curve(truth, ranked, drop_intermediate=False)
            reached = float(rates[np.searchsorted(recalls, 0.95)])
            return [float(average_precision_score(truth, ranked)), float(roc_auc_score(truth, ranked)), reached]

        def error(found: list[Bounded], expected: list[float]) -> float:
            for bounded, value in zip(found, expected, strict=True):
                assert bounded.lower - 1e-9 <= value <= bounded.upper + 1e-9, (bounded, value)
            return max(abs(bounded.value - value) for bounded, value in zip(found, expected, strict=True))

        return Case(ours, peer, error)

    return build


def components(quick: bool) -> Case:
    """sIoU and PPV of one image with about a dozen objects and a hundred predicted components."""
    shape = (128, 256) if quick else (1024, 2048)
    rng = np.random.default_rng(0)

    def smooth(width: float) -> np.ndarray:
        field = ndimage.gaussian_filter(rng.standard_normal(shape), width)
        return field / field.std()

    truth = np.where(smooth(shape[0] / 20) > 1.8, 1, 0)
    truth[: shape[0] // 10] = 255
    predicted = smooth(shape[0] / 64) + 1.5 * (truth == 1) > 1.6
    rules = TRACKS["anomaly"]

    def summary(siou: np.ndarray, ppv: np.ndarray) -> np.ndarray:
        counts = [part.sum() for level in LEVELS for part in (siou >= level, ppv < level)]
        return np.array([len(siou), len(ppv), siou.sum(), ppv.sum(), *counts])

    def ours() -> np.ndarray:
        siou, ppv = match_components(predicted, truth, rules)
        return summary(siou, ppv)

    def peer() -> np.ndarray:
        """One full-size mask for each component, the order of operations of the benchmark."""
        eight = np.ones((3, 3))
        true, num_true = ndimage.label(truth == 1, eight)
        found, num_found = ndimage.label(predicted & (truth != 255), eight)
        for p in range(1, num_found + 1):
            if (found == p).sum() < rules.min_predicted:
                found[found == p] = 0
        for g in range(1, num_true + 1):
            if (true == g).sum() < rules.min_true:
                found[true == g] = 0
                true[true == g] = 0
        siou, ppv = [], []
        for g in np.unique(true[true > 0]):
            here = true == g
            union = np.isin(found, np.unique(found[here & (found > 0)])) & (found > 0)
            others = union & (true > 0) & ~here
            siou.append((here & union).sum() / ((here | union).sum() - others.sum()))
        for p in np.unique(found[found > 0]):
            ppv.append((true[found == p] > 0).mean())
        return summary(np.array(siou), np.array(ppv))

    return Case(ours, peer, lambda first, second: float(np.abs(first - second).max()))


ROWS = [
    Row("AP + AUROC + FPR95 with bounds, 10^7 pixels", "scikit-learn", ranking(10**7)),
    Row(
        "AP + AUROC + FPR95 with bounds, 10^8 pixels (10^7, ten times each)",
        "scikit-learn on a tenth: the 10^7 once",
        ranking(10**7, rounds=10),
    ),
    Row("AP + AUROC + FPR95 exact, 10^7 pixels", "scikit-learn", ranking(10**7, exact=True)),
    Row("component metrics, 1024x2048", "one mask a component", components),
    *RESIDUAL_ROWS,
]

if __name__ == "__main__":
    run(ROWS, __doc__ or "")
