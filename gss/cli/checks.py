"""Checks of arguments that need neither torch nor the weights of a pipeline, so that mistakes show at once."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gss.core.errors import InputError, unknown_name


def check_pipeline(
    folder: str,
    *,
    stage: str = "",
    modes: Sequence[str] = (),
    scores: Sequence[str] = (),
    mode_option: str = "--modes",
    score_option: str = "--scores",
) -> None:
    """Require a pipeline's folder, with these decode modes and scores.

    Args:
        folder: path as the user wrote it.
        stage: see `gss.core.lookup.run_folders.find_pipeline`.
        modes: decode modes.
        scores: out-of-distribution scores.
        mode_option: option that names the decode modes.
        score_option: option that names the scores.

    Raises:
        InputError: there is no pipeline, or it has no such mode or score.
    """
    from gss.core.lookup.run_folders import find_pipeline
    from gss.pipeline.index import PipelineIndex

    index = PipelineIndex.read(find_pipeline(folder, stage=stage))
    if index is not None:
        index.check_modes(modes, mode_option)
        index.check_scores(scores, score_option)


def check_joint(folder: str, what: str) -> None:
    """Require a pipeline with a joint prior, in a folder as the user wrote it; `what` needs one.

    Raises:
        InputError: there is no pipeline, or it has no joint prior.
    """
    from gss.core.lookup.run_folders import find_pipeline
    from gss.pipeline.index import PipelineIndex

    index = PipelineIndex.read(find_pipeline(folder, stage="joint"))
    if index is not None:
        index.need_joint(what)


def check_known_names(modes: Iterable[str] | None, scores: Iterable[str] | None) -> None:
    """Require decode modes and scores that some pipeline has, for a command that takes several.

    Raises:
        InputError: a name is unknown.
    """
    from gss.core.lookup.plugins import is_plugin
    from gss.ood.names import NEEDS, unknown_score
    from gss.pipeline.modes import ALL_MODES, unknown_mode

    for name in modes or ():
        if name not in ALL_MODES and not is_plugin(name, "decode"):
            raise unknown_mode(name, ALL_MODES, where="--modes")
    for name in scores or ():
        if name not in NEEDS and not is_plugin(name, "scores"):
            raise unknown_score(name, where="--scores")


def check_metrics(names: Iterable[str]) -> None:
    """Require the form of metrics of the user's own.

    Raises:
        InputError: a name is neither `module:Name` nor that of an installed package.
    """
    from gss.core.lookup.plugins import is_plugin
    from gss.evaluation.names import unknown_metric

    for name in names:
        if not is_plugin(name, "metrics"):
            raise unknown_metric(name, where="--metrics")


def check_choices(kind: str, names: Iterable[str] | None, known: Sequence[str], option: str, plural: str = "") -> None:
    """Require names out of a fixed list.

    Raises:
        InputError: a name is not in the list.
    """
    for name in names or ():
        if name not in known:
            raise unknown_name(kind, name, known, where=option, plural=plural)


def check_data(ref: str, root: str | None = None, splits: Iterable[str] = ()) -> None:
    """Require a data set and splits of it; a folder that is to be understood by its files is left to the command.

    Args:
        ref: data spec.
        root: folder of the data set.
        splits: names of splits.

    Raises:
        InputError: there is no such data set, its spec is wrong, or it lacks a split.
    """
    from gss.core.lookup.plugins import is_plugin
    from gss.data.specs.folder import folder_hints
    from gss.data.specs.load import builtin_specs, load_spec
    from gss.data.specs.spec import FOLDER_SPEC

    path = Path(ref).expanduser()
    if is_plugin(ref, "data"):
        return
    if path.is_dir() and ref not in builtin_specs():
        written = (path / FOLDER_SPEC).is_file() and folder_hints(path) is None
        if not written and not (path / "classes.json").is_file():
            return
    spec = load_spec(ref, root)
    for split in splits:
        spec.check_split(split)


def check_training(config: Any) -> None:
    """Require the data set and its splits that a training reads, and the posterior or pipeline that it builds on.

    Args:
        config: settings of a stage.

    Raises:
        InputError: one of them is not there.
    """
    from gss.config.shared import DataConfig
    from gss.core.lookup.run_folders import find_pipeline, find_posterior, find_prior
    from gss.data.specs.spec import named_split

    data = config.data
    only_root = data.root and data.spec == DataConfig.spec
    ref, root = (data.root, None) if only_root else (data.spec, data.root)
    for split in filter(None, (data.train_split, data.val_split)):
        other = named_split(split)
        if other is None:
            check_data(ref, root, [split])
        else:
            check_data(other[0], None, [other[1]])
    for name, find in (("posterior", find_posterior), ("pipeline", find_pipeline)):
        if getattr(config, name, ""):
            find(getattr(config, name))
    if getattr(getattr(config, "model", None), "init_from", "") and hasattr(config, "posterior"):
        find_prior(config.model.init_from)


def check_out(args: Namespace) -> None:
    """Require that `--out` is free, or that the command may go on in it; nothing is created.

    Raises:
        InputError: it holds something and neither `--overwrite` nor `--resume` is given, or it is a file.
    """
    from gss.core.outputs import check_free

    if os.environ.get("RANK", "0") == "0":  # the others would see the files of the first
        check_free(args.out, overwrite=args.overwrite, resume=getattr(args, "resume", None))


def check_own(args: Namespace) -> None:
    """Require that the modules are there which arguments name as `module:Name`, before anything heavy is imported.

    Raises:
        InputError: there is no such module.
    """
    from gss.core.lookup.plugins import is_reference, require_module

    for name in (name for names in _own(args).values() for name in names if is_reference(name)):
        require_module(name)


def import_own(args: Namespace) -> None:
    """Import the scores, metrics and decode modes of the user's own that arguments name, before a pipeline is loaded.

    Raises:
        InputError: one cannot be imported, or is something else.
    """
    own = _own(args)
    if own["scores"]:
        from gss.ood.registry import find_score

        for name in own["scores"]:
            find_score(name)
    if own["metrics"]:
        from gss.evaluation.segmentation.counts import find_metrics

        find_metrics(own["metrics"])
    if own["decode"]:
        from gss.pipeline.decode import find_decode

        for name in own["decode"]:
            find_decode(name)


_OWN = {"scores": ("scores", "score"), "metrics": ("metrics",), "decode": ("decode", "modes")}
"""Kind of an object of the user's own to the arguments that name some, one or several each."""


def _own(args: Namespace) -> dict[str, list[str]]:
    """Return the names of objects of the user's own by their kind."""
    own = {}
    for kind, keys in _OWN.items():
        values = [getattr(args, key, None) or [] for key in keys]
        names = [name for value in values for name in ([value] if isinstance(value, str) else value)]
        own[kind] = [name for name in names if ":" in name]
    return own


def check_range(option: str, value: float | None, low: float, high: float, example: str) -> None:
    """Require a number strictly between two others, if it is given.

    Raises:
        InputError: it is not.
    """
    if value is not None and not low < value < high:
        raise InputError(f"{option} is {value:g}; it must lie between {low:g} and {high:g}, such as {example}")
