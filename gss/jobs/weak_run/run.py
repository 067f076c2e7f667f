"""`gss weak run`: from weak labels to a measured pipeline, in stages that a second call does not repeat.

labels     what is labelled, and whether it can be learned from
teacher    a classifier of pixels (`gss train weak-agmm`) or of tags
pseudo     masks with confidence (`gss weak produce`)
posterior  stage 1 on them
prior      stage 2 on them, from the weights of a classifier of pixels
evaluate   results.json and report.html
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from gss.config.prior import PriorModelConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.data.datasets import SegmentationDataset
from gss.data.export import require_files
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.data.weak.errors import LabelSettingError
from gss.jobs.stages import check_names, prepare_job, run_stages
from gss.jobs.weak_run.inputs import (
    RunInputs,
    absolute,
    choose_measured,
    fitting_size,
    images_spec,
    is_tagged,
    open_truth,
    read_classes,
)
from gss.jobs.weak_run.job import WeakRun
from gss.jobs.weak_run.settings import STAGES, TEACHERS, Arguments, divide, load_run_config


def run_weak(
    inputs: RunInputs,
    out: Path,
    *,
    settings: Sequence[str] = (),
    stages: Sequence[str] = (),
    redo: str = "",
    overwrite: bool = False,
) -> None:
    """Run the job; stages that are finished in `out` are not repeated.

    Args:
        inputs: labelled images.
        out: folder of the job.
        settings: `STAGE.KEY=VALUE` and `SECTION.KEY=VALUE`, see `divide`.
        stages: names of the stages that may run; all when empty.
        redo: name of the first stage to run again although it is finished.
        overwrite: run all stages again.

    Raises:
        InputError: inputs that do not fit together or cannot be learned from, and changed settings.
    """
    arguments = divide(settings)
    if inputs.data and arguments.labels:
        raise InputError("labels.KEY=VALUE does not go with a data set, whose own spec says how labels are read")
    check_names([*stages, *([redo] if redo else [])], STAGES, "--stages and --redo")
    if redo and stages and redo not in stages:
        raise InputError(f"--redo {redo} is not among --stages {','.join(stages)}")
    with explained(inputs):
        job = build(inputs, out, arguments)
        steps = job.stages()
        prepare_job(job.out, overwrite=overwrite)
        run_stages(steps, job.out, chosen=stages, redo=STAGES if overwrite else [redo] if redo else [])
    if distributed.is_main() and (job.out / "report.html").exists():
        print(f"report: {job.out / 'report.html'}")


@contextmanager
def explained(inputs: RunInputs) -> Iterator[None]:
    """Add to errors in labels given by `--labels` how settings under `weak` are written here."""
    try:
        yield
    except InputError as error:
        causes: list[BaseException] = [error]
        while causes[-1].__cause__ is not None:
            causes.append(causes[-1].__cause__)
        if inputs.images and any(isinstance(cause, LabelSettingError) for cause in causes):
            raise InputError(f"{error} (given here as labels.KEY=VALUE)") from error
        raise


def build(inputs: RunInputs, out: Path, arguments: Arguments) -> WeakRun:
    """Open everything and complete the configurations; writes nothing."""
    weak, root = None, inputs.root
    if inputs.data:
        ref, split = absolute(inputs.data), inputs.split or "train"
        spec = load_spec(ref, root)
        require_files(spec)
        spec.check_split(split)
        dataset = cast(SegmentationDataset, open_split(spec, split))
        tagged = is_tagged(dataset)
    else:
        assert inputs.images and inputs.labels and inputs.classes  # RunInputs requires all three
        ref, split = str(out / "labels"), "all"
        space = read_classes(inputs.classes)
        spec, weak = images_spec(inputs.images, inputs.labels, space, inputs.form, arguments.labels)
        dataset = cast(SegmentationDataset, open_split(spec, split))
        tagged = is_tagged(dataset)
        if inputs.val is None and not tagged:
            split = "train"  # the last fifth is measured on
            if len(dataset) < 2:
                raise InputError(
                    f"--images {inputs.images} holds one image, which cannot be measured on too: give --val"
                )
    kind = "tags" if tagged else "pixels"
    measured = choose_measured(inputs.val, spec, split)
    open_truth(inputs.truth, spec, dataset)  # a mistake shows at once
    size, resize = (inputs.size, True) if inputs.size else fitting_size(dataset)
    cfg = load_run_config(arguments, TEACHERS[kind], size, resize=resize)
    for config in (cfg.teacher, cfg.posterior, cfg.prior):
        config.data.train_split = split
    cfg.teacher.data.spec, cfg.teacher.data.root = ref, root
    cfg.teacher.data.val_split = measured.teacher_split if measured else ""
    for config in (cfg.posterior, cfg.prior):
        config.data.spec, config.data.root = str(out / "pseudo"), None
        # Without full masks stage 1 and 2 report how well they follow the pseudo-masks.
        config.data.val_split = measured.split if measured and measured.split else split
    cfg.prior.posterior = str(out / "posterior")
    if tagged:  # one word for all stages
        cfg.teacher.tags.allow_missing |= cfg.prior.weak.allow_missing
        cfg.posterior.weak.allow_missing |= cfg.teacher.tags.allow_missing
        cfg.prior.weak.allow_missing |= cfg.teacher.tags.allow_missing
    else:
        start_from_teacher(cfg.prior.model, cfg.teacher.model, out / "teacher" / TEACHERS[kind].product)
    return WeakRun(out, spec, ref, root, weak, split, measured, inputs.truth, tagged, TEACHERS[kind], cfg)


def start_from_teacher(prior: PriorModelConfig, teacher: PriorModelConfig, product: Path) -> None:
    """Let the prior go on with what the teacher has learned, if both are the same network and nothing else is asked."""
    own = {"init_from", "init_parts", "freeze", "classifier", "classifier_rank"}
    names = {item.name for item in dataclasses.fields(prior)} - own
    if prior.init_from or any(getattr(prior, name) != getattr(teacher, name) for name in names):
        return
    parts = [part for part in prior.init_parts if part != "token"]  # the teacher has no tokens
    if parts:
        prior.init_from, prior.init_parts = str(product), parts
