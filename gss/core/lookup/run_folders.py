"""From the path that someone gives to the folder that is meant: the pipeline or posterior of a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gss.core.errors import InputError, quoted
from gss.core.lookup.near_paths import path_hint
from gss.core.lookup.run_kinds import CHECKPOINTS, kind_of_run, run_of_checkpoint
from gss.core.words import with_article

PIPELINE_INDEX = "model_index.json"
"""File that marks the folder of a pipeline."""

POSTERIOR_INDEX = "posterior.json"
"""File that marks the folder of a posterior."""

JOB_RECORDS = "stages.json"
"""File that marks the folder of a job of several stages."""

# Stages of a job whose pipelines paint masks, the first one that is there is meant: the others extend it or compare.
_STAGES = ("prior", "residual", "density", "joint", "twin", "teacher")
_DEPTH = 3
_SHOWN = 3


def find_pipeline(path: str | os.PathLike[str], *, stage: str = "") -> Path:
    """Return the folder of the pipeline that a path means.

    The path may be the folder itself or a file or component in it; the `--out` of a training, which holds `pipeline`;
    or the `--out` of a job such as the quickstart, whose prior is meant.

    Args:
        path: what the user gave.
        stage: stage of a job to look at first, for a command that needs what only this stage adds.

    Raises:
        InputError: no pipeline there, or a checkpoint, a posterior or a run that is not finished; the message says
            which folder to give, or what to run.
    """
    folder = Path(path).expanduser()
    if not folder.exists():
        raise InputError(f"no pipeline at {folder}: {_not_there(path, _holds_pipeline, _below)}")
    if folder.is_file() and (folder.parent / PIPELINE_INDEX).is_file():
        return folder.parent
    if folder.is_file():
        raise InputError(f"no pipeline at {folder}: it is a file; give the --out folder of a training")
    place = _pipeline_in(folder, stage)
    if place is None:
        raise InputError(f"no pipeline at {folder}: {_reason(folder)}")
    return place


def find_prior(path: str | os.PathLike[str]) -> Path:
    """Return the folder of the prior in a pipeline, in the run of one, or the folder itself.

    Args:
        path: what the user gave to `model.init_from`.

    Raises:
        InputError: there is no prior; the message says which folder to give.
    """
    given = Path(path).expanduser()
    for folder in (given / "prior", given / "pipeline" / "prior", given):
        if (folder / "config.json").is_file():
            return folder
    if not given.exists():
        raise InputError(f"model.init_from={path}: {_not_there(path, _holds_pipeline, _below)}")
    try:
        return find_pipeline(path) / "prior"
    except InputError as error:
        raise InputError(
            f"model.init_from={path} holds no prior ({error}): give the --out folder of 'gss train prior', its "
            "pipeline, or a prior"
        ) from error


def find_posterior(path: str | os.PathLike[str]) -> Path:
    """Return the folder of the posterior that a path means: itself, or that of a run or a job.

    Args:
        path: what the user gave.

    Raises:
        InputError: no posterior there; the message says which folder to give, or what to run.
    """
    folder = Path(path).expanduser()
    if not folder.exists():
        raise InputError(f"posterior={quoted(str(path))}: {_not_there(path, _holds_posterior, _posteriors_in)}")
    found = _posterior_in(folder)
    if found is not None:
        return found
    run, kind = run_of_checkpoint(folder), kind_of_run(folder)
    beside = _posterior_beside(folder)
    if run is not None and _posterior_in(run) is not None:
        hint = f"it is a checkpoint, from which training resumes; the posterior of its run is {run / 'posterior'}"
    elif kind not in ("", "posterior") or _holds_pipeline(folder):
        what = f"the run of {with_article(kind)}" if kind else "a pipeline, which later stages write"
        give = "give the --out folder of 'gss train posterior'"
        hint = f"it is {what}; {give}" + (f", such as {beside}" if beside else "")
    elif _is_unfinished(folder):
        hint = f"its training is not finished: continue it with 'gss train posterior --resume --out {folder}'"
    elif beside is not None:
        hint = f"the posterior of this job is {beside}"
    else:
        hint = "give the --out folder of 'gss train posterior'"
    raise InputError(f"posterior={quoted(str(path))} holds no {POSTERIOR_INDEX}: {hint}")


def _pipeline_in(folder: Path, stage: str = "") -> Path | None:
    """Return the folder of the pipeline in a run or job, or the folder itself; None without one."""
    places = [folder, folder.parent if _is_component(folder) else folder, folder / "pipeline"]
    places += [folder / name / "pipeline" for name in (stage, *_STAGES) if name]
    return next((place for place in places if (place / PIPELINE_INDEX).is_file()), None)


def _holds_pipeline(folder: Path) -> bool:
    return folder.is_dir() and _pipeline_in(folder) is not None


def _posterior_in(folder: Path) -> Path | None:
    """Return the folder of the posterior in a run or job, or the folder itself; None without one."""
    places = (folder, folder / "posterior", folder / "posterior" / "posterior")
    return next((place for place in places if (place / POSTERIOR_INDEX).is_file()), None)


def _holds_posterior(folder: Path) -> bool:
    return folder.is_dir() and _posterior_in(folder) is not None


def _posteriors_in(folder: Path) -> list[Path]:
    """Return the folders directly in one that a posterior is found in."""
    return sorted(place for place in folder.iterdir() if not place.name.startswith(".") and _holds_posterior(place))


def _posterior_beside(folder: Path) -> Path | None:
    """Return the run of a posterior beside a run: the one called posterior, or the only one."""
    if _holds_posterior(folder.parent / "posterior"):
        return folder.parent / "posterior"
    others = [place for place in _posteriors_in(folder.parent) if kind_of_run(place) in ("", "posterior")]
    return others[0] if len(others) == 1 else None


def _is_component(folder: Path) -> bool:
    """Return whether a folder is a part of a pipeline, such as its prior."""
    return (folder.parent / PIPELINE_INDEX).is_file() and (folder / "config.json").is_file()


def _is_unfinished(folder: Path) -> bool:
    return (folder / "config.yaml").is_file() and (folder / CHECKPOINTS).is_dir()


def _reason(folder: Path) -> str:
    """Say what a folder without a pipeline is, and what to give or run."""
    run = run_of_checkpoint(folder)
    if run is not None:
        if (run / "pipeline" / PIPELINE_INDEX).is_file():
            return f"it is a checkpoint, from which training resumes; the pipeline of its run is {run / 'pipeline'}"
        return f"it is a checkpoint; finish its training with --resume --out {run}, which writes {run / 'pipeline'}"
    for place in (folder, folder / "posterior"):
        if (place / POSTERIOR_INDEX).is_file():
            job = _job_of(folder)
            if job is not None:
                return f"it holds a posterior, the first stage; the pipeline of its job is in {job}: give that folder"
            return (
                f"it holds a posterior, the first stage; train the second with 'gss train prior posterior={folder} "
                "data.spec=DATA --out FOLDER' and give that folder"
            )
    if _is_unfinished(folder):
        return f"its training is not finished: continue it with --resume --out {folder}"
    if (folder / JOB_RECORDS).is_file():
        return "the job in it has not finished its stage prior: wait, or call it again, and it goes on where it stopped"
    below = _below(folder)
    if below:
        return f"{PIPELINE_INDEX} is missing; there {'are' if len(below) > 1 else 'is'} {_listed(below)}"
    return f"{PIPELINE_INDEX} is missing; give the --out folder of a training"


def _job_of(folder: Path) -> Path | None:
    """Return the folder of the job that a run is a stage of, if the job has a pipeline."""
    for job in (folder.parent, folder.parent.parent):
        found = any((job / name / "pipeline" / PIPELINE_INDEX).is_file() for name in _STAGES)
        if found and (job / JOB_RECORDS).is_file():
            return job
    return None


def _below(folder: Path) -> list[Path]:
    """Return the folders of pipelines below a folder, of a few levels."""
    patterns = ["/".join("*" * depth) for depth in range(1, _DEPTH + 1)]
    return sorted({index.parent for pattern in patterns for index in folder.glob(f"{pattern}/{PIPELINE_INDEX}")})


def _not_there(path: str | os.PathLike[str], fits: Callable[[Path], bool], below: Callable[[Path], list[Path]]) -> str:
    """Say that a folder does not exist, which one is spelt alike, and which ones there are beside it."""
    folder = Path(path).expanduser()
    hint = path_hint(path, fits)
    text = f"there is no such folder{'' if folder.is_absolute() else f' in {Path.cwd()}'}{hint}"
    for parent in folder.parents:
        if parent.is_dir() and parent not in (Path(), Path("/")):
            found = below(parent)
            return text + (f"{'' if hint.endswith('?') else ';'} {parent} has {_listed(found)}" if found else "")
    return text


def _listed(folders: list[Path]) -> str:
    more = f" and {len(folders) - _SHOWN} more" if len(folders) > _SHOWN else ""
    return ", ".join(map(str, folders[:_SHOWN])) + more
