"""Measuring a pipeline on a data set: `gss evaluate` and the validation of stage 2."""

import argparse
import dataclasses
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from gss.core.distributed import gather_objects, is_main, num_processes, shard, sum_across
from gss.core.errors import InputError
from gss.core.files import write_json
from gss.core.sampling import evenly_spaced
from gss.data.open import open_split
from gss.data.protocols import ReadableImages
from gss.data.specs.load import load_spec
from gss.evaluation.checks import check_classes, device_name
from gss.metrics import SegmentationMetrics
from gss.metrics.domains import DomainMetrics, domain_figures
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.report.pictures import colorize, error_map, heatmap, overlay
from gss.report.text import aligned

# Key of `SegmentationMetrics.compute` -> short name in tables.
SCORES = {
    "miou": "mIoU",
    "boundary_f": "bound. F",
    "accuracy": "accuracy",
    "mean_accuracy": "mean acc.",
    "fwiou": "fwIoU",
    "ece": "ECE",
}
PICTURE_TITLES = ("image", "truth", "prediction", "confidence", "errors")
# The speed is measured on at most so many images, and for about so many seconds.
SPEED_IMAGES, SPEED_SECONDS = 8, 10.0


@dataclasses.dataclass
class EvaluationResult:
    """What `evaluate` found; the same on every process, except that only the main one has pictures.

    Attributes:
        pipeline: Where the pipeline came from.
        data: Name of the data set and split.
        class_names: Names of the K classes.
        class_colors: RGB of the K classes.
        images: Number of images measured.
        default_mode: Decode mode that pictures, speed, confusion matrix and image scores belong to.
        modes: Decode mode -> `SegmentationMetrics.compute()`.
        confusion: Pixel counts of the default mode, rows truth, columns prediction.
        image_scores: Per image `id`, `miou` (over the classes in it) and `accuracy`, in data set order.
        images_per_second: Speed of plain pipeline calls, all processes together; `None` if not measured.
        peak_memory_mib: Largest memory of one process while doing so: of the GPU if the pipeline is on one,
            else the resident size of the process; `None` if not measured.
        device: Where the pipeline ran.
        settings: Window, size, batch size, limit and number of processes.
        domains: Decode mode -> domain -> as `modes`, of that domain alone; empty for a plain data set.
        pictures: (caption, one picture for each of `PICTURE_TITLES`) of the worst, median and best images.
    """

    pipeline: str
    data: str
    class_names: list[str]
    class_colors: list[list[int]]
    images: int
    default_mode: str
    modes: dict[str, dict[str, Any]]
    confusion: list[list[int]]
    image_scores: list[dict[str, Any]]
    images_per_second: float | None
    peak_memory_mib: float | None
    device: str
    settings: dict[str, Any]
    domains: dict[str, dict[str, dict[str, Any]]] = dataclasses.field(default_factory=dict)
    pictures: list[tuple[str, list[Image.Image]]] = dataclasses.field(default_factory=list, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, in types JSON knows."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["pictures"]
        return fields

    def figures(self, keys: Sequence[str] = ("miou",)) -> dict[str, float]:
        """Some metrics of every mode as flat values: `MODE_KEY`, and those of each domain (see `domain_figures`)."""
        values: dict[str, float] = {}
        for mode, metrics in self.modes.items():
            for key in keys:
                values[f"{mode}_{key}"] = float(metrics[key] or 0.0)
                values |= domain_figures(f"{mode}_{key}", self.domains.get(mode, {}), key)
        return values

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict`."""
        write_json(path, self.to_dict())

    def write_html(self, path: str | os.PathLike[str]) -> None:
        """Write a report with tables, charts and pictures into one self-contained file."""
        from gss.evaluation.page import build_report

        build_report(self).save(path)


def evaluate(
    pipeline: GSSPipeline,
    dataset: ReadableImages,
    *,
    modes: Sequence[str] | None = None,
    window: str = "auto",
    size: tuple[int, int] | None = None,
    limit: int | None = None,
    batch_size: int = 1,
    pictures: int = 6,
    throughput: bool = True,
    progress: bool = False,
) -> EvaluationResult:
    """Measure every decode mode at the original size of the labels, with one run of the network an image.

    Under several processes each takes its share of the images; with `batch_size` 1 the result equals that of
    one process exactly (a batch of other images may change the last bits of floating-point numbers).

    Args:
        pipeline: What is measured; stays in its mode and on its device.
        dataset: Images and labels; its classes must be those of the pipeline, in the same order.
        modes: Decode modes; all that the pipeline has by default. The pipeline's default mode, or the first
            one if it is not among them, is used for pictures and speed.
        window: `whole`, `slide` or `auto`.
        size: (H, W) the network runs at instead of the processor's choice.
        limit: Measure only so many images, evenly spread over the data set.
        batch_size: Images read and run at once.
        pictures: Number of images to show: a third each worst, median and best in the mIoU of the image.
        throughput: Also measure speed and memory.
        progress: Show a progress bar on the main process.

    Raises:
        ValueError: Classes differ, the data set is empty, or an argument is not allowed.
    """
    for name, value in (("limit", limit), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    if len(dataset) == 0:
        raise InputError("the data set has no images; choose another split")
    names = [pipeline.id2label[index] for index in range(len(pipeline.id2label))]
    check_classes(names, dataset.label_space.names)
    modes = tuple(dict.fromkeys(pipeline.decode_modes if modes is None else modes))
    pipeline.check_inputs(modes, window=window, size=size, batch_size=batch_size)
    default_mode = pipeline.default_decode if pipeline.default_decode in modes else modes[0]
    options: dict[str, Any] = {"window": window, "size": size, "batch_size": batch_size}

    chosen = evenly_spaced(len(dataset), limit)
    mine = [chosen[position] for position in shard(len(chosen))]
    totals = {mode: SegmentationMetrics(len(names)) for mode in modes}
    domains = {mode: DomainMetrics(dataset, len(names)) for mode in modes}
    scores: list[tuple[int, dict[str, Any]]] = []
    with tqdm(total=len(mine), unit="image", disable=not (progress and is_main()), desc="evaluate") as bar:
        for start in range(0, len(mine), batch_size):
            indices = mine[start : start + batch_size]
            pairs = [dataset.read(index) for index in indices]
            found = pipeline.predict_probabilities([image for image, _ in pairs], modes=modes, **options)
            for row, (index, (_, labels)) in enumerate(zip(indices, pairs, strict=True)):
                for mode in modes:
                    single = SegmentationMetrics(len(names))
                    single.update(found[mode][row], labels)
                    totals[mode].merge(single)
                    domains[mode].merge(index, single)
                    if mode == default_mode:
                        result = single.compute()
                        score = {"miou": result["miou"], "accuracy": result["accuracy"]}
                        scores.append((index, {"id": dataset.ids[index], **score}))
            bar.update(len(indices))
    for metrics in totals.values():
        metrics.sum_across()
    scores = sorted((entry for part in gather_objects(scores) for entry in part), key=lambda entry: entry[0])
    speed, memory = None, None
    if throughput:
        speed, memory = _measure_speed(pipeline, dataset, mine, mode=default_mode, options=options)
    shown: list[tuple[str, list[Image.Image]]] = []
    if is_main():
        for rank, index, miou in _pick(scores, pictures):
            caption = f"{rank} · {dataset.ids[index]} · mIoU {miou:.3f}"
            shown.append((caption, _draw(pipeline, dataset, index, mode=default_mode, options=options)))
    return EvaluationResult(
        pipeline="",
        data="",
        class_names=names,
        class_colors=[list(color) for color in dataset.label_space.colors],
        images=len(chosen),
        default_mode=default_mode,
        modes={mode: metrics.compute() for mode, metrics in totals.items()},
        confusion=totals[default_mode].confusion.tolist(),
        image_scores=[score for _, score in scores],
        images_per_second=speed,
        peak_memory_mib=memory,
        device=device_name(pipeline.device),
        settings={**options, "limit": limit, "processes": num_processes()},
        domains={mode: parts for mode, metrics in domains.items() if (parts := metrics.compute())},
        pictures=shown,
    )


def format_result(result: EvaluationResult) -> str:
    """Compact tables for the terminal: decode modes by metric, and IoU of each class."""
    facts = [result.data, f"{result.images} images", result.device]
    if result.images_per_second is not None and result.peak_memory_mib is not None:
        facts += [f"{result.images_per_second:.2f} images/s", f"{result.peak_memory_mib:,.0f} MiB peak"]
    rows = [[mode, *(metrics[key] for key in SCORES)] for mode, metrics in result.modes.items()]
    lines = [" · ".join(fact for fact in facts if fact), "", *aligned(["decode", *SCORES.values()], rows), ""]
    counts = np.asarray(result.confusion, dtype=np.float64).sum(axis=1)
    shares = counts / max(counts.sum(), 1)
    rows = [
        [name, float(shares[index]), *(metrics["iou"][index] for metrics in result.modes.values())]
        for index, name in enumerate(result.class_names)
    ]
    lines += aligned(["IoU of class", "share", *result.modes], rows)
    if result.domains:
        figures = {mode: domain_figures("", found, "miou") for mode, found in result.domains.items()}
        places = dict.fromkeys(place for found in figures.values() for place in found)
        rows = [[place[1:], *(figures[mode].get(place) for mode in figures)] for place in places]
        lines += ["", *aligned(["mIoU of domain", *figures], rows)]
    return "\n".join(lines)


def main(args: argparse.Namespace) -> int:
    """Handle `gss evaluate`.

    Args:
        args: `pipeline`, `data`, `root`, `split`, `limit`, `window`, `size`, `modes` (names with commas, or
            None), `json`, `html`.

    Raises:
        ValueError: Bad pipeline, data set or output file.
    """
    spec = load_spec(args.data, args.root)
    dataset = open_split(spec, args.split)
    pipeline = load_pipeline(args.pipeline)
    result = evaluate(
        pipeline,
        dataset,
        modes=[mode.strip() for mode in args.modes.split(",")] if args.modes else None,
        window=args.window,
        size=args.size,
        limit=args.limit,
        pictures=6 if args.html else 0,
        progress=True,
    )
    result = dataclasses.replace(result, pipeline=str(args.pipeline), data=f"{spec.name} {args.split}")
    if is_main():
        print(format_result(result))
        if args.json:
            result.write_json(args.json)
        if args.html:
            result.write_html(args.html)
    return 0


def _measure_speed(
    pipeline: GSSPipeline,
    dataset: ReadableImages,
    indices: Sequence[int],
    *,
    mode: str,
    options: dict[str, Any],
) -> tuple[float, float]:
    """Images per second of plain calls, summed over processes, and peak memory in MiB of one process."""
    images = [dataset.read(index)[0] for index in indices[:SPEED_IMAGES]]
    batch_size = options["batch_size"]
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    speed = 0.0
    on_gpu = pipeline.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(pipeline.device)
    if batches:
        pipeline(batches[0], decode=mode, **options)
        done, start_time = 0, time.perf_counter()
        for batch in batches:
            # The call returns NumPy arrays, so the GPU has finished when it does.
            pipeline(batch, decode=mode, **options)
            done += len(batch)
            if time.perf_counter() - start_time > SPEED_SECONDS:
                break
        speed = done / (time.perf_counter() - start_time)
    memory = torch.cuda.max_memory_allocated(pipeline.device) / 2**20 if on_gpu else _resident_mib()
    return float(sum_across(torch.tensor(speed))), max(gather_objects(memory))


def _resident_mib() -> float:
    """Largest resident size of this process so far."""
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _pick(scores: Sequence[tuple[int, dict[str, Any]]], count: int) -> list[tuple[str, int, float]]:
    """(rank, index, mIoU) of the worst, median and best images; ties go by index, images all void are left out."""
    ranked = sorted((score["miou"], index) for index, score in scores if score["miou"] is not None)
    count = min(count, len(ranked))
    worst, best = (count + 2) // 3, count // 3
    median = count - worst - best
    middle = max((len(ranked) - median) // 2, worst)
    parts = {
        "worst": ranked[:worst],
        "median": ranked[middle : middle + median],
        "best": ranked[len(ranked) - best :],
    }
    return [(rank, index, miou) for rank, part in parts.items() for miou, index in part]


def _draw(
    pipeline: GSSPipeline, dataset: ReadableImages, index: int, *, mode: str, options: dict[str, Any]
) -> list[Image.Image]:
    image, labels = dataset.read(index)
    colors = dataset.label_space.colors
    output = pipeline(image, decode=mode, **options)
    prediction = np.asarray(output.masks[0])
    return [
        image,
        colorize(labels, colors),
        overlay(image, prediction, colors),
        heatmap(np.asarray(output.confidence[0]), low=0.0, high=1.0),
        error_map(prediction, labels, image),
    ]
