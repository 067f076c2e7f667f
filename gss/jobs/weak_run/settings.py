"""Settings of `gss weak run`: which stage an argument is for, and the configuration of each stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from gss.config.agmm import ProduceConfig
from gss.config.io import load_config
from gss.config.posterior import PosteriorConfig
from gss.config.prior import PriorConfig
from gss.config.shared import DataConfig
from gss.config.tags import TagProduceConfig
from gss.core.errors import InputError, did_you_mean, quoted
from gss.training.stages import STAGES as TRAINING_STAGES

STAGES = ("labels", "teacher", "pseudo", "posterior", "prior", "evaluate")
_TRAINED = ("teacher", "posterior", "prior")
# What the job itself decides.
_OWN = ("data.spec", "data.root", "data.train_split", "data.val_split", "posterior")


@dataclass(frozen=True)
class Teacher:
    """What makes pseudo-masks of a kind of labels.

    Args:
        stage: key of `gss.training.stages.STAGES`.
        defaults: config file that comes with gss.
        produce: settings of `gss weak produce`.
    """

    stage: str
    defaults: str
    produce: type

    @property
    def config(self) -> type:
        """Class of its settings."""
        return TRAINING_STAGES[self.stage].config_class()

    @property
    def product(self) -> str:
        """Folder below that of the run, which `gss weak produce` takes."""
        return TRAINING_STAGES[self.stage].product


TEACHERS = {
    "pixels": Teacher("weak-agmm", "weak/agmm.yaml", ProduceConfig),
    "tags": Teacher("weak-tags", "weak/tags.yaml", TagProduceConfig),
}
"""By what the weak labels hold: labelled pixels, or tags alone."""


@dataclass
class Arguments:
    """`CONFIG | KEY=VALUE` of the command by stage.

    Attributes:
        labels: settings of the reader, the keys of `weak` in a data spec.
        shared: overrides for every trained stage that has their section.
        files: stage to its config files.
        overrides: stage to its own overrides.
    """

    labels: dict[str, Any] = field(default_factory=dict)
    shared: list[str] = field(default_factory=list)
    files: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in STAGES})
    overrides: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in STAGES})


@dataclass(frozen=True)
class RunConfig:
    """Configurations of the stages; `teacher` and `pseudo` are of the types that `Teacher` names."""

    teacher: Any
    pseudo: Any
    posterior: PosteriorConfig
    prior: PriorConfig


@dataclass
class _Labels:
    labels: dict[str, Any] = field(default_factory=dict)


def divide(settings: Sequence[str]) -> Arguments:
    """Sort `STAGE.KEY=VALUE`, `STAGE=CONFIG.yaml` and `SECTION.KEY=VALUE` (of every trained stage that has it).

    Raises:
        ValueError: an unknown stage or section, or a setting that the job decides.
    """
    found, kinds = Arguments(), [PosteriorConfig, PriorConfig, *(teacher.config for teacher in TEACHERS.values())]
    sections = sorted(set().union(*map(_sections, kinds)))
    for text in settings:
        key, _, value = text.partition("=")
        head, dot, rest = key.partition(".")
        if head in _TRAINED and not dot:
            found.files[head].append(value)
        elif head in ("labels", "pseudo", *_TRAINED) and dot:
            found.overrides[head].append(f"{rest}={value}")
        elif head in sections and dot:
            found.shared.append(text)
        else:
            hint = did_you_mean(head, [*STAGES[:-1], *sections])
            raise InputError(
                f"override {quoted(text)}: {quoted(head)} is no stage and no section of "
                f"one{', ' + hint if hint else ''}; write STAGE.KEY=VALUE with a stage of labels, teacher, pseudo, "
                "posterior, prior, or SECTION.KEY=VALUE for "
                "all of them"
            )
        setting = rest if head in _TRAINED else key
        if setting in _OWN and (head in _TRAINED or head in sections) and dot:
            raise InputError(f"override {quoted(text)}: gss weak run sets {setting} itself; see gss weak run --help")
    labels = [f"labels.{text}" for text in found.overrides["labels"]]
    found.labels = load_config(_Labels, [], labels).labels
    return found


def _sections(cls: type) -> set[str]:
    """Sections of a configuration."""
    return {item.name for item in dataclasses.fields(cls) if dataclasses.is_dataclass(get_type_hints(cls)[item.name])}


def load_run_config(arguments: Arguments, teacher: Teacher, size: tuple[int, int], *, resize: bool) -> RunConfig:
    """Merge the settings of all stages: defaults, config files, sizes that these leave open, and overrides.

    Args:
        arguments: of the command.
        teacher: the kind of labels asks for; one of tags keeps its own size.
        size: (H, W) that fits the images; crops are as large, in multiples of 32.
        resize: images are resized to it.

    Raises:
        ValueError: unknown key or bad value; names the nearest.
    """
    defaults = {"teacher": teacher.defaults, "posterior": "weak/posterior.yaml", "prior": "weak/prior.yaml"}
    classes = {"teacher": teacher.config, "posterior": PosteriorConfig, "prior": PriorConfig}
    for text in arguments.shared:
        if not any(text.partition(".")[0] in _sections(cls) for cls in classes.values()):
            raise InputError(f"override {quoted(text)}: no stage has this section when the teacher is {teacher.stage}")
    found: dict[str, Any] = {}
    for name, cls in classes.items():
        shared = [text for text in arguments.shared if text.partition(".")[0] in _sections(cls)]
        files, overrides = arguments.files[name], [*shared, *arguments.overrides[name]]
        asked: DataConfig = _load(name, cls, files, overrides).data
        sizes: list[str] = []
        if cls().data.crop == DataConfig().crop:
            if asked.size is None and resize:
                sizes.append(f"data.size=[{size[0]},{size[1]}]")
            if asked.crop == DataConfig().crop:
                height, width = (max(32, round(side / 32) * 32) for side in asked.size or size)
                sizes.append(f"data.crop=[{height},{width}]")
        found[name] = _load(name, cls, [defaults[name], *files], [*sizes, *overrides])
    return RunConfig(pseudo=_load("pseudo", teacher.produce, [], arguments.overrides["pseudo"]), **found)


def _load(stage: str, cls: type, files: list[str], overrides: list[str]) -> Any:
    try:
        return load_config(cls, files, overrides)
    except InputError as error:
        raise InputError(f"stage {stage}: {error}") from error
