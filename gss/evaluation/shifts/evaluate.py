"""Measuring pipelines under shifts of the images: `gss evaluate-shifts`.

Protocol. Every pipeline sees the same images, clean once and then under each shift at each severity; one run of the
network gives all decode modes and scores. A false alarm is a labelled pixel whose score reaches the threshold at which
5 % of the labelled pixels of clean images do. Those are the clean images of the measured split itself, so that the
clean rate is 5 % and every rise is the shift's doing, or of another split, as in use. No outliers are needed.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gss.core.distributed import is_main, num_processes, shard
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.open import open_split
from gss.data.protocols import ReadableImages
from gss.data.shifts.apply import apply_shift, choose_severities, choose_shifts, shift_generator
from gss.data.specs.load import load_spec
from gss.evaluation.checks import check_classes, check_known, device_name
from gss.evaluation.shifts.page import build_page
from gss.evaluation.shifts.result import ShiftResult, format_result, summarise
from gss.evaluation.shifts.subject import CLEAN, Condition, Subject, run_clean
from gss.labels.space import IGNORE_INDEX
from gss.pipeline.loading import load_pipeline
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
    pictures: bool = True,
    progress: bool = False,
) -> ShiftResult:
    """Measure pipelines on clean and shifted images, at the original size of the labels.

    Under several processes each takes its share of the images; with `batch_size` 1 the result equals that of one
    process exactly.

    Args:
        pipelines: Name to pipeline, all with the classes of the data set.
        dataset: Images and labels.
        shifts: Names of shifts and groups; all when empty.
        severities: From 1 to 5.
        modes: Decode modes measured besides the default one, in the pipelines that have them.
        scores: Out-of-distribution scores, in the pipelines that have them; the default one of each if `None`.
        threshold_data: Clean images whose scores set the threshold of alarms; those of `dataset` if `None`.
        false_alarms: Share of clean pixels that may raise one.
        seed: Seed of what the shifts draw.
        window: `whole`, `slide` or `auto`.
        size: (H, W) the networks run at instead of their processors' choice.
        limit: Measure only so many images (and take the threshold from so many), evenly spread.
        batch_size: Shifted versions of one image run at once.
        pictures: Also draw one image under every shift.
        progress: Show a progress bar on the main process.

    Raises:
        ValueError: Classes differ, a data set is empty, or an argument is not allowed.
    """
    shifts, severities = choose_shifts(shifts), choose_severities(severities)
    _check_numbers(limit=limit, batch_size=batch_size, seed=seed, false_alarms=false_alarms)
    if not pipelines:
        raise InputError("pipelines is empty; name at least one")
    for data in (dataset, threshold_data or dataset):
        if len(data) == 0:
            raise InputError("the data set has no images; choose another split")
        for pipeline in pipelines.values():
            check_classes(list(pipeline.id2label.values()), data.label_space.names)
    check_known("decode mode", modes, {mode for pipe in pipelines.values() for mode in pipe.decode_modes})
    check_known("score", scores or (), {score for pipe in pipelines.values() for score in pipe.score_names})
    options: dict[str, Any] = {"window": window, "size": size, "batch_size": batch_size}
    subjects = {name: Subject(pipeline, modes, scores, options) for name, pipeline in pipelines.items()}

    chosen = evenly_spaced(len(dataset), limit)
    mine = [chosen[position] for position in shard(len(chosen))]
    references: list[int] = []
    if threshold_data is not None:
        every = evenly_spaced(len(threshold_data), limit)
        references = [every[position] for position in shard(len(every))]
    conditions = [(shift, severity) for shift in shifts for severity in severities]
    total = len(subjects) * (len(references) + len(mine) * (1 + len(conditions)))
    with tqdm(total=total, unit="image", disable=not (progress and is_main()), desc="evaluate-shifts") as bar:
        clean = run_clean(subjects, dataset, mine, bar, classes=True)
        reference = clean
        if threshold_data is not None:
            reference = run_clean(subjects, threshold_data, references, bar, classes=False)
        for name, one in subjects.items():
            one.thresholds = {score: scores.threshold(false_alarms) for score, scores in reference[name].items()}
        for index in mine:
            image, labels = dataset.read(index)
            for first in range(0, len(conditions), batch_size):
                batch = conditions[first : first + batch_size]
                images = [_shifted(image, dataset.ids[index], condition, seed) for condition in batch]
                for one in subjects.values():
                    for condition, found in zip(batch, one.run(images), strict=True):
                        one.count(condition, found, labels)
                    bar.update(len(batch))
    cells: dict[str, dict[str, Any]] = {}
    for name, one in subjects.items():
        figures = one.results([CLEAN, *conditions])
        # Thresholds were not known yet when clean images were counted, but the distributions have the rates at them.
        figures[CLEAN]["alarms"] = {score: clean[name][score].rate(value) for score, value in one.thresholds.items()}
        cell: dict[str, Any] = {"default_mode": one.modes[0], "thresholds": one.thresholds, "clean": figures[CLEAN]}
        cell["shifts"] = {shift: {s: figures[shift, s] for s in severities} for shift in shifts}
        cells[name] = cell | {"summary": summarise(cell)}
    shown: list[tuple[str, list[Image.Image]]] = []
    if pictures and is_main():
        middle, index = severities[len(severities) // 2], chosen[len(chosen) // 2]
        for shift in shifts:
            drawn = _draw(subjects, dataset, index, (shift, middle), seed)
            shown.append((f"{shift}, severity {middle} · {dataset.ids[index]}", drawn))
    source = "clean images of the same split" if threshold_data is None else "other clean images"
    alarms = {"false_alarms": false_alarms, "threshold_from": source}
    return ShiftResult(
        data="",
        images=len(chosen),
        class_names=list(dataset.label_space.names),
        class_colors=[list(color) for color in dataset.label_space.colors],
        shifts=list(shifts),
        severities=list(severities),
        pipelines=cells,
        device=device_name(next(iter(pipelines.values())).device),
        settings={**options, "seed": seed, "limit": limit, **alarms, "processes": num_processes()},
        pictures=shown,
    )


def main(args: argparse.Namespace) -> int:
    """Handle `gss evaluate-shifts`.

    Args:
        args: `pipelines`, `data`, `root`, `split`, `limit`, `shifts`, `severities`, `modes` and `scores` (lists,
            `scores` may be None), `threshold_split`, `false_alarms`, `seed`, `window`, `size`, `json`, `html`.

    Raises:
        ValueError: Bad pipeline, data set, name or output file.
    """
    shifts, severities = choose_shifts(args.shifts), choose_severities(args.severities)
    spec = load_spec(args.data, args.root)
    dataset = open_split(spec, args.split)
    other = args.threshold_split if args.threshold_split != args.split else None
    threshold_data = open_split(spec, other) if other else None
    names = short_names(args.pipelines)
    pipelines = {name: load_pipeline(path) for name, path in names.items()}
    result = evaluate_shifts(
        pipelines,
        dataset,
        shifts=shifts,
        severities=severities,
        modes=args.modes,
        scores=args.scores,
        threshold_data=threshold_data,
        false_alarms=args.false_alarms,
        seed=args.seed,
        window=args.window,
        size=args.size,
        limit=args.limit,
        pictures=bool(args.html),
        progress=True,
    )
    settings = result.settings | {"pipelines": names, "threshold_from": f"clean images of {other or args.split}"}
    result = dataclasses.replace(result, data=f"{spec.name} {args.split}", settings=settings)
    if is_main():
        print(format_result(result))
        if args.json:
            result.write_json(args.json)
        if args.html:
            build_page(result).save(args.html)
    return 0


def short_names(folders: Sequence[str]) -> dict[str, str]:
    """Names for tables: of each path the last part that is not `pipeline`, the whole path where two would be alike.

    Raises:
        ValueError: the same folder twice.
    """
    paths = [str(Path(folder)) for folder in folders]
    for path in paths:
        if paths.count(path) > 1:
            raise InputError(f"pipeline {path} is given twice; name each once")
    short = [next((part for part in reversed(Path(path).parts) if part != "pipeline"), path) for path in paths]
    return {path if short.count(name) > 1 else name: path for name, path in zip(short, paths, strict=True)}


def _check_numbers(*, limit: int | None, batch_size: int, seed: int, false_alarms: float) -> None:
    for name, value, least in (("limit", limit, 1), ("batch_size", batch_size, 1), ("seed", seed, 0)):
        if value is not None and value < least:
            raise InputError(f"{name} must be at least {least}, got {value}")
    if not 0 < false_alarms < 1:
        raise InputError(f"false_alarms is {false_alarms}; it must lie between 0 and 1, such as 0.05")


def _shifted(image: Image.Image, id: str, condition: Condition, seed: int) -> Image.Image:
    shift, severity = condition
    return Image.fromarray(apply_shift(np.asarray(image), shift, severity, shift_generator(seed, shift, id)))


def _draw(
    subjects: Mapping[str, Subject], dataset: ReadableImages, index: int, condition: Condition, seed: int
) -> list[Image.Image]:
    """Pictures under the titles of `picture_titles`."""
    image, labels = dataset.read(index)
    image = _shifted(image, dataset.ids[index], condition, seed)
    colors = dataset.label_space.colors
    drawn = [image, colorize(labels, colors)]
    void_or_known = np.where(labels == IGNORE_INDEX, labels, 0)
    for one in subjects.values():
        (found,) = one.run([image])
        drawn.append(overlay(image, found[one.modes[0]].argmax(0).cpu().numpy(), colors))
        for score, threshold in list(one.thresholds.items())[:1]:
            raised = (found[score] >= threshold).cpu().numpy().astype(np.uint8)
            drawn.append(error_map(raised, void_or_known, image))
    return drawn
