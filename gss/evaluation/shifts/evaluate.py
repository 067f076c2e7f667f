"""Pipelines under shifts of the images: `gss evaluate-shifts`.

Protocol. Every pipeline gets the same images, clean once and then under each shift at each severity; one run of the
network gives all decode modes and scores. A false alarm is a labelled pixel whose score reaches the threshold that 5 %
of the labelled pixels of clean images reach. By default these are the clean images of the measured split itself, so
the clean rate is 5 % and any increase is caused by the shift. No outliers are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from gss.core.distributed import is_main, num_processes
from gss.core.errors import InputError
from gss.core.progress import Progress
from gss.core.sampling import evenly_spaced
from gss.data.protocols import ReadableImages
from gss.data.shifts.apply import apply_shift, choose_severities, choose_shifts, shift_generator
from gss.evaluation.checks import (
    check_at_least,
    check_classes,
    check_dataset,
    check_known,
    check_share,
    class_names,
    device_name,
)
from gss.evaluation.images import ImageShare, Sample
from gss.evaluation.shifts.counts import CLEAN, Condition, PipelineCounts
from gss.evaluation.shifts.result import ShiftResult
from gss.labels.space import IGNORE_INDEX
from gss.metrics.alarms import AlarmThreshold
from gss.pipeline.pipeline import GSSPipeline
from gss.report.pictures import colorize, error_map, overlay


def evaluate_shifts(
    pipelines: Mapping[str, GSSPipeline],
    dataset: ReadableImages,
    *,
    shifts: Sequence[str] = (),
    severities: Sequence[int] = (1, 3, 5),
    modes: Sequence[str] = (),
    scores: Sequence[str] | None = None,
    threshold_data: ReadableImages | None = None,
    false_alarms: float = 0.05,
    seed: int = 0,
    window: str = "auto",
    size: tuple[int, int] | None = None,
    limit: int | None = None,
    batch_size: int = 1,
    workers: int = 0,
    pictures: bool = True,
    progress: bool = False,
) -> ShiftResult:
    """Measure pipelines on clean and shifted images, at the original size of the labels.

    Under several processes each takes its share of the images; with `batch_size` 1 the result equals that of one
    process exactly.

    Args:
        pipelines: pipelines by name, all with the classes of the data set.
        dataset: images and labels.
        shifts: names of shifts and groups; all when empty.
        severities: severities from 1 to 5.
        modes: decode modes measured besides the default one, in the pipelines that have them.
        scores: out-of-distribution scores, in the pipelines that have them; the default one of each if `None`.
        threshold_data: clean images whose scores set the threshold of alarms; those of `dataset` if `None`.
        false_alarms: share of clean pixels that may raise an alarm, in (0, 1).
        seed: seed of the random part of the shifts.
        window: `whole`, `slide` or `auto`.
        size: (H, W) of the networks' input instead of the processors' choice.
        limit: largest number of images to measure, and to take the threshold from, evenly spaced.
        batch_size: number of shifted versions of one image that are run at once.
        workers: number of threads that read images ahead of the network; 0 reads them in turn.
        pictures: whether to draw one image under every shift.
        progress: whether the main process shows a progress bar.

    Raises:
        InputError: the classes differ, a data set is empty or unreadable, or an argument is not allowed.
    """
    # 1. Check the arguments.
    shifts, severities = choose_shifts(shifts), choose_severities(severities)
    check_at_least(1, limit=limit, batch_size=batch_size)
    check_at_least(0, seed=seed)
    check_share(false_alarms=false_alarms)
    _check_pipelines(pipelines, [dataset, *([threshold_data] if threshold_data is not None else [])], modes, scores)
    options: dict[str, Any] = {"window": window, "size": size, "batch_size": batch_size}
    counts = {name: PipelineCounts(pipeline, modes, scores, options) for name, pipeline in pipelines.items()}

    # 2. Choose images, and the share of this process.
    images = ImageShare(dataset, evenly_spaced(len(dataset), limit), workers=workers)
    references = None
    if threshold_data is not None:
        references = ImageShare(threshold_data, evenly_spaced(len(threshold_data), limit), workers=workers)
    conditions = [(shift, severity) for shift in shifts for severity in severities]

    # 3. Count clean images, set thresholds, count shifted images.
    total = len(counts) * ((0 if references is None else len(references)) + len(images) * (1 + len(conditions)))
    with Progress(total, "measuring under shifts", shown=progress) as bar:
        clean = _run_clean(counts, images, bar, classes=True)
        unreadable = images.unreadable()
        reference = clean
        if references is not None:
            reference = _run_clean(counts, references, bar, classes=False)
            unreadable += references.unreadable()
        for name, pipeline_counts in counts.items():
            pipeline_counts.thresholds = {
                score: distribution.threshold(false_alarms) for score, distribution in reference[name].items()
            }
        for sample in images:
            _run_shifted(counts, sample, dataset.ids[sample.index], conditions, batch_size, seed, bar)

    # 4. Sum over the processes, and draw pictures.
    results = {name: part.result(shifts, severities, clean[name]) for name, part in counts.items()}
    failed = {image.id for image in unreadable}
    measured = [index for index in images.all_indices if str(dataset.ids[index]) not in failed]
    drawn = []
    if pictures and is_main():
        severity, index = severities[len(severities) // 2], measured[len(measured) // 2]
        drawn = _draw(counts, dataset, index, [(shift, severity) for shift in shifts], seed)
    source = "clean images of the same split" if threshold_data is None else "other clean images"
    alarms = {"false_alarms": false_alarms, "threshold_from": source}
    return ShiftResult(
        data="",
        images=len(measured),
        class_names=list(dataset.label_space.names),
        class_colors=[list(color) for color in dataset.label_space.colors],
        shifts=list(shifts),
        severities=list(severities),
        pipelines=results,
        device=device_name(next(iter(pipelines.values())).device),
        settings={**options, "seed": seed, "limit": limit, **alarms, "processes": num_processes()},
        unreadable=unreadable,
        pictures=drawn,
    )


def _check_pipelines(
    pipelines: Mapping[str, GSSPipeline],
    datasets: Sequence[ReadableImages],
    modes: Sequence[str],
    scores: Sequence[str] | None,
) -> None:
    if not pipelines:
        raise InputError("pipelines is empty; name at least one")
    for dataset in datasets:
        check_dataset(dataset)
        for pipeline in pipelines.values():
            check_classes(class_names(pipeline), dataset.label_space.names)
    check_known("decode mode", modes, {mode for pipeline in pipelines.values() for mode in pipeline.decode_modes})
    check_known("score", scores or (), {score for pipeline in pipelines.values() for score in pipeline.score_names})


def _run_clean(
    counts: Mapping[str, PipelineCounts], images: ImageShare, bar: Progress, *, classes: bool
) -> dict[str, dict[str, AlarmThreshold]]:
    """Run clean images, and count their predictions where `classes` is set.

    Returns:
        Distribution of the score over the images of all processes, by pipeline and score.
    """
    scores = {name: {score: AlarmThreshold() for score in part.scores} for name, part in counts.items()}
    for sample in images:
        for name, part in counts.items():
            if classes or part.scores:
                (maps,) = part.run([sample.image], classes=classes)
                for score, distribution in scores[name].items():
                    distribution.update(maps[score], sample.labels)
                if classes:
                    part.count(CLEAN, maps, sample.labels)
            bar.update()
    for distributions in scores.values():
        for distribution in distributions.values():
            distribution.sum_across()
    return scores


def _run_shifted(
    counts: Mapping[str, PipelineCounts],
    sample: Sample,
    id: str,
    conditions: Sequence[Condition],
    batch_size: int,
    seed: int,
    bar: Progress,
) -> None:
    """Run and count one image under every condition."""
    for start in range(0, len(conditions), batch_size):
        batch = conditions[start : start + batch_size]
        images = [_shifted(sample.image, id, condition, seed) for condition in batch]
        for part in counts.values():
            for condition, maps in zip(batch, part.run(images), strict=True):
                part.count(condition, maps, sample.labels)
            bar.update(len(batch))


def _shifted(image: Image.Image, id: str, condition: Condition, seed: int) -> Image.Image:
    shift, severity = condition
    return Image.fromarray(apply_shift(np.asarray(image), shift, severity, shift_generator(seed, shift, id)))


def _draw(
    counts: Mapping[str, PipelineCounts],
    dataset: ReadableImages,
    index: int,
    conditions: Sequence[Condition],
    seed: int,
) -> list[tuple[str, list[Image.Image]]]:
    """Return (caption, pictures with the titles `picture_titles`) of one image under each condition."""
    clean, labels = dataset.read(index)
    colors = dataset.label_space.colors
    void_or_known = np.where(labels == IGNORE_INDEX, labels, 0)
    rows = []
    for condition in conditions:
        image = _shifted(clean, dataset.ids[index], condition, seed)
        drawn = [image, colorize(labels, colors)]
        for part in counts.values():
            (maps,) = part.run([image])
            found = maps[part.modes[0]].argmax(0).cpu().numpy()
            drawn.append(overlay(image, found, colors, clear=dataset.label_space.background))
            for score, threshold in list(part.thresholds.items())[:1]:
                raised = (maps[score] >= threshold).cpu().numpy().astype(np.uint8)
                drawn.append(error_map(raised, void_or_known, image))
        rows.append((f"{condition[0]}, severity {condition[1]} · {dataset.ids[index]}", drawn))
    return rows
