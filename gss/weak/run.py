"""`gss weak run`: from weak labels to a measured pipeline, in stages that a second call does not repeat.

labels     what is labelled, and whether it can be learned from
teacher    a classifier of pixels (`gss train weak-agmm`) or of tags
pseudo     masks with confidence (`gss weak produce`)
posterior  stage 1 on them
prior      stage 2 on them
evaluate   results.json and report.html
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from gss import distributed
from gss.data.datasets import SegmentationDataset, open_split
from gss.data.specs import DataSpec, load_spec
from gss.files import prepare_output, write_json
from gss.stages import RECORDS, Stage, check_names, flat_settings, run_stages
from gss.training.checkpoint import FREE_KEYS, list_checkpoints
from gss.training.run import train
from gss.training.weak_tags import check_tags
from gss.weak import produce
from gss.weak.folder import require_files, write_spec
from gss.weak.report import measure
from gss.weak.report_page import format_report
from gss.weak.run_inputs import (
    Measured,
    absolute,
    choose_measured,
    fitting_size,
    images_spec,
    is_tagged,
    open_truth,
    read_classes,
)
from gss.weak.run_report import write_results
from gss.weak.run_settings import STAGES, TEACHERS, Arguments, RunConfig, Teacher, divide, load_run_config
from gss.weak.trust import check_seeds

__all__ = ["WeakRun", "main"]


@dataclasses.dataclass(frozen=True)
class WeakRun:
    """What the stages share.

    Args:
        out: folder of the job.
        spec: weakly labelled data set.
        ref: what the stages open it by, and `root` its folder if that is not its own.
        root: see `ref`.
        weak: value of the key `weak` of a data set that the job writes; None for one that is there.
        split: trained on.
        measured: images for validation, if there are any.
        truth: data set with full masks of the training images, if it is another one.
        tagged: the labels are tags alone.
        teacher: kind of teacher.
        cfg: configurations.
    """

    out: Path
    spec: DataSpec
    ref: str
    root: str | None
    weak: dict[str, Any] | None
    split: str
    measured: Measured | None
    truth: str | None
    tagged: bool
    teacher: Teacher
    cfg: RunConfig

    def stages(self) -> list[Stage]:
        """The stages with their settings."""
        folder, free = self.out, FREE_KEYS - {"train.steps"}
        # Paths inside the folder are not settings: it may be moved.
        trained = {
            name: {
                key: value.replace(str(folder), ".", 1) if isinstance(value, str) else value
                for key, value in flat_settings(getattr(self.cfg, name), without=free).items()
            }
            for name in ("teacher", "posterior", "prior")
        }
        labels = {"data": str(self.spec.folder()), "split": self.split, "weak": self.weak, "files": self._fingerprint()}
        measured = {"val": self.measured and self.measured.name, "truth": self.truth}
        written = [] if self.weak is None else [folder / "labels" / "data.yaml"]
        return [
            Stage("labels", {**labels, "classes": list(self.spec.label_space.names)}, written, self._labels),
            Stage("teacher", trained["teacher"], [folder / "teacher" / self.teacher.product], self._teacher),
            Stage("pseudo", flat_settings(self.cfg.pseudo), [folder / "pseudo" / "manifest.json"], self._pseudo),
            Stage("posterior", trained["posterior"], [folder / "posterior" / "posterior"], self._posterior),
            Stage("prior", trained["prior"], [folder / "prior" / "pipeline"], self._prior),
            Stage("evaluate", measured, [folder / "results.json", folder / "report.html"], self._evaluate),
        ]

    def weak_images(self) -> SegmentationDataset:
        """The training images with their weak labels."""
        return cast(SegmentationDataset, open_split(self.spec, self.split))

    def pseudo_images(self) -> SegmentationDataset:
        """The training images with their pseudo-masks."""
        return cast(SegmentationDataset, open_split(load_spec(self.out / "pseudo"), self.split))

    def _fingerprint(self) -> str:
        """Eight digits that change with the label files."""
        dataset = self.weak_images()
        paths = {sample.mask for sample in dataset.samples}
        facts = [f"{len(dataset)}"]
        facts += [
            f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in sorted(paths) if path.is_file()
        ]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]

    def _labels(self, fresh: bool) -> Mapping[str, Any]:
        if self.weak is not None and distributed.is_main():
            write_spec(self.out / "labels", self.spec, name=self.spec.name, weak={"splits": None, **self.weak})
        distributed.barrier()
        dataset = self.weak_images()
        result, _ = measure(
            dataset, open_truth(self.truth, self.spec, dataset), pictures=0, progress=distributed.is_main()
        )
        names = dataset.label_space.names
        coding = getattr(dataset.weak.reader, "coding", None) if dataset.weak else None
        result["coding"] = f"unlabelled pixels are {coding} or 255" if coding else None
        allow = self.cfg.prior.weak.allow_missing
        if self.tagged:
            result["tagged"] = _tag_counts(dataset)
            check_tags(dataset, allow=allow)
        else:
            check_seeds(dataset, allow=allow, partial=True)
        if distributed.is_main():
            print(format_report(result, names) if not self.tagged else _format_tags(result, names))
        return result

    def _teacher(self, fresh: bool) -> Mapping[str, Any]:
        return _train(self.teacher.stage, self.cfg.teacher, self.out / "teacher", fresh)

    def _pseudo(self, fresh: bool) -> Mapping[str, Any]:
        settings = [f"{key}={json.dumps(value)}" for key, value in flat_settings(self.cfg.pseudo).items()]
        produce.main(
            argparse.Namespace(
                pipeline=str(self.out / "teacher" / self.teacher.product),
                settings=settings,
                data=self.ref,
                root=self.root,
                split=self.split,
                out=str(self.out / "pseudo"),
                overwrite=True,
            )
        )
        distributed.barrier()
        truth = open_truth(self.truth, self.spec, self.weak_images())
        result, _ = measure(self.pseudo_images(), truth, pictures=0)
        if truth is not None and distributed.is_main():
            print(format_report(result, self.spec.label_space.names))
        return result

    def _posterior(self, fresh: bool) -> Mapping[str, Any]:
        return _train("posterior", self.cfg.posterior, self.out / "posterior", fresh)

    def _prior(self, fresh: bool) -> Mapping[str, Any]:
        return _train("prior", self.cfg.prior, self.out / "prior", fresh)

    def _evaluate(self, fresh: bool) -> Mapping[str, Any]:
        return write_results(
            self.out,
            weak=self.weak_images(),
            pseudo=self.pseudo_images(),
            truth=open_truth(self.truth, self.spec, self.weak_images()),
            measured=self.measured,
        )


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
            raise ValueError(f"{error} (given here as labels.KEY=VALUE)") from error
        raise


def run(args: argparse.Namespace) -> None:
    """`main` without the remark on settings of the labels."""
    from gss.cli import split_overrides

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
    kind = "tags" if tagged else "pixels"
    measured = choose_measured(args.val, spec, split)
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
    return WeakRun(out, spec, ref, root, weak, split, measured, args.truth, tagged, TEACHERS[kind], cfg)


def _check_inputs(args: argparse.Namespace, refs: list[str], arguments: Arguments) -> None:
    folders = {"--images": args.images, "--labels": args.labels, "--classes": args.classes}
    given = [name for name, value in folders.items() if value]
    if bool(refs) == bool(given) or len(refs) > 1:
        raise ValueError("give one data set with weak labels, or --images, --labels and --classes in place of it")
    if given and len(given) < len(folders):
        absent = " and ".join(name for name in folders if name not in given)
        raise ValueError(f"with {' and '.join(given)} give {absent} too")
    spare = {"--root": args.root, "--split": args.split} if given else {}
    if refs:
        spare = {"--form": args.form != "auto", "labels.KEY=VALUE": arguments.labels}
    for name, value in spare.items():
        if value:
            other = "--images and --labels" if given else "a data set, whose own spec says how labels are read"
            raise ValueError(f"{name} does not go with {other}")
    if args.redo and args.stages and args.redo not in args.stages:
        raise ValueError(f"--redo {args.redo} is not among --stages {','.join(args.stages)}")


def _prepare(out: Path, *, overwrite: bool) -> None:
    prepare_output(out, overwrite=overwrite, resume=(out / RECORDS).exists())
    if not (out / RECORDS).exists():
        write_json(out / RECORDS, {})


def _train(stage: str, cfg: Any, folder: Path, fresh: bool) -> dict[str, Any]:
    goes_on = not fresh and bool(list_checkpoints(folder / "checkpoints"))
    distributed.run_on_main(lambda: prepare_output(folder, overwrite=True))
    return train(stage, cfg, folder, resume=goes_on)


def _tag_counts(dataset: SegmentationDataset) -> list[int]:
    """Images that every class is tagged in."""
    counts = np.zeros(dataset.label_space.num_classes, np.int64)
    for index in distributed.shard(len(dataset)):
        weak = dataset.read_weak(index)[0]
        counts += 0 if weak is None else weak.present()
    return list(np.sum(distributed.gather_objects(counts), axis=0).tolist())


def _format_tags(result: Mapping[str, Any], names: tuple[str, ...]) -> str:
    width = max(map(len, names))
    rows = [f"{name:<{width}}  {count:>6}" for name, count in zip(names, result["tagged"], strict=True)]
    return "\n".join([f"{result['images']} images with tags; of each class:", *rows])
