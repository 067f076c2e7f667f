"""Heat maps of the images with the lowest and the highest AP."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from gss.data.outliers.benchmarks import OOD_LABELS, OODDataset
from gss.evaluation.images import Sample
from gss.evaluation.ood.maps import ScoreMaps
from gss.evaluation.ood.result import FrameMetrics, ScoreResult
from gss.report.pictures import VOID, colorize, heatmap

BASELINE = "msp"
"""Score whose heat map is shown beside that of the lead score."""


def shown_scores(scores: Sequence[str], lead: str) -> tuple[str, ...]:
    """Return the scores whose heat maps are shown: the lead, and the baseline or the first other score."""
    baseline = [name for name in (BASELINE, *scores) if name in scores and name != lead][:1]
    return (lead, *baseline)


def draw_frames(
    maps: ScoreMaps,
    dataset: OODDataset,
    frames: Sequence[FrameMetrics],
    scores: dict[str, ScoreResult],
    *,
    count: int,
) -> list[tuple[str, list[Image.Image]]]:
    """Draw image, truth and heat maps of the images with the lowest and the highest AP.

    Args:
        maps: source of the score maps.
        dataset: images and labels.
        frames: metrics of the measured images.
        scores: metrics of the shown scores.
        count: number of images to draw.

    Returns:
        (caption, pictures) of each image.
    """
    # The heat maps of a score have one scale, so that the images can be compared.
    histograms = {name: score.histogram for name, score in scores.items()}
    ranges = {name: (part["edges"][0], part["edges"][-1]) for name, part in histograms.items() if part is not None}
    rows = []
    for rank, position, ap in pick_frames(frames, count):
        index = list(dataset.ids).index(frames[position].id)
        frame = maps.frame(dataset, Sample(index, *dataset.read_labels(index)), tuple(scores))
        heat = [heatmap(frame.maps[name], low=ranges[name][0], high=ranges[name][1]) for name in scores]
        truth = colorize(frame.truth, OOD_LABELS.colors, void=VOID)
        rows.append((f"{rank} · {frame.id} · AP {ap:.1%}", [frame.image, truth, *heat]))
    return rows


def pick_frames(frames: Sequence[FrameMetrics], count: int) -> list[tuple[str, int, float]]:
    """Choose the images with the lowest and the highest AP, about half of each.

    Args:
        frames: metrics of the images.
        count: number of images to choose.

    Returns:
        (rank, position, AP), ascending. Ties go by position; images without AP are left out.
    """
    ranked = sorted((frame.ap, position) for position, frame in enumerate(frames) if frame.ap is not None)
    count = min(count, len(ranked))
    worst, best = ranked[: count - count // 2], ranked[len(ranked) - count // 2 :]
    return [(rank, position, ap) for rank, part in (("worst", worst), ("best", best)) for ap, position in part]
