"""Out-of-distribution scores of a pipeline, with one run of the network per image for all scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from gss.core.distributed import is_main, num_processes
from gss.core.errors import InputError, unknown_name
from gss.core.sampling import evenly_spaced
from gss.data.outliers.benchmarks import OODDataset
from gss.evaluation.checks import check_at_least, check_dataset, class_names, device_name
from gss.evaluation.images import ImageShare
from gss.evaluation.ood.counts import ScoreCounts
from gss.evaluation.ood.maps import Frame, ScoreMaps
from gss.evaluation.ood.pictures import draw_frames, shown_scores
from gss.evaluation.ood.result import FrameMetrics, OODEvaluation, ScoreResult
from gss.evaluation.ood.score_files import ScoreFiles
from gss.metrics.components import ComponentMetrics
from gss.metrics.ood import FPR_RULES, MODES
from gss.pipeline.pipeline import GSSPipeline


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
    batch_size: int = 1,
    workers: int = 0,
    save: ScoreFiles | None = None,
    pictures: int = 6,
    progress: bool = False,
) -> OODEvaluation:
    """Measure several scores at the original size of the labels.

    Components and pictures take another run of the network. Under several processes each takes its share of the
    images; all counts are integers, so the result is that of one process.

    Args:
        pipeline: the pipeline, which stays in its mode and on its device.
        dataset: images, with labels of the outliers.
        scores: some of `pipeline.score_names`; all by default.
        mode: mode of the metrics in tables: `pooled` or `per_image`, see `gss.metrics.ood.OODResult`. Thresholds,
            curves and components are pooled in both.
        fpr_rule: rule of the FPR at 95 % TPR in tables, one of `gss.metrics.ranking.FPR_RULES`; `nearest_thinned`
            counts distinct scores, as `exact` does.
        exact: whether to count distinct scores instead of intervals of them: no bounds, more memory.
        components: track whose size rules are used for metrics of whole objects, `anomaly` or `obstacle`, at the
            best-F1 threshold of these images.
        threshold_from: other images on which each score's threshold at 95 % TPR is set, for open-set mIoU.
        window: `whole`, `slide` or `auto`.
        size: (H, W) of the network's input instead of the processor's choice.
        limit: largest number of images to measure, evenly spaced over the data set.
        batch_size: number of windows of one image that are run at once.
        workers: number of threads that read images ahead of the network; 0 reads them in turn.
        save: files to which every score map is written.
        pictures: number of images to show, half of them the worst in AP of the lead score (the pipeline's
            default one if it is measured), half the best.
        progress: whether the main process shows progress bars.

    Raises:
        InputError: a score, mode, rule or track is unknown, a data set is empty, scores are NaN, maps have another
            size than the labels, or the classes allow no open-set mIoU.
    """
    # 1. Check the arguments.
    names = _check_inputs(pipeline, scores, mode=mode, fpr_rule=fpr_rule)
    lead = pipeline.default_score if pipeline.default_score in names else names[0]
    objects = {name: ComponentMetrics(components) for name in names} if components else {}
    exact = exact or fpr_rule == "nearest_thinned"
    maps = ScoreMaps(pipeline, window=window, size=size, batch_size=batch_size, progress=progress)

    # 2. Choose images, and the share of this process.
    images = _choose(dataset, limit, workers)
    source = None if threshold_from is None else _choose(threshold_from, limit, workers)

    # 3. Set the thresholds of open-set mIoU on other images.
    channels: list[int] = []
    thresholds: dict[str, float] = {}
    if threshold_from is not None and source is not None:
        channels = known_channels(pipeline, dataset)
        thresholds = _thresholds(maps, threshold_from, source, names, dataset=dataset)

    # 4. Count the score maps, float32 [H, W] each; ranking single images is slow, so only the lead does it.
    single = names if mode == "per_image" else (lead,)
    counts = {
        name: ScoreCounts(name, exact=exact, single=name in single, threshold=thresholds.get(name), known=len(channels))
        for name in names
    }
    maps.run(images, dataset, names, lambda frame: _count(frame, counts, dataset, save), channels=channels)

    # 5. Sum over the processes.
    unreadable = images.unreadable()
    results = {name: part.sum_across().result(dataset.ids) for name, part in counts.items()}
    frames = [FrameMetrics(**record) for record in _per_image(results[lead])]
    if mode == "pooled":
        results[lead] = replace(results[lead], per_image=None)

    # 6. Count whole objects at the thresholds found.
    if objects:
        results = _measure_components(maps, images, dataset, objects, results)

    # 7. Draw pictures.
    shown = {name: results[name] for name in shown_scores(names, lead)}
    drawn = draw_frames(maps, dataset, frames, shown, count=pictures) if pictures and is_main() else []
    settings = {**maps.options, "limit": limit, "exact": exact, "processes": num_processes()}
    if components:
        settings["components"] = {"track": components, **asdict(objects[lead].rules)}
    if threshold_from is not None and source is not None:
        unreadable += source.unreadable()
        settings |= {"threshold_from": threshold_from.name, "decode": pipeline.default_decode}
    return OODEvaluation(
        pipeline="",
        data=dataset.name,
        mode=mode,
        fpr_rule=fpr_rule,
        images=len(frames),
        without_outliers=sum(frame.outliers == 0 for frame in frames),
        void=sum(frame.outliers + frame.inliers == 0 for frame in frames),
        lead=lead,
        scores=results,
        frames=frames,
        device=device_name(pipeline.device),
        settings=settings,
        unreadable=unreadable,
        picture_titles=("image", "truth", *shown),
        pictures=drawn,
    )


def known_channels(pipeline: GSSPipeline, dataset: OODDataset) -> list[int]:
    """Return the channels of a pipeline's classes that are known classes of a data set, in its order.

    A pipeline may lack the classes held out of training, or have them although it was never trained on one. They are
    not predicted in either case.

    Raises:
        InputError: the pipeline lacks a known class, or has one that the data set does not name.
    """
    names = class_names(pipeline)
    lacks = [name for name in dataset.known_names if name not in names]
    more = [name for name in names if name not in (*dataset.known_names, *dataset.outlier_names)]
    if lacks or more:
        raise InputError(
            f"no open-set mIoU on {dataset.name}: the pipeline lacks its classes {', '.join(lacks) or '(none)'}, it "
            f"lacks {', '.join(more) or '(none)'} of the pipeline; use a data set with the classes of training and "
            "name those held out as outliers"
        )
    return [names.index(name) for name in dataset.known_names]


def _check_inputs(pipeline: GSSPipeline, scores: Sequence[str] | None, *, mode: str, fpr_rule: str) -> tuple[str, ...]:
    """Return the names of the scores, each once."""
    for kind, value, allowed in (("mode", mode, MODES), ("fpr_rule", fpr_rule, FPR_RULES)):
        if value not in allowed:
            raise unknown_name(kind, value, allowed)
    names = tuple(dict.fromkeys(pipeline.score_names if scores is None else scores))
    if not names:
        raise InputError(f"scores is empty; this pipeline has {', '.join(pipeline.score_names)}")
    pipeline.check_scores(names)
    return names


def _choose(dataset: OODDataset, limit: int | None, workers: int) -> ImageShare:
    check_at_least(1, limit=limit)
    check_dataset(dataset, dataset.name)
    return ImageShare(dataset, evenly_spaced(len(dataset), limit), workers=workers, read=dataset.read_labels)


def _count(
    frame: Frame, counts: Mapping[str, ScoreCounts], dataset: OODDataset, save: ScoreFiles | None = None
) -> None:
    """Count the scores of one image, and write them."""
    for name, part in counts.items():
        part.update(frame)
        if save is not None:
            save.write(name, dataset, frame.id, frame.maps[name])


def _thresholds(
    maps: ScoreMaps, source: OODDataset, images: ImageShare, names: Sequence[str], *, dataset: OODDataset
) -> dict[str, float]:
    """Return the highest thresholds with more than 95 % of the outliers of `source` at or above them."""
    if source.name == dataset.name:
        raise InputError(
            f"the threshold of open-set mIoU would come from {source.name}, where it is used; name another split"
        )
    counts = {name: ScoreCounts(name) for name in names}
    maps.run(images, source, names, lambda frame: _count(frame, counts, source), title="thresholds")
    images.unreadable()  # raises if nothing could be read
    thresholds = {}
    for name, part in counts.items():
        ranking = part.sum_across().pooled.ranking()
        if ranking is None:
            raise InputError(f"{source.name} holds no outlier or no inlier pixel to take a threshold from")
        thresholds[name] = ranking.threshold(0.95, "first_above")
    return thresholds


def _per_image(result: ScoreResult) -> Sequence[dict]:
    assert result.per_image is not None
    return result.per_image.per_image


def _measure_components(
    maps: ScoreMaps,
    images: ImageShare,
    dataset: OODDataset,
    objects: Mapping[str, ComponentMetrics],
    results: dict[str, ScoreResult],
) -> dict[str, ScoreResult]:
    """Return the results with metrics of whole objects, for the scores that have a best-F1 threshold."""
    thresholds = {name: results[name].pooled.best_f1_threshold for name in objects}
    cuts = {name: threshold for name, threshold in thresholds.items() if threshold is not None}

    def count(frame: Frame) -> None:
        for name, cut in cuts.items():
            objects[name].update(frame.maps[name] >= cut, frame.truth)

    if cuts:
        maps.run(images, dataset, tuple(cuts), count, title="components")
    measured = {}
    for name in cuts:
        objects[name].sum_across()
        measured[name] = replace(results[name], components=objects[name].compute())
    return results | measured
