"""Running the seeds of one model over all test sets, for `gss.evaluation.cross_domain.evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from gss.data.protocols import ReadableImages
from gss.evaluation.cross_domain.counts import PROBABILITIES, CellCounts, Pair
from gss.evaluation.cross_domain.inputs import Home
from gss.evaluation.cross_domain.protocol import Protocol
from gss.evaluation.cross_domain.result import over_seeds, summarise
from gss.metrics.means import mean
from gss.pipeline.pipeline import GSSPipeline


def measure_group(
    pipelines: Mapping[str, GSSPipeline],
    datasets: Mapping[str, ReadableImages],
    mine: Mapping[str, Sequence[int]],
    pairs: Mapping[str, Pair],
    home: Home,
    protocol: Protocol,
    bar: tqdm,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Measure the seeds of one model on every test set.

    Args:
        pipelines: Name to pipeline.
        datasets: Name to images and labels.
        mine: Images of each test set that this process measures.
        pairs: By test set.
        home: Where the group comes from.
        protocol: How pipelines are run.
        bar: Moves on by one an image.

    Returns:
        Entries of `CrossDomainResult.pipelines`, without `group`, and the one of `groups`.
    """
    members = list(pipelines.values())
    modes, scores = protocol.modes_of(members), protocol.scores_of(members)
    default = members[0].default_decode if members[0].default_decode in modes else modes[0]
    reference = home.in_domain or next(iter(datasets))
    # By pipeline, resolution and test set: at each resolution alarms count above the threshold of that resolution.
    measured: dict[str, dict[int | None, dict[str, Any]]] = {}
    thresholds: dict[str, dict[int | None, dict[str, float]]] = {}
    for name, pipeline in pipelines.items():
        measured[name], thresholds[name] = {}, {}
        for side in protocol.sides:
            counts = {data: CellCounts(pairs[data], modes, scores) for data in datasets}
            for data, images in datasets.items():
                for index in mine[data]:
                    image, labels = images.read(index)
                    counts[data].update(protocol.run(pipeline, image, side, modes, scores), labels)
                    bar.update()
                counts[data].sum_across()
            limits = {s: seen.threshold(protocol.false_alarms) for s, seen in counts[reference].familiar.items()}
            thresholds[name][side] = limits
            measured[name][side] = {data: count.compute(limits) for data, count in counts.items()}
    best, tried = {}, {}
    for data in datasets:
        found = {
            side: mean(one[side][data]["modes"][default][PROBABILITIES]["miou"] for one in measured.values())
            for side in protocol.sides
        }
        best[data] = max(found, key=lambda side: found[side] or 0.0)
        tried[data] = {str(side): value for side, value in found.items() if side is not None}
    singles = {}
    for name, by_side in measured.items():
        cells = {data: by_side[best[data]][data] for data in datasets}
        limits_by_data = {data: thresholds[name][best[data]] for data in datasets}
        singles[name] = {"thresholds": limits_by_data, "cells": cells, "summary": summarise(cells, home.in_domain)}
    group = {
        "pipelines": list(pipelines),
        "kind": "generative" if members[0].vqvae is not None else "discriminative",
        "default_mode": default,
        "scores": list(scores),
        "training_data": home.training_data,
        "in_domain": home.in_domain,
        "in_domain_from": home.source,
        "reference": reference,
        "pairs": {data: pair.to_dict() for data, pair in pairs.items()},
        "short_side": best,
        "tried": tried,
        "cells": over_seeds([one["cells"] for one in singles.values()]),
        "summary": over_seeds([one["summary"] for one in singles.values()]),
    }
    return singles, group
