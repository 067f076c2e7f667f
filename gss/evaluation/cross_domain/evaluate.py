"""Pipelines on data sets that they were not trained on: `gss cross-domain`.

Protocol. Every pipeline runs on every test set, once per image and resolution for all decode modes and scores, at the
original size of the labels. Predictions are mapped to the classes of the test set (see `counts.py`) and, with the
truth, to the classes that all pipelines and test sets tell apart. The threshold of a score is set on the test set in
domain, so that alarms on the others show the effect of the change of domain.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch

from gss.core.distributed import is_main, num_processes
from gss.core.errors import InputError
from gss.core.progress import Progress
from gss.core.sampling import evenly_spaced
from gss.data.mapping import find_mapping
from gss.data.protocols import ReadableImages
from gss.evaluation.checks import check_dataset, check_known, class_names, device_name
from gss.evaluation.cross_domain.groups import measure_group
from gss.evaluation.cross_domain.inputs import (
    TestSet,
    TrainingDomain,
    find_mappings,
    find_training_domain,
)
from gss.evaluation.cross_domain.notes import notes
from gss.evaluation.cross_domain.pair import Pair
from gss.evaluation.cross_domain.pictures import Column, draw_rows
from gss.evaluation.cross_domain.protocol import Protocol
from gss.evaluation.cross_domain.result import CrossDomainResult, GroupResult, PipelineResult, TestSetResult
from gss.evaluation.images import ImageShare
from gss.labels.mapping import CommonClasses, LabelMapping, common_classes
from gss.labels.mseg import MSegTaxonomy
from gss.labels.space import LabelSpace
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline


def evaluate_cross_domain(
    groups: Mapping[str, Mapping[str, GSSPipeline]],
    datasets: Mapping[str, ReadableImages],
    *,
    protocol: Protocol | None = None,
    mappings: Mapping[tuple[str, str], tuple[LabelMapping, str]] | None = None,
    training: Mapping[str, TrainingDomain] | None = None,
    pictures: int = 3,
    workers: int = 0,
    progress: bool = False,
) -> CrossDomainResult:
    """Measure every pipeline on every test set.

    Under several processes each takes its share of the images of every test set; the result equals that of one process.

    Args:
        groups: model to name to pipeline; the pipelines of a model are its seeds.
        datasets: test sets by name.
        protocol: arguments of the runs; the defaults of `Protocol` if `None`.
        mappings: mapping of the classes and its source in words, by (model, test set); by the names of the classes if
            `None`.
        training: training data by model; the first test set is in domain if `None`.
        pictures: number of example images of each test set.
        workers: number of threads that read images ahead of the network; 0 reads them in turn.
        progress: whether the main process shows a progress bar.

    Raises:
        InputError: there is no pipeline or test set, the pipelines of a model differ in classes or kind, classes have
            nothing in common, a test set is empty, or an argument is not allowed.
    """
    # 1. Check the arguments.
    protocol = protocol or Protocol()
    _check_inputs(groups, datasets, protocol)
    training = training or {name: TrainingDomain("", next(iter(datasets)), "the first test set") for name in groups}

    # 2. Relate the classes of models and test sets.
    if mappings is None:
        mappings = {
            (name, data): find_mapping(label_space(next(iter(seeds.values()))), images.label_space)
            for name, seeds in groups.items()
            for data, images in datasets.items()
        }
    common = common_classes([[mappings[name, data][0] for data in datasets] for name in groups])
    pairs = _pairs(list(groups), list(datasets), mappings, common)

    # 3. Choose images, and the share of this process.
    images = {
        name: ImageShare(dataset, evenly_spaced(len(dataset), protocol.limit), workers=workers)
        for name, dataset in datasets.items()
    }

    # 4. Measure each model on all test sets; counts are summed over the processes.
    total = sum(map(len, groups.values())) * len(protocol.sides) * sum(map(len, images.values()))
    pipelines: dict[str, PipelineResult] = {}
    models: dict[str, GroupResult] = {}
    with Progress(total, "measuring on all test sets", shown=progress) as bar:
        for name, seeds in groups.items():
            pairs_of_model = {data: pairs[name, data] for data in datasets}
            results, models[name] = measure_group(name, seeds, images, pairs_of_model, training[name], protocol, bar)
            pipelines |= results
    test_sets = {name: _test_set_result(share) for name, share in images.items()}

    # 5. Draw pictures.
    drawn = {}
    if pictures and is_main():
        for data, share in images.items():
            columns = [
                Column(next(iter(groups[name].values())), model.default_mode, model.short_side[data], pairs[name, data])
                for name, model in models.items()
            ]
            failed = {image.id for image in test_sets[data].unreadable}
            readable = [index for index in share.all_indices if str(share.dataset.ids[index]) not in failed]
            chosen = [readable[position] for position in evenly_spaced(len(readable), pictures)]
            drawn[data] = draw_rows(share.dataset, chosen, columns, protocol)
    first = next(iter(next(iter(groups.values())).values()))
    return CrossDomainResult(
        data=test_sets,
        common=list(common.space.names) if common else [],
        pipelines=pipelines,
        groups=models,
        device=device_name(first.device),
        settings=protocol.settings() | {"processes": num_processes()},
        notes=list(notes(models, test_sets, protocol, common=common is not None)),
        pictures=drawn,
    )


def label_space(pipeline: GSSPipeline) -> LabelSpace:
    """Return the classes of a pipeline."""
    return LabelSpace(tuple(class_names(pipeline)))


def _check_inputs(
    groups: Mapping[str, Mapping[str, GSSPipeline]], datasets: Mapping[str, ReadableImages], protocol: Protocol
) -> None:
    pipelines = [pipeline for seeds in groups.values() for pipeline in seeds.values()]
    if not datasets or not pipelines or any(not seeds for seeds in groups.values()):
        raise InputError("pipelines or data is empty; name at least one of each")
    check_known("decode mode", protocol.modes or (), {mode for pipe in pipelines for mode in pipe.decode_modes})
    if protocol.scores != Protocol.scores:
        check_known("score", protocol.scores, {score for pipe in pipelines for score in pipe.score_names})
    for name, images in datasets.items():
        check_dataset(images, f"test set {name}")
    for group, seeds in groups.items():
        first = next(iter(seeds.values()))
        for name, pipeline in seeds.items():
            pipeline.check_inputs(pipeline.decode_modes, size=protocol.size, **protocol.views)
            if class_names(pipeline) != class_names(first) or (pipeline.vqvae is None) != (first.vqvae is None):
                raise InputError(
                    f"pipeline {name} has other classes or is of another kind than the rest of group {group!r}; "
                    "only seeds of one model form a group, name them apart with NAME=FOLDER,..."
                )


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


def _test_set_result(share: ImageShare) -> TestSetResult:
    space, unreadable = share.dataset.label_space, share.unreadable()
    count = len(share.all_indices) - len(unreadable)
    colors = [list(color) for color in space.colors]
    return TestSetResult(count, list(space.names), colors, unreadable=unreadable)


def evaluate_folders(
    folders: Mapping[str, Mapping[str, str]],
    tests: Mapping[str, TestSet],
    *,
    protocol: Protocol | None = None,
    mapping_files: Sequence[str] = (),
    mseg_file: str | None = None,
    one_to_one: bool = False,
    in_domain: str | None = None,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    exact: bool = False,
    pictures: int = 3,
    workers: int = 0,
    progress: bool = False,
) -> CrossDomainResult:
    """Load pipelines, map their classes and measure them on every test set.

    Args:
        folders: group to name to folder of a pipeline, see `group_folders`.
        tests: name to test set, see `open_test_sets`.
        protocol: settings of the run; the defaults of `Protocol` if `None`.
        mapping_files: mapping files by `gss data map`.
        mseg_file: the MSeg table.
        one_to_one: refuse mappings that merge or divide classes.
        in_domain: test set like the training data; from the model cards if `None`.
        device: device of the pipelines, see `load_pipeline`.
        dtype: precision of their priors.
        exact: read every cell with all codes, see `gss.pipeline.tokens`.
        pictures: number of example images of each test set.
        workers: number of threads that read images ahead of the network; 0 reads them in turn.
        progress: show a progress bar on the main process.

    Raises:
        InputError: bad pipeline, mapping or name, or what `evaluate_cross_domain` refuses.
    """
    training = {
        name: find_training_domain(name, list(paths.values()), tests, in_domain) for name, paths in folders.items()
    }
    mseg = MSegTaxonomy.read(mseg_file) if mseg_file else None
    groups = {
        group: {name: load_pipeline(path, device=device, dtype=dtype, exact=exact) for name, path in paths.items()}
        for group, paths in folders.items()
    }
    spaces = {name: label_space(next(iter(group.values()))) for name, group in groups.items()}
    result = evaluate_cross_domain(
        groups,
        {name: test.images for name, test in tests.items()},
        protocol=protocol,
        mappings=find_mappings(spaces, tests, files=mapping_files, mseg=mseg, one_to_one=one_to_one),
        training=training,
        pictures=pictures,
        workers=workers,
        progress=progress,
    )
    data = {name: dataclasses.replace(result.data[name], split=test.split) for name, test in tests.items()}
    seen = [
        f"{name} is measured on {test.spec.name} {test.split}, which it was trained on"
        for name, domain in training.items()
        for test_set, test in tests.items()
        if test_set == domain.in_domain and domain.training_data.endswith(f", split {test.split}")
    ]
    settings = result.settings | {"pipelines": {group: dict(paths) for group, paths in folders.items()}}
    return dataclasses.replace(result, data=data, settings=settings, notes=[*result.notes, *seen])
