"""Segmentation metrics of a pipeline: `gss evaluate`, and the validation of stage 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gss.core.distributed import is_main, num_processes
from gss.core.progress import Progress
from gss.core.sampling import evenly_spaced
from gss.data.protocols import ReadableImages
from gss.evaluation.checks import check_at_least, check_classes, check_dataset, class_names, device_name
from gss.evaluation.images import Behind, ImageShare
from gss.evaluation.segmentation.counts import SegmentationCounts, find_metrics
from gss.evaluation.segmentation.pictures import draw_images
from gss.evaluation.segmentation.result import EvaluationResult
from gss.evaluation.segmentation.speed import measure_speed
from gss.pipeline.pipeline import GSSPipeline


def evaluate(
    pipeline: GSSPipeline,
    dataset: ReadableImages,
    *,
    modes: Sequence[str] | None = None,
    window: str = "auto",
    size: tuple[int, int] | None = None,
    limit: int | None = None,
    batch_size: int = 1,
    workers: int = 0,
    pictures: int = 6,
    throughput: bool = True,
    progress: bool = False,
    metrics: Sequence[str] = (),
) -> EvaluationResult:
    """Measure every decode mode at the original size of the labels, with one run of the network per image.

    Under several processes each takes its share of the images; with `batch_size` 1 the result equals that of
    one process exactly (a batch of other images may change the last bits of floating-point numbers).

    Args:
        pipeline: the pipeline, which stays in its mode and on its device.
        dataset: images and labels, with the classes of the pipeline in the same order.
        modes: decode modes; all that the pipeline has by default. The pipeline's default mode, or the first
            one if it is not among them, is used for pictures and speed.
        window: `whole`, `slide` or `auto`.
        size: (H, W) of the network's input instead of the processor's choice.
        limit: largest number of images to measure, evenly spaced over the data set.
        batch_size: number of images of one size that are run at once.
        workers: number of threads that read images ahead of the network, beside one that counts behind it; 0 does
            all in turn.
        pictures: number of images to show: a third each worst, median and best in the mIoU of the image.
        throughput: whether to measure speed and memory too.
        progress: whether the main process shows a progress bar.
        metrics: further metrics of one's own, by `module:Name` or the name of an entry point.

    Raises:
        InputError: the classes differ, the data set is empty, no image can be read, or an argument is not allowed.
    """
    # 1. Check the arguments.
    modes = tuple(dict.fromkeys(pipeline.decode_modes if modes is None else modes))
    _check_inputs(pipeline, dataset, modes, limit=limit, window=window, size=size, batch_size=batch_size)
    default_mode = pipeline.default_decode if pipeline.default_decode in modes else modes[0]
    options: dict[str, Any] = {"window": window, "size": size}

    # 2. Choose images, and the share of this process.
    images = ImageShare(dataset, evenly_spaced(len(dataset), limit), workers=workers)

    # 3. Count every image in every mode, with one run of the network.
    counts = SegmentationCounts(dataset, modes, default_mode, find_metrics(metrics))
    bar = Progress(len(images), "measuring", shown=progress)
    with bar, Behind(active=workers > 0) as behind:
        for batch in images.batches(batch_size):
            inputs = [sample.image for sample in batch]
            # By mode: one float32 [K, H, W] per image.
            maps = pipeline.predict_probabilities(inputs, modes=modes, batch_size=batch_size, **options)
            for row, sample in enumerate(batch):
                behind.call(counts.update, sample.index, {mode: maps[mode][row] for mode in modes}, sample.labels)
            bar.update(len(batch))

    # 4. Sum over the processes.
    counts.sum_across()
    unreadable = images.unreadable()

    # 5. Measure the speed, and draw pictures.
    speed, memory = None, None
    if throughput:
        speed, memory = measure_speed(
            pipeline, dataset, images.readable(), mode=default_mode, batch_size=batch_size, options=options
        )
    drawn = []
    if is_main():
        drawn = draw_images(pipeline, dataset, counts.images, pictures, mode=default_mode, options=options)
    return EvaluationResult(
        pipeline="",
        data="",
        class_names=list(dataset.label_space.names),
        class_colors=[list(color) for color in dataset.label_space.colors],
        images=len(counts.images),
        default_mode=default_mode,
        modes=counts.modes(),
        confusion=counts.confusion(),
        image_scores=[metrics for _, metrics in counts.images],
        images_per_second=speed,
        peak_memory_mib=memory,
        device=device_name(pipeline.device),
        settings={**options, "batch_size": batch_size, "limit": limit, "processes": num_processes()},
        domains=counts.domains(),
        extra=counts.extra(),
        difference_errors=counts.difference_errors(),
        unreadable=unreadable,
        pictures=drawn,
    )


def _check_inputs(
    pipeline: GSSPipeline,
    dataset: ReadableImages,
    modes: Sequence[str],
    *,
    limit: int | None,
    **options: Any,
) -> None:
    check_at_least(1, limit=limit, batch_size=options["batch_size"])
    check_dataset(dataset)
    check_classes(class_names(pipeline), dataset.label_space.names)
    pipeline.check_inputs(modes, **options)
