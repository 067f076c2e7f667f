"""What `gss cross-domain` is given: groups of pipelines, test sets, their mappings, and who was trained where."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gss.core.errors import InputError, did_you_mean
from gss.data.mapping import find_mapping, read_mapping
from gss.data.open import open_split
from gss.data.protocols import ReadableImages
from gss.data.specs.load import load_spec
from gss.data.specs.spec import DataSpec, named_split
from gss.evaluation.names import short_names
from gss.labels.mapping import LabelMapping
from gss.labels.mseg import MSegTaxonomy
from gss.labels.space import LabelSpace
from gss.pipeline.card import read_training_data

_SEED = re.compile(r"[_-](?:s|seed)[_-]?\d+$")


@dataclass(frozen=True)
class TestSet:
    """One column of the matrix.

    Args:
        ref: Data spec as given.
        spec: The data set.
        split: Its split.
        images: Images and labels.
    """

    ref: str
    spec: DataSpec
    split: str
    images: ReadableImages


@dataclass(frozen=True)
class Home:
    """Where a group of pipelines comes from.

    Args:
        training_data: What is recorded of it; empty for nothing.
        in_domain: The test set like it; `None` if none is.
        source: Who says so.
    """

    training_data: str = ""
    in_domain: str | None = None
    source: str = ""


def group_folders(entries: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read `FOLDER` and `NAME=FOLDER,FOLDER,...`: group to short name to folder.

    Folders without a name form groups by theirs without a seed at the end: prior_s0 and prior_s1 become prior.

    Raises:
        ValueError: A group is named twice or empty, or a folder is given twice.
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
            raise InputError(f"pipelines {entry!r}: write NAME=FOLDER,FOLDER,... with every NAME once")
        named[name] = folders
    short = short_names([*free, *(folder for folders in named.values() for folder in folders)])
    names = {path: name for name, path in short.items()}
    groups: dict[str, dict[str, str]] = {}
    for folder in free:
        name = names[str(Path(folder))]
        groups.setdefault(_SEED.sub("", name) or name, {})[name] = folder
    for group, folders in named.items():
        if group in groups:
            raise InputError(f"pipelines: {group!r} is a group that you name and one by folder names; rename yours")
        groups[group] = {names[str(Path(folder))]: folder for folder in folders}
    return groups


def open_test_sets(refs: Sequence[str], roots: Sequence[str], split: str) -> dict[str, TestSet]:
    """Read `SPEC` and `SPEC:SPLIT`: name to test set; two splits of a data set are told apart by split.

    Args:
        refs: Data specs.
        roots: `NAME=FOLDER`, folders of data sets by name or spec.
        split: Split of those that name none.

    Raises:
        ValueError: A bad entry, an unknown or empty split, or the same test set twice.
    """
    folders = {}
    for entry in roots:
        name, equals, folder = entry.partition("=")
        if not (name and equals and folder):
            raise InputError(f"roots {entry!r}: write NAME=FOLDER, such as camvid=data/camvid")
        folders[name] = folder
    opened = []
    for ref in refs:
        own, chosen = named_split(ref) or (ref, split)
        spec = load_spec(own, folders.pop(own, None))
        opened.append(TestSet(own, spec, chosen, open_split(spec, chosen)))
    if folders:
        known = ", ".join(test.ref for test in opened)
        hints = ", ".join(f"{name!r} {did_you_mean(name, known.split(', '))}".strip() for name in folders)
        raise InputError(f"roots names {hints}, which is not in --data: {known}")
    names = [test.spec.name for test in opened]
    found = {
        name if names.count(name) == 1 else f"{name} {test.split}": test
        for name, test in zip(names, opened, strict=True)
    }
    if len(found) < len(opened):
        raise InputError(f"data {', '.join(refs)}: two test sets have the same name and split; name each once")
    return found


def find_mappings(
    spaces: Mapping[str, LabelSpace],
    tests: Mapping[str, TestSet],
    *,
    files: Sequence[str] = (),
    mseg: MSegTaxonomy | None = None,
    one_to_one: bool = False,
) -> dict[tuple[str, str], tuple[LabelMapping, str]]:
    """The mapping of every group on every test set, and where it comes from.

    Args:
        spaces: Classes by group.
        tests: Test sets by name.
        files: Mapping files; each is used for the pairs whose classes it has, and goes before everything else.
        mseg: The MSeg table.
        one_to_one: Refuse mappings that merge or divide classes.

    Raises:
        ValueError: A file fits no pair or two fit one, nothing maps to anything, or not one-to-one where asked; names
            group and test set.
    """
    fits: dict[tuple[str, str], str] = {}
    for file in files:
        written, used = read_mapping(file), False
        for group, space in spaces.items():
            for name, test in tests.items():
                if _same(written.source, space) and _same(written.target, test.spec.label_space):
                    if fits.setdefault((group, name), file) != file:
                        raise InputError(f"mappings {fits[group, name]} and {file} are both for {group} on {name}")
                    used = True
        if not used:
            raise InputError(
                f"mapping {file} fits no pipeline and test set here: it maps {written.source.num_classes} classes "
                f"({', '.join(written.source.names[:5])}, ...) to {written.target.num_classes} "
                f"({', '.join(written.target.names[:5])}, ...)"
            )
    found = {}
    for group, space in spaces.items():
        for name, test in tests.items():
            try:
                mapping, origin = find_mapping(space, test.spec, file=fits.get((group, name)), mseg=mseg)
                if one_to_one:
                    mapping.require_one_to_one()
            except ValueError as error:
                raise InputError(f"{group} on {name}: {error}") from error
            found[group, name] = (mapping, origin)
    return found


def find_home(group: str, folders: Sequence[str], tests: Mapping[str, TestSet], in_domain: str | None = None) -> Home:
    """Which test set is like the training data of a group.

    The one asked for, else what the model cards say, else, where they say nothing, the first.

    Raises:
        ValueError: The cards of a group name different training data, or no test set is called `in_domain`.
    """
    recorded = list(dict.fromkeys(read_training_data(folder) or "" for folder in folders))
    if len(recorded) > 1:
        different = " against ".join(text or "nothing recorded" for text in recorded)
        raise InputError(f"pipelines of group {group!r} differ in training data: {different}; give them other names")
    if in_domain is not None:
        if in_domain not in tests:
            hint = did_you_mean(in_domain, tests)
            raise InputError(f"in-domain is {in_domain!r} {hint}; test sets: {', '.join(tests)}")
        return Home(recorded[0], in_domain, "--in-domain")
    if not recorded[0]:
        return Home("", next(iter(tests)), "first of --data, the model card records nothing")
    ref = recorded[0].partition(", split ")[0]
    same = [
        name for name, test in tests.items() if ref == test.ref or re.sub(r"\W+", "_", Path(ref).stem) == test.spec.name
    ]
    return Home(recorded[0], same[0] if same else None, "model card")


def _same(one: LabelSpace, other: LabelSpace) -> bool:
    return set(one.names) == set(other.names)
