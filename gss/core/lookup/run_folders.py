"""From the path that someone gives to the folder that is meant: the pipeline or posterior of a run."""

from __future__ import annotations

import os
from pathlib import Path

from gss.core.errors import InputError

PIPELINE_INDEX = "model_index.json"
"""File that marks the folder of a pipeline."""

POSTERIOR_INDEX = "posterior.json"
"""File that marks the folder of a posterior."""

JOB_RECORDS = "stages.json"
"""File that marks the folder of a job of several stages."""

CHECKPOINTS = "checkpoints"
"""Folder of a run that holds what it can be resumed from."""

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
        raise InputError(f"no pipeline at {folder}: there is no such folder in {Path.cwd()}{_near(folder)}")
    if folder.is_file() and (folder.parent / PIPELINE_INDEX).is_file():
        return folder.parent
    if folder.is_file():
        raise InputError(f"no pipeline at {folder}: it is a file; give the --out folder of a training")
    places = [folder, folder.parent if _is_component(folder) else folder, folder / "pipeline"]
    places += [folder / name / "pipeline" for name in (stage, *_STAGES) if name]
    for place in places:
        if (place / PIPELINE_INDEX).is_file():
            return place
    raise InputError(f"no pipeline at {folder}: {_reason(folder)}")


def find_posterior(path: str | os.PathLike[str]) -> Path:
    """Return the folder of the posterior that a path means: itself, or that of a run or a job.

    Args:
        path: what the user gave.

    Raises:
        InputError: no posterior there; the message says which folder to give, or what to run.
    """
    folder = Path(path).expanduser()
    for place in (folder, folder / "posterior", folder / "posterior" / "posterior"):
        if (place / POSTERIOR_INDEX).is_file():
            return place
    beside = folder.parent / "posterior"
    run = _run_of_checkpoint(folder)
    if run is not None and (run / "posterior" / POSTERIOR_INDEX).is_file():
        hint = f"it is a checkpoint, from which training resumes; the posterior of its run is {run / 'posterior'}"
    elif (beside / "posterior" / POSTERIOR_INDEX).is_file():
        hint = f"the posterior of this job is {beside}"
    elif _is_unfinished(folder):
        hint = f"its training is not finished: continue it with 'gss train posterior --resume --out {folder}'"
    else:
        hint = "give the --out folder of 'gss train posterior'"
    raise InputError(f"posterior='{folder}' holds no {POSTERIOR_INDEX}: {hint}")


def _is_component(folder: Path) -> bool:
    """Return whether a folder is a part of a pipeline, such as its prior."""
    return (folder.parent / PIPELINE_INDEX).is_file() and (folder / "config.json").is_file()


def _run_of_checkpoint(folder: Path) -> Path | None:
    """Return the folder of the run that a checkpoint, or the folder of all of them, belongs to."""
    for place in (folder, folder.parent):
        if place.name == CHECKPOINTS:
            return place.parent
    return None


def _is_unfinished(folder: Path) -> bool:
    return (folder / "config.yaml").is_file() and (folder / CHECKPOINTS).is_dir()


def _reason(folder: Path) -> str:
    """Say what a folder without a pipeline is, and what to give or run."""
    run = _run_of_checkpoint(folder)
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
        listed = ", ".join(map(str, below[:_SHOWN])) + (", …" if len(below) > _SHOWN else "")
        return f"{PIPELINE_INDEX} is missing; there {'are' if len(below) > 1 else 'is'} {listed}"
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


def _near(folder: Path) -> str:
    """Name a folder that exists and may be meant, for the end of a message."""
    for parent in folder.parents:
        if parent.is_dir() and parent not in (Path(), Path("/")):
            below = _below(parent)
            return f"; {parent} has {', '.join(map(str, below[:_SHOWN]))}" if below else ""
    return ""
