"""Config files that belong together: those of the stages of one data set lie in one folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from gss.config.root import config_root

_GENERATED = {"scenes": "quickstart"}
"""Data sets whose configs lie in a folder of another name."""


def config_of_stage(words: Iterable[str], stage: str) -> list[str]:
    """Return the config file of another stage beside the one that a command was given; none without one.

    Args:
        words: config files and overrides of the command, such as "camvid/posterior.yaml".
        stage: the other stage, such as "prior".
    """
    for word in words:
        if "=" not in word and word.endswith("posterior.yaml"):
            other = str(PurePosixPath(word).with_name(f"{stage}.yaml"))
            if _exists(other):
                return [other]
    return []


def config_of_data(spec: str, stage: str) -> list[str]:
    """Return the config file that comes with gss for a stage on a data set; none without one."""
    name = f"{_GENERATED.get(spec, spec)}/{stage}.yaml"
    return [name] if (config_root() / name).is_file() else []


def _exists(name: str) -> bool:
    """Return whether the commands find a config file of this name."""
    root = config_root()
    return any(path.is_file() for path in (Path(name), root / name, root / name.removeprefix("configs/")))
