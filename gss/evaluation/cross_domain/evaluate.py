"""Train here, measure there: pipelines by test sets, `gss cross-domain`.

Protocol. Every pipeline runs on every test set, once an image and resolution for all decode modes and scores, at the
original size of the labels. Predictions are brought into the classes of the test set (see `counts.py`) and, with the
truth, into the classes that all pipelines and test sets tell apart. The threshold of a score is set on the test set
that is like the training data, so alarms elsewhere show what a change of domain alone does.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from gss.core.distributed import is_main, num_processes, shard
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.mapping import find_mapping
from gss.data.protocols import ReadableImages
from gss.evaluation.checks import check_known, device_name
from gss.evaluation.cross_domain.counts import Pair
from gss.evaluation.cross_domain.groups import measure_group
from gss.evaluation.cross_domain.inputs import Home, find_home, find_mappings, group_folders, open_test_sets
from gss.evaluation.cross_domain.page import build_page, draw_rows
from gss.evaluation.cross_domain.protocol import Protocol
from gss.evaluation.cross_domain.result import CrossDomainResult
from gss.evaluation.cross_domain.tables import format_result, write_markdown
from gss.labels.mapping import CommonClasses, LabelMapping, common_classes
from gss.labels.mseg import MSegTaxonomy
from gss.labels.names import listed
from gss.labels.space import LabelSpace
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline


def evaluate_cross_domain(
    groups: Mapping[str, Mapping[str, GSSPipeline]],
    datasets: Mapping[str, ReadableImages],
    *,
    protocol: Protocol | None = None,
    mappings: Mapping[tuple[str, str], tuple[LabelMapping, str]] | None = None,
    homes: Mapping[str, Home] | None = None,
    pictures: int = 3,
    progress: bool = False,
) -> CrossDomainResult:
    """Measure every pipeline on every test set.

    Under several processes each takes its share of the images of every test set; the result equals that of one process.

    Args:
        groups: Group to name to pipeline; the pipelines of a group are seeds of one model.
        datasets: Name to images and labels.
        protocol: How they are run; the defaults of `Protocol` if `None`.
        mappings: (group, test set) to mapping and its origin in words; by the names of the classes if `None`.
        homes: Where each group comes from; the first test set is in domain if `None`.
        pictures: Example images of each test set.
        progress: Show a progress bar on the main process.

    Raises:
        ValueError: No pipeline or test set, pipelines of a group differ in classes or kind, classes have nothing in
            common, a test set is empty, or an argument is not allowed.
    """
    protocol = protocol or Protocol()
    _check_inputs(groups, datasets, protocol)
    members = {name: list(group.values()) for name, group in groups.items()}
    if mappings is None:
        mappings = {
            (name, data): find_mapping(_space(group[0]), images.label_space)
            for name, group in members.items()
            for data, images in datasets.items()
        }
    common = common_classes([[mappings[name, data][0] for data in datasets] for name in groups])
    pairs = _pairs(list(groups), list(datasets), mappings, common)
    homes = homes or {name: Home("", next(iter(datasets)), "the first test set") for name in groups}

    chosen = {name: evenly_spaced(len(data), protocol.limit) for name, data in datasets.items()}
    mine = {name: [indices[place] for place in shard(len(indices))] for name, indices in chosen.items()}
    total = sum(map(len, members.values())) * len(protocol.sides) * sum(map(len, mine.values()))
    singles: dict[str, dict[str, Any]] = {}
    made: dict[str, dict[str, Any]] = {}
    with tqdm(total=total, unit="image", disable=not (progress and is_main()), desc="cross-domain") as bar:
        for group, pipelines in groups.items():
            own = {data: pairs[group, data] for data in datasets}
            found, made[group] = measure_group(pipelines, datasets, mine, own, homes[group], protocol, bar)
            singles |= {name: {"group": group} | one for name, one in found.items()}
    shown = {}
    if pictures and is_main():
        for data, images in datasets.items():
            indices = [chosen[data][place] for place in evenly_spaced(len(chosen[data]), pictures)]
            models = [
                (name, members[name][0], made[name]["default_mode"], made[name]["short_side"][data], pairs[name, data])
                for name in groups
            ]
            shown[data] = draw_rows(images, indices, models, protocol)
    return CrossDomainResult(
        data={
            name: {
                "images": len(chosen[name]),
                "classes": list(data.label_space.names),
                "colors": [list(color) for color in data.label_space.colors],
            }
            for name, data in datasets.items()
        },
        common=list(common.space.names) if common else [],
        pipelines=singles,
        groups=made,
        device=device_name(next(iter(members.values()))[0].device),
        settings=protocol.to_dict() | {"processes": num_processes()},
        notes=list(_notes(made, common, protocol)),
        pictures=shown,
    )


def main(args: argparse.Namespace) -> int:
    """Handle `gss cross-domain`.

    Args:
        args: `pipelines`, `data`, `roots`, `split`, `limit`, `map` (files), `mseg`, `one_to_one`, `in_domain`, `modes`
            and `scores` (lists or None), `false_alarms`, `size`, `short_side` (list), `window`, `flip`, `scales`,
            `json`, `markdown`, `html`.

    Raises:
        ValueError: Bad pipeline, data set, mapping, name or output file.
    """
    chosen = {} if args.scores is None else {"scores": tuple(args.scores)}
    protocol = Protocol(
        size=args.size,
        short_sides=tuple(args.short_side),
        window=args.window,
        flip=args.flip,
        scales=tuple(args.scales),
        modes=None if args.modes is None else tuple(args.modes),
        false_alarms=args.false_alarms,
        limit=args.limit,
        **chosen,  # type: ignore[arg-type]
    )
    folders = group_folders(args.pipelines)
    tests = open_test_sets(args.data, args.roots, args.split)
    homes = {name: find_home(name, list(paths.values()), tests, args.in_domain) for name, paths in folders.items()}
    mseg = MSegTaxonomy.read(args.mseg) if args.mseg else None
    groups = {group: {name: load_pipeline(path) for name, path in paths.items()} for group, paths in folders.items()}
    spaces = {name: _space(next(iter(group.values()))) for name, group in groups.items()}
    mappings = find_mappings(spaces, tests, files=args.map, mseg=mseg, one_to_one=args.one_to_one)
    result = evaluate_cross_domain(
        groups,
        {name: test.images for name, test in tests.items()},
        protocol=protocol,
        mappings=mappings,
        homes=homes,
        pictures=3 if args.html else 0,
        progress=True,
    )
    splits = {name: {"split": test.split, **result.data[name]} for name, test in tests.items()}
    seen = [
        f"{name} is measured on {test.spec.name} {test.split}, which it was trained on"
        for name, home in homes.items()
        for data, test in tests.items()
        if data == home.in_domain and home.training_data.endswith(f", split {test.split}")
    ]
    result = dataclasses.replace(
        result, data=splits, settings=result.settings | {"pipelines": folders}, notes=[*result.notes, *seen]
    )
    if is_main():
        print(format_result(result))
        if args.json:
            result.write_json(args.json)
        if args.markdown:
            write_markdown(result, args.markdown)
        if args.html:
            build_page(result).save(args.html)
    return 0


def _check_inputs(
    groups: Mapping[str, Mapping[str, GSSPipeline]], datasets: Mapping[str, ReadableImages], protocol: Protocol
) -> None:
    every = [pipeline for members in groups.values() for pipeline in members.values()]
    if not datasets or not every or any(not members for members in groups.values()):
        raise InputError("pipelines or data is empty; name at least one of each")
    check_known("decode mode", protocol.modes or (), {mode for pipe in every for mode in pipe.decode_modes})
    if protocol.scores != Protocol.scores:
        check_known("score", protocol.scores, {score for pipe in every for score in pipe.score_names})
    for name, data in datasets.items():
        if len(data) == 0:
            raise InputError(f"test set {name} has no images; choose another split")
    for group, members in groups.items():
        first = next(iter(members.values()))
        for name, pipeline in members.items():
            pipeline.check_inputs(pipeline.decode_modes, size=protocol.size, **protocol.views)
            if _space(pipeline).names != _space(first).names or (pipeline.vqvae is None) != (first.vqvae is None):
                raise InputError(
                    f"pipeline {name} has other classes or is of another kind than the rest of group {group!r}; "
                    "only seeds of one model form a group, name them apart with NAME=FOLDER,..."
                )


def _space(pipeline: GSSPipeline) -> LabelSpace:
    return LabelSpace(tuple(pipeline.id2label[index] for index in range(len(pipeline.id2label))))


def _pairs(
    groups: Sequence[str],
    datasets: Sequence[str],
    mappings: Mapping[tuple[str, str], tuple[LabelMapping, str]],
    common: CommonClasses | None,
) -> dict[tuple[str, str], Pair]:
    return {
        (group, data): Pair(*mappings[group, data], (common.sources[i], common.targets[j]) if common else None)
        for i, group in enumerate(groups)
        for j, data in enumerate(datasets)
    }


def _notes(groups: Mapping[str, Mapping[str, Any]], common: CommonClasses | None, protocol: Protocol) -> Iterator[str]:
    if common is None:
        yield "no class is common to all pipelines and test sets, so there is no common score"
    if len(protocol.sides) > 1:
        yield f"resolution: {protocol.resolution}, which is optimistic"
    for name, group in groups.items():
        trained = f" (trained on {group['training_data']})" if group["training_data"] else ""
        if group["in_domain"] is None:
            yield f"{name}{trained} has no test set in domain: no drop, alarm threshold from {group['reference']}"
        else:
            yield f"{name}{trained}: in domain is {group['in_domain']}, by {group['in_domain_from']}"
        for data, tried in group["tried"].items():
            if len(tried) > 1:
                mious = ", ".join(
                    f"{side}: {'-' if value is None else f'{value:.3f}'}" for side, value in tried.items()
                )
                yield f"{name} on {data}: short side {group['short_side'][data]} is kept (mIoU at {mious})"
        for data, pair in group["pairs"].items():
            if pair["unreachable"]:
                yield f"{name} on {data}: never predicted and void but for 'all classes': {listed(pair['unreachable'])}"
        twins = [
            other
            for other in groups.values()
            if other["kind"] == "discriminative" and other["training_data"] == group["training_data"]
        ]
        if group["kind"] == "generative" and not twins:
            yield f"{name} has no discriminative twin here; train one with 'gss train twin' and add it to --pipelines"
