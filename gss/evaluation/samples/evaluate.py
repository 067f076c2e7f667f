"""Evaluation of drawn masks: `gss evaluate-samples`."""

from __future__ import annotations

import numpy as np
from PIL import Image
from tqdm import tqdm

from gss.core.distributed import gather_objects, is_main
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.protocols import ReadableImages
from gss.evaluation.checks import check_classes, check_dataset, class_names, device_name
from gss.evaluation.images import ImageShare, Sample
from gss.evaluation.samples.bits import BitsCounts
from gss.evaluation.samples.completion import CompletionCounts, Spread
from gss.evaluation.samples.corrections import CorrectionCounts
from gss.evaluation.samples.hypotheses import HypothesesCounts
from gss.evaluation.samples.layouts import LayoutResult, measure_layouts
from gss.evaluation.samples.protocol import SampleProtocol
from gss.evaluation.samples.result import SampleResult
from gss.models.evaluation_mode import evaluation_mode
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.sampling.arguments import need_joint
from gss.pipeline.sampling.outputs import HypothesesOutput
from gss.report.pictures import colorize, heatmap


def evaluate_samples(
    pipeline: GSSPipeline,
    dataset: ReadableImages,
    *,
    train: ReadableImages | None = None,
    protocol: SampleProtocol | None = None,
    spread: Spread | None = None,
    workers: int = 0,
    pictures: int = 4,
    progress: bool = False,
) -> SampleResult:
    """Measure the masks that a pipeline draws, at the original size of the labels.

    Every random number is a function of the seed and the image, so the result depends neither on the number of
    processes nor on what else is measured.

    Args:
        pipeline: pipeline with a joint prior.
        dataset: images and labels, with the classes of the pipeline; of ambiguous labels (`label_flips` in the spec)
            all truths are known.
        train: training masks, which masks without image are compared with; needed for the part `layouts`.
        protocol: what is measured and how.
        spread: spreads given labels over an image without a network, a baseline of `completion`; None leaves it out.
        workers: number of threads that read images ahead.
        pictures: number of images to show.
        progress: whether the main process shows progress bars.

    Raises:
        InputError: no joint prior, the classes differ, the data set is empty, or training masks are missing.
    """
    # 1. Check the arguments.
    protocol = protocol or SampleProtocol()
    need_joint(pipeline.joint, pipeline.likelihood, "evaluate_samples")
    check_dataset(dataset)
    check_classes(class_names(pipeline), dataset.label_space.names)
    if "layouts" in protocol.parts:
        if train is None:
            raise InputError("train is None; masks without image are compared with training masks: name their split")
        check_dataset(train, "the training split")
        check_classes(class_names(pipeline), train.label_space.names)

    # 2. Counts of the parts, and the images of each.
    count, parts = len(dataset.label_space.names), protocol.parts
    images = ImageShare(dataset, evenly_spaced(len(dataset), protocol.limit), workers=workers)
    bits = BitsCounts(pipeline, protocol) if "bits" in parts else None
    hypotheses = HypothesesCounts(pipeline, dataset, protocol) if "hypotheses" in parts else None
    completion = CompletionCounts(pipeline, count, protocol, spread) if "completion" in parts else None
    corrections = CorrectionCounts(pipeline, count, protocol) if "corrections" in parts else None
    completed = _spread(images.all_indices, protocol.completion_images)
    corrected = _spread(images.all_indices, protocol.correction_images)
    shown = _spread(images.all_indices, pictures)

    # 3. Every image.
    rows: dict[int, tuple[str, list[Image.Image]]] = {}
    done = 0
    bar = tqdm(total=len(images), unit="image", disable=not (progress and is_main()), desc="evaluate")
    with bar, evaluation_mode(pipeline.components.values()):
        for sample in images:
            if bits is not None:
                bits.update(sample.index, sample.image, sample.labels)
            if hypotheses is not None:
                output = hypotheses.update(sample.index, sample.image, sample.labels)
                if sample.index in shown:
                    rows[sample.index] = _row(pipeline, dataset, sample, output)
            if completion is not None and sample.index in completed:
                completion.update(sample.index, sample.image, sample.labels)
            if corrections is not None and sample.index in corrected:
                corrections.update(sample.index, sample.image, sample.labels)
            done += 1
            bar.update()

    # 4. Sum over the processes; masks without image.
    unreadable = images.unreadable()
    layouts: dict[str, LayoutResult] | None = None
    generated: list[tuple[Image.Image, str]] = []
    if "layouts" in parts and train is not None:
        layouts, generated = measure_layouts(
            pipeline, dataset, train, protocol, pictures=6 if pictures else 0, progress=progress
        )
    pictured = {index: row for part in gather_objects(rows) for index, row in part.items()}
    return SampleResult(
        pipeline="",
        data="",
        class_names=list(dataset.label_space.names),
        class_colors=[list(color) for color in dataset.label_space.colors],
        images=sum(gather_objects(done)),
        protocol=protocol,
        bits=None if bits is None else bits.compute(),
        hypotheses=None if hypotheses is None else hypotheses.compute(),
        completion=None if completion is None else completion.compute(),
        corrections=None if corrections is None else corrections.compute(),
        layouts=layouts,
        unreadable=unreadable,
        device=device_name(pipeline.device),
        pictures=[pictured[index] for index in sorted(pictured)],
        generated=generated,
    )


def _spread(indices: list[int], limit: int) -> set[int]:
    """Return at most `limit` of the indices, evenly spaced."""
    return {indices[position] for position in evenly_spaced(len(indices), limit)} if limit else set()


def _row(
    pipeline: GSSPipeline, dataset: ReadableImages, sample: Sample, output: HypothesesOutput
) -> tuple[str, list[Image.Image]]:
    """Return the caption and pictures of one image; see `gss.evaluation.samples.page.PICTURE_TITLES`."""
    masks = np.asarray(output.masks[0])
    shown = [colorize(masks[min(number, len(masks) - 1)], pipeline.colors) for number in range(3)]
    information = heatmap(np.asarray(output.mutual_information[0]), low=0, high=0.7, palette="magma")
    truth = colorize(sample.labels, dataset.label_space.colors)
    return str(dataset.ids[sample.index]), [sample.image, truth, *shown, information]
