"""The seeds of one model on all test sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gss.core.progress import Progress
from gss.evaluation.cross_domain.counts import CellCounts
from gss.evaluation.cross_domain.inputs import TrainingDomain
from gss.evaluation.cross_domain.means import over_seeds, summarize
from gss.evaluation.cross_domain.pair import Pair
from gss.evaluation.cross_domain.protocol import Protocol
from gss.evaluation.cross_domain.result import PROBABILITIES, CellResult, GroupResult, PipelineResult
from gss.evaluation.images import ImageShare
from gss.metrics.means import mean
from gss.pipeline.pipeline import GSSPipeline

Cell = CellResult[float | None]


def measure_group(
    name: str,
    seeds: Mapping[str, GSSPipeline],
    test_sets: Mapping[str, ImageShare],
    pairs: Mapping[str, Pair],
    training: TrainingDomain,
    protocol: Protocol,
    bar: Progress,
) -> tuple[dict[str, PipelineResult], GroupResult]:
    """Measure the seeds of one model on every test set.

    Args:
        name: name of the model.
        seeds: pipelines by name.
        test_sets: images of this process by test set.
        pairs: relation of the classes by test set.
        training: training data of the model.
        protocol: arguments of the runs.
        bar: progress bar, which moves by one per image.

    Returns:
        Results of the seeds by name, and of the model.
    """
    pipelines = list(seeds.values())
    modes, scores = protocol.modes_of(pipelines), protocol.scores_of(pipelines)
    default = pipelines[0].default_decode if pipelines[0].default_decode in modes else modes[0]
    reference = training.in_domain or next(iter(test_sets))

    # 1. Count, by seed, short side and test set. At each resolution alarms have the threshold of that resolution.
    cells: dict[str, dict[int | None, dict[str, Cell]]] = {}
    thresholds: dict[str, dict[int | None, dict[str, float]]] = {}
    for seed, pipeline in seeds.items():
        cells[seed], thresholds[seed] = {}, {}
        for side in protocol.sides:
            counts = {data: CellCounts(pairs[data], modes, scores) for data in test_sets}
            for data, images in test_sets.items():
                for sample in images:
                    maps = protocol.run(pipeline, sample.image, side, modes, scores)
                    counts[data].update(maps, sample.labels)
                    bar.update()
                images.unreadable()  # raises if nothing could be read
                counts[data].sum_across()
            limits = {s: scores.threshold(protocol.false_alarms) for s, scores in counts[reference].familiar.items()}
            thresholds[seed][side] = limits
            cells[seed][side] = {data: count.compute(limits) for data, count in counts.items()}

    # 2. Keep the best short side of each test set.
    best, tried = _best_sides(cells, list(test_sets), protocol.sides, default)

    # 3. Average over test sets and over seeds.
    results = {}
    for seed, by_side in cells.items():
        kept = {data: by_side[best[data]][data] for data in test_sets}
        limits_by_data = {data: thresholds[seed][best[data]] for data in test_sets}
        results[seed] = PipelineResult(name, limits_by_data, kept, summarize(kept, training.in_domain))
    group = GroupResult(
        pipelines=list(seeds),
        kind="generative" if pipelines[0].vqvae is not None else "discriminative",
        default_mode=default,
        scores=list(scores),
        training_data=training.training_data,
        in_domain=training.in_domain,
        in_domain_from=training.source,
        reference=reference,
        pairs={data: pair.result() for data, pair in pairs.items()},
        short_side=best,
        tried=tried,
        cells=over_seeds([result.cells for result in results.values()]),
        summary=over_seeds([result.summary for result in results.values()]),
    )
    return results, group


def _best_sides(
    cells: Mapping[str, Mapping[int | None, Mapping[str, Cell]]],
    test_sets: Sequence[str],
    sides: Sequence[int | None],
    mode: str,
) -> tuple[dict[str, int | None], dict[str, dict[str, float | None]]]:
    """Choose the short side with the highest mIoU, averaged over the seeds.

    Returns:
        Short side by test set, and test set to short side to mIoU.
    """
    best, tried = {}, {}
    for data in test_sets:
        mious = {
            side: mean(by_side[side][data].modes[mode][PROBABILITIES].miou for by_side in cells.values())
            for side in sides
        }
        best[data] = max(mious, key=lambda side: -1.0 if mious[side] is None else mious[side])  # type: ignore[arg-type, return-value]
        tried[data] = {str(side): value for side, value in mious.items() if side is not None}
    return best, tried
