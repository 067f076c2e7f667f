"""`gss weak run`: from weak labels to a measured pipeline, in stages that a second call does not repeat.

labels     what is labelled, and whether it can be learned from
teacher    a classifier of pixels (`gss train weak-agmm`) or of tags
pseudo     masks with confidence (`gss weak produce`)
posterior  stage 1 on them
prior      stage 2 on them, from the weights of a classifier of pixels
evaluate   results.json and report.html
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import cast

from gss.config.prior import PriorModelConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.files import write_json
from gss.core.outputs import prepare_output
from gss.data.datasets import SegmentationDataset
from gss.data.export import require_files
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.jobs.stages import RECORDS, check_names, run_stages
from gss.jobs.weak_run.inputs import (
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


def main(args: argparse.Namespace) -> None:
    """Handle `gss weak run`.

    Args:
        args: `settings` (data spec and overrides), `images`, `labels`, `form`, `classes`, `root`, `split`, `val`,
            `truth`, `size`, `stages`, `redo`, `overwrite`, `out`.

    Raises:
        ValueError: inputs that do not fit together or cannot be learned from, and changed settings.
    """
    try:
        run(args)
    except ValueError as error:
        if args.images and "under weak" in str(error):
            raise InputError(f"{error} (given here as labels.KEY=VALUE)") from error
        raise


def run(args: argparse.Namespace) -> None:
    """`main` without the remark on settings of the labels."""
    from gss.config.io import split_overrides

    refs, overrides = split_overrides(args.settings)
    arguments = divide(overrides)
    _check_inputs(args, refs, arguments)
    check_names([*args.stages, *([args.redo] if args.redo else [])], STAGES, "--stages and --redo")
    job = build(args, refs, arguments)
    stages = job.stages()
    distributed.run_on_main(lambda: _prepare(job.out, overwrite=args.overwrite))
    run_stages(stages, job.out, chosen=args.stages, redo=STAGES[0] if args.overwrite else args.redo or "")
    if distributed.is_main() and (job.out / "report.html").exists():
        print(f"report: {job.out / 'report.html'}")


def build(args: argparse.Namespace, refs: list[str], arguments: Arguments) -> WeakRun:
    """Open everything and complete the configurations; writes nothing."""
    out, weak, root = Path(args.out), None, args.root
    if refs:
        ref, split = absolute(refs[0]), args.split or "train"
        spec = load_spec(ref, root)
        require_files(spec)
        spec.check_split(split)
        dataset = cast(SegmentationDataset, open_split(spec, split))
        tagged = is_tagged(dataset)
    else:
        ref, split = str(out / "labels"), "all"
        spec, weak = images_spec(args.images, args.labels, read_classes(args.classes), args.form, arguments.labels)
        dataset = cast(SegmentationDataset, open_split(spec, split))
        tagged = is_tagged(dataset)
        if args.val is None and not tagged:
            split = "train"  # the last fifth is measured on
            if len(dataset) < 2:
                raise InputError(f"--images {args.images} holds one image, which cannot be measured on too: give --val")
    kind = "tags" if tagged else "pixels"
    measured = choose_measured(args.val, spec, split)
    open_truth(args.truth, spec, dataset)  # a mistake shows at once
    size, resize = (args.size, True) if args.size else fitting_size(dataset)
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
        _start_from_teacher(cfg.prior.model, cfg.teacher.model, out / "teacher" / TEACHERS[kind].product)
    return WeakRun(out, spec, ref, root, weak, split, measured, args.truth, tagged, TEACHERS[kind], cfg)


def _start_from_teacher(prior: PriorModelConfig, teacher: PriorModelConfig, product: Path) -> None:
    """Let the prior go on with what the teacher has learned, if both are the same network and nothing else is asked."""
    own = {"init_from", "init_parts", "freeze", "classifier", "classifier_rank"}
    names = {item.name for item in dataclasses.fields(prior)} - own
    if prior.init_from or any(getattr(prior, name) != getattr(teacher, name) for name in names):
        return
    parts = [part for part in prior.init_parts if part != "token"]  # the teacher has no tokens
    if parts:
        prior.init_from, prior.init_parts = str(product), parts


def _check_inputs(args: argparse.Namespace, refs: list[str], arguments: Arguments) -> None:
    folders = {"--images": args.images, "--labels": args.labels, "--classes": args.classes}
    given = [name for name, value in folders.items() if value]
    if bool(refs) == bool(given) or len(refs) > 1:
        raise InputError("give one data set with weak labels, or --images, --labels and --classes in place of it")
    if given and len(given) < len(folders):
        absent = " and ".join(name for name in folders if name not in given)
        raise InputError(f"with {' and '.join(given)} give {absent} too")
    spare = {"--root": args.root, "--split": args.split} if given else {}
    if refs:
        spare = {"--form": args.form != "auto", "labels.KEY=VALUE": arguments.labels}
    for name, value in spare.items():
        if value:
            other = "--images and --labels" if given else "a data set, whose own spec says how labels are read"
            raise InputError(f"{name} does not go with {other}")
    if args.redo and args.stages and args.redo not in args.stages:
        raise InputError(f"--redo {args.redo} is not among --stages {','.join(args.stages)}")


def _prepare(out: Path, *, overwrite: bool) -> None:
    prepare_output(out, overwrite=overwrite, resume=(out / RECORDS).exists() or None)
    if not (out / RECORDS).exists():
        write_json(out / RECORDS, {})
