"""Inputs of `gss cross-domain`: models, test sets, mappings of their classes, and the training data of the models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gss.core.errors import InputError, quoted, unknown_name
from gss.core.lookup.run_folders import find_pipeline
from gss.data.mapping import find_mapping, read_mapping
from gss.data.open import open_split
from gss.data.protocols import ReadableImages
from gss.data.specs.load import load_spec
from gss.data.specs.spec import DataSpec, named_split
from gss.evaluation.names import short_names
from gss.labels.mapping import LabelMapping
from gss.labels.mseg import MSegTaxonomy
from gss.labels.space import LabelSpace
from gss.pipeline.store.trained import is_data, read_training_data

_SEED = re.compile(r"[_-](?:s|seed)[_-]?\d+$")


@dataclass(frozen=True)
class TestSet:
    """One column of the matrix.

    Args:
        ref: data spec as the user wrote it.
        spec: data set.
        split: split of the data set.
        images: images and labels.
    """

    __test__ = False  # no test case of pytest

    ref: str
    spec: DataSpec
    split: str
    images: ReadableImages


@dataclass(frozen=True)
class TrainingDomain:
    """Training data of a model, and the test set that is like it.

    Args:
        training_data: training data as the model card records it; empty if it records nothing.
        in_domain: test set like the training data; `None` if none is.
        source: source of `in_domain`, in words.
    """

    training_data: str = ""
    in_domain: str | None = None
    source: str = ""


Home = TrainingDomain
"""Name of `TrainingDomain` in version 0.1."""


def group_folders(entries: Sequence[str]) -> dict[str, dict[str, str]]:
    """Sort the folders of pipelines by model.

    Args:
        entries: `FOLDER`, or `NAME=FOLDER,FOLDER,...` for the seeds of the model NAME. Without a NAME, the model is
            the name of the folder without the seed at its end: prior_s0 and prior_s1 are seeds of prior.

    Returns:
        Model to short name to folder.

    Raises:
        InputError: a model is named twice or has no folder, or a folder is given twice.
    """
    named: dict[str, list[str]] = {}
    free: list[str] = []
    for entry in entries:
        name, equals, rest = entry.partition("=")
        if not equals or "/" in name:
            free.append(entry)
            continue
        folders = [folder.strip() for folder in rest.split(",") if folder.strip()]
        if not name or not folders or name in named:
            raise InputError(f"pipelines {quoted(entry)}: write NAME=FOLDER,FOLDER,... with every NAME once")
        named[name] = folders
    short = short_names([*free, *(folder for folders in named.values() for folder in folders)])
    names = {path: name for name, path in short.items()}
    groups: dict[str, dict[str, str]] = {}
    for folder in free:
        name = names[str(Path(folder))]
        groups.setdefault(_SEED.sub("", name) or name, {})[name] = folder
    for group, folders in named.items():
        if group in groups:
            raise InputError(
                f"pipelines: {quoted(group)} is a group that you name and one by folder names; rename yours"
            )
        groups[group] = {names[str(Path(folder))]: folder for folder in folders}
    return groups


def open_test_sets(refs: Sequence[str], roots: Sequence[str], split: str) -> dict[str, TestSet]:
    """Open test sets.

    Args:
        refs: data specs, as `SPEC` or `SPEC:SPLIT`.
        roots: folders of data sets, as `SPEC=FOLDER`.
        split: split of the specs that name none.

    Returns:
        Test sets by name; the split is part of the name where a data set is given with several splits.

    Raises:
        InputError: an entry is wrong, a split is unknown or empty, or a test set is given twice.
    """
    folders = {}
    for entry in roots:
        name, equals, folder = entry.partition("=")
        if not (name and equals and folder):
            raise InputError(f"roots {quoted(entry)}: write NAME=FOLDER, such as camvid=data/camvid")
        folders[name] = folder
    opened = []
    for ref in refs:
        spec_ref, spec_split = named_split(ref) or (ref, split)
        spec = load_spec(spec_ref, folders.pop(spec_ref, None))
        opened.append(TestSet(spec_ref, spec, spec_split, open_split(spec, spec_split)))
    for name in folders:
        raise unknown_name("data set", name, [test.ref for test in opened], where="roots")
    names = [test.spec.name for test in opened]
    test_sets = {
        name if names.count(name) == 1 else f"{name} {test.split}": test
        for name, test in zip(names, opened, strict=True)
    }
    if len(test_sets) < len(opened):
        raise InputError(f"data {', '.join(refs)}: two test sets have the same name and split; name each once")
    return test_sets


def find_mappings(
    spaces: Mapping[str, LabelSpace],
    tests: Mapping[str, TestSet],
    *,
    files: Sequence[str] = (),
    mseg: MSegTaxonomy | None = None,
    one_to_one: bool = False,
) -> dict[tuple[str, str], tuple[LabelMapping, str]]:
    """Find the mapping of the classes of every model to those of every test set.

    Args:
        spaces: classes by model.
        tests: test sets by name.
        files: mapping files; each is used for the pairs with its classes, and has precedence.
        mseg: table of MSeg.
        one_to_one: whether to refuse mappings that merge or divide classes.

    Returns:
        Mapping and its source in words, by (model, test set).

    Raises:
        InputError: a file fits no pair, two files fit one pair, no class has a counterpart, or a mapping is not
            one-to-one although this is required. The message names model and test set.
    """
    file_of: dict[tuple[str, str], str] = {}
    for file in files:
        written, used = read_mapping(file), False
        for group, space in spaces.items():
            for name, test in tests.items():
                if _same(written.source, space) and _same(written.target, test.spec.label_space):
                    if file_of.setdefault((group, name), file) != file:
                        raise InputError(f"mappings {file_of[group, name]} and {file} are both for {group} on {name}")
                    used = True
        if not used:
            raise InputError(
                f"mapping {file} fits no pipeline and test set here: it maps {written.source.num_classes} classes "
                f"({', '.join(written.source.names[:5])}, ...) to {written.target.num_classes} "
                f"({', '.join(written.target.names[:5])}, ...)"
            )
    mappings = {}
    for group, space in spaces.items():
        for name, test in tests.items():
            try:
                mapping, origin = find_mapping(space, test.spec, file=file_of.get((group, name)), mseg=mseg)
                if one_to_one:
                    mapping.require_one_to_one()
            except InputError as error:
                raise InputError(f"{group} on {name}: {error}") from error
            mappings[group, name] = (mapping, origin)
    return mappings


def find_training_domain(
    group: str, folders: Sequence[str], tests: Mapping[str, TestSet], in_domain: str | None = None
) -> TrainingDomain:
    """Find the test set that is like the training data of a model.

    Args:
        group: name of the model.
        folders: folders of its pipelines.
        tests: test sets by name.
        in_domain: name of the test set; by default the one in the model cards, or the first if they record nothing.

    Raises:
        InputError: the cards of the seeds name different training data, there is no test set `in_domain`, or a folder
            holds no pipeline.
    """
    recorded = list(dict.fromkeys(read_training_data(find_pipeline(folder)) or "" for folder in folders))
    if len(recorded) > 1:
        different = " against ".join(text or "nothing recorded" for text in recorded)
        raise InputError(
            f"pipelines of group {quoted(group)} differ in training data: {different}; give them other names"
        )
    if in_domain is not None:
        if in_domain not in tests:
            raise unknown_name("test set", in_domain, tests, where="in-domain")
        return TrainingDomain(recorded[0], in_domain, "--in-domain")
    if not recorded[0]:
        return TrainingDomain("", next(iter(tests)), "first of --data, the model card records nothing")
    ref = recorded[0].partition(", split ")[0]
    same = [name for name, test in tests.items() if is_data(ref, test.ref, test.spec.name)]
    return TrainingDomain(recorded[0], same[0] if same else None, "model card")


def _same(first: LabelSpace, second: LabelSpace) -> bool:
    return set(first.names) == set(second.names)
