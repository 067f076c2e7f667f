"""Measuring out-of-distribution scores of a pipeline: one run of the network an image for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from gss.core.distributed import is_main, num_processes
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.outliers.benchmarks import OOD_LABELS, OODDataset
from gss.evaluation.checks import device_name
from gss.evaluation.ood.maps import Meter, ScoreMaps
from gss.evaluation.ood.result import OODEvaluation, ScoreFigures
from gss.evaluation.ood.score_files import ScoreFiles
from gss.metrics.components import ComponentMetrics
from gss.metrics.ood import FPR_RULES, MODES
from gss.pipeline.pipeline import GSSPipeline
from gss.report.pictures import VOID, colorize, heatmap

BASELINE = "msp"
"""Score whose heat map stands beside that of the lead."""


def evaluate_ood(
    pipeline: GSSPipeline,
    dataset: OODDataset,
    *,
    scores: Sequence[str] | None = None,
    mode: str = "pooled",
    fpr_rule: str = FPR_RULES[0],
    exact: bool = False,
    components: str | None = None,
    threshold_from: OODDataset | None = None,
    window: str = "auto",
    size: tuple[int, int] | None = None,
    limit: int | None = None,
    save: ScoreFiles | None = None,
    pictures: int = 6,
    progress: bool = False,
) -> OODEvaluation:
    """Measure several scores at the original size of the labels.

    Components and pictures take another run of the network. Under several processes each takes its share of the
    images; all counts are integers, so the result is that of one process.

    Args:
        pipeline: what is measured; stays in its mode and on its device.
        dataset: images with truth about outliers.
        scores: some of `pipeline.score_names`; all by default.
        mode: figures that tables show: `pooled` or `per_image`, see `gss.metrics.ood.OODResult`. Thresholds,
            curves and components are pooled in both.
        fpr_rule: FPR at 95 % TPR that tables show, one of `gss.metrics.ranking.FPR_RULES`; `nearest_thinned`
            counts distinct scores, as `exact` does.
        exact: count distinct scores instead of intervals of them: no bounds, more memory.
        components: also measure whole objects by the size rules of a track, `anomaly` or `obstacle`, at the
            best-F1 threshold of these images.
        threshold_from: also measure open-set mIoU, with each score's threshold at 95 % TPR on these other images.
        window: `whole`, `slide` or `auto`.
        size: (H, W) the network runs at instead of the processor's choice.
        limit: measure only so many images, evenly spread over the data set.
        save: also write every score map.
        pictures: number of frames to show, half of them the worst in AP of the lead score (the pipeline's
            default one if it is measured), half the best.
        progress: show progress bars on the main process.

    Raises:
        ValueError: unknown score, mode, rule or track, an empty data set, NaN scores, maps of another size than
            the labels, or classes that allow no open-set mIoU.
    """
    for name, value, allowed in (("mode", mode, MODES), ("fpr_rule", fpr_rule, FPR_RULES)):
        if value not in allowed:
            raise InputError(f"{name} is {value!r}; choose from {', '.join(allowed)}")
    names = tuple(dict.fromkeys(pipeline.score_names if scores is None else scores))
    if not names:
        raise InputError(f"scores is empty; this pipeline has {', '.join(pipeline.score_names)}")
    pipeline.check_scores(names)
    lead = pipeline.default_score if pipeline.default_score in names else names[0]
    objects = {name: ComponentMetrics(components) for name in names} if components else {}
    exact = exact or fpr_rule == "nearest_thinned"
    maps = ScoreMaps(pipeline, window=window, size=size, progress=progress)
    chosen = _choose(dataset, limit)
    ids = [dataset.ids[index] for index in chosen]

    channels: list[int] = []
    thresholds: dict[str, float] = {}
    if threshold_from is not None:
        channels = known_channels(pipeline, dataset)
        thresholds = _thresholds(maps, threshold_from, names, dataset=dataset, limit=limit)
    meters = {
        # Frames are ordered by the lead alone: ranking every image by itself takes a while.
        name: Meter(
            name,
            exact=exact,
            single=mode == "per_image" or name == lead,
            threshold=thresholds.get(name),
            known=len(channels),
        )
        for name in names
    }
    for frame in maps.frames(dataset, chosen, names, channels=channels):
        for name, meter in meters.items():
            meter.update(frame)
            if save is not None:
                save.write(name, dataset, frame.id, frame.maps[name])
    figures: dict[str, ScoreFigures] = {}
    for name, meter in meters.items():
        meter.sum_across()
        figures[name] = meter.figures(ids)
    of_lead = figures[lead].per_image
    assert of_lead is not None
    if mode == "pooled":
        figures[lead] = replace(figures[lead], per_image=None)

    cuts = {name: cut for name in objects if (cut := figures[name].pooled.best_f1_threshold) is not None}
    if cuts:
        for frame in maps.frames(dataset, chosen, tuple(cuts), title="components"):
            for name, cut in cuts.items():
                objects[name].update(frame.maps[name] >= cut, frame.truth)
    for name in cuts:
        objects[name].sum_across()
        figures[name] = replace(figures[name], components=objects[name].compute())

    settings = {**maps.options, "limit": limit, "exact": exact, "processes": num_processes()}
    if components:
        settings["components"] = {"track": components, **asdict(objects[lead].rules)}
    if threshold_from is not None:
        settings |= {"threshold_from": threshold_from.name, "decode": pipeline.default_decode}
    result = OODEvaluation(
        pipeline="",
        data=dataset.name,
        mode=mode,
        fpr_rule=fpr_rule,
        images=len(chosen),
        without_outliers=sum(record["outliers"] == 0 for record in of_lead.per_image),
        void=sum(record["outliers"] + record["inliers"] == 0 for record in of_lead.per_image),
        lead=lead,
        scores=figures,
        frames=list(of_lead.per_image),
        device=device_name(pipeline.device),
        settings=settings,
    )
    if pictures and is_main():
        _add_pictures(result, maps, dataset, chosen, count=pictures)
    return result


def known_channels(pipeline: GSSPipeline, dataset: OODDataset) -> list[int]:
    """Channels of a pipeline's classes that are known classes of a data set, in its order.

    A pipeline may lack the classes held out of training, or have them without ever having seen one; they are no
    prediction then.

    Raises:
        ValueError: the pipeline lacks a known class, or has one that the data set does not name.
    """
    names = list(pipeline.id2label.values())
    lacks = [name for name in dataset.known_names if name not in names]
    more = [name for name in names if name not in (*dataset.known_names, *dataset.outlier_names)]
    if lacks or more:
        raise InputError(
            f"no open-set mIoU on {dataset.name}: the pipeline lacks its classes {', '.join(lacks) or '(none)'}, it "
            f"lacks {', '.join(more) or '(none)'} of the pipeline; use a data set with the classes of training and "
            "name those held out as outliers"
        )
    return [names.index(name) for name in dataset.known_names]


def _thresholds(
    maps: ScoreMaps, source: OODDataset, names: Sequence[str], *, dataset: OODDataset, limit: int | None
) -> dict[str, float]:
    """Thresholds with more than 95 % of the outliers of `source` at or above them."""
    if source.name == dataset.name:
        raise InputError(
            f"the threshold of open-set mIoU would come from {source.name}, where it is used; name another split"
        )
    meters = [Meter(name) for name in names]
    for frame in maps.frames(source, _choose(source, limit), names, title="thresholds"):
        for meter in meters:
            meter.update(frame)
    thresholds = {}
    for meter in meters:
        meter.sum_across()
        ranking = meter.pooled.ranking()
        if ranking is None:
            raise InputError(f"{source.name} holds no outlier or no inlier pixel to take a threshold from")
        thresholds[meter.name] = ranking.threshold(0.95, "first_above")
    return thresholds


def _choose(dataset: OODDataset, limit: int | None) -> list[int]:
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    if len(dataset) == 0:
        raise InputError(f"{dataset.name} has no images; choose another split")
    return evenly_spaced(len(dataset), limit)


def _add_pictures(
    result: OODEvaluation, maps: ScoreMaps, dataset: OODDataset, chosen: Sequence[int], *, count: int
) -> None:
    """Adds the worst and best frames, with the heat maps of the lead and of a baseline."""
    baseline = [name for name in (BASELINE, *result.scores) if name in result.scores and name != result.lead][:1]
    shown = (result.lead, *baseline)
    result.picture_titles = ("image", "truth", *shown)
    # One scale for all frames, so that they compare.
    histograms = [histogram for name in shown if (histogram := result.scores[name].histogram) is not None]
    ranges = {name: (part["edges"][0], part["edges"][-1]) for name, part in zip(shown, histograms, strict=False)}
    for rank, place, ap in _pick(result.frames, count):
        frame = maps.frame(dataset, chosen[place], shown)
        heat = [heatmap(frame.maps[name], low=ranges[name][0], high=ranges[name][1]) for name in shown]
        truth = colorize(frame.truth, OOD_LABELS.colors, void=VOID)
        result.pictures.append((f"{rank} · {frame.id} · AP {ap:.3f}", [frame.image, truth, *heat]))


def _pick(frames: Sequence[dict[str, Any]], count: int) -> list[tuple[str, int, float]]:
    """(rank, place, AP) of the worst and best frames; ties go by place, those without AP are left out."""
    ranked = sorted((frame["ap"], place) for place, frame in enumerate(frames) if frame["ap"] is not None)
    count = min(count, len(ranked))
    worst, best = ranked[: count - count // 2], ranked[len(ranked) - count // 2 :]
    return [(rank, place, ap) for rank, part in (("worst", worst), ("best", best)) for ap, place in part]
