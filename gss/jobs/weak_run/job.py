"""The stages of `gss weak run`: each is the function behind a command, with the settings that decide its result."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from gss.core import distributed
from gss.data.datasets import SegmentationDataset
from gss.data.export import write_spec
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.data.specs.spec import FOLDER_SPEC, DataSpec
from gss.jobs.stages import Stage, flat_settings, read_records, training_stage
from gss.jobs.weak_run.inputs import Measured, open_truth
from gss.jobs.weak_run.report import write_results
from gss.jobs.weak_run.settings import RunConfig, Teacher
from gss.report.tables import Cell, Table
from gss.training.weak.tags import check_tags
from gss.weak.manifest import MANIFEST
from gss.weak.produce import produce_masks
from gss.weak.quality import measure
from gss.weak.quality_page import format_report
from gss.weak.seeds import check_seeds


@dataclass(frozen=True)
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
        """Return the stages with their settings."""
        out = self.out
        labels = {"data": str(self.spec.folder()), "split": self.split, "weak": self.weak, "files": self._fingerprint()}
        measured = {"val": self.measured and (self.measured.split or self.measured.name), "truth": self.truth}
        written = [] if self.weak is None else [out / "labels" / FOLDER_SPEC]
        return [
            Stage("labels", {**labels, "classes": list(self.spec.label_space.names)}, written, self._labels),
            training_stage("teacher", self.teacher.stage, self.cfg.teacher, out),
            Stage("pseudo", flat_settings(self.cfg.pseudo), [out / "pseudo" / MANIFEST], self._pseudo),
            training_stage("posterior", "posterior", self.cfg.posterior, out),
            training_stage("prior", "prior", self.cfg.prior, out),
            Stage("evaluate", measured, [out / "results.json", out / "report.html"], self._evaluate),
        ]

    def weak_images(self) -> SegmentationDataset:
        """Open the training images with their weak labels."""
        return cast(SegmentationDataset, open_split(self.spec, self.split))

    def pseudo_images(self) -> SegmentationDataset:
        """Open the training images with their pseudo-masks."""
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
        truth = open_truth(self.truth, self.spec, dataset)
        result = measure(dataset, truth, pictures=0, strict=True, progress=distributed.is_main()).result
        names = dataset.label_space.names
        coding = getattr(dataset.weak.reader, "coding", None) if dataset.weak else None
        result["coding"] = f"unlabelled pixels are {coding} or 255" if coding else None
        allow = self.cfg.prior.weak.allow_missing
        if self.tagged:
            result["tagged"] = _tag_counts(dataset)
            check_tags(dataset, allow=allow)
        else:
            check_seeds(
                dataset,
                allow=allow,
                partial=True,
                source="" if self.weak is None else f"--labels {self.weak['folder']}",
            )
        if distributed.is_main():
            print(format_report(result, names) if not self.tagged else _format_tags(result, names))
        return result

    def _pseudo(self, fresh: bool) -> Mapping[str, Any]:
        teacher = self.out / "teacher" / self.teacher.product
        spec = load_spec(self.ref, self.root)
        manifest = produce_masks(teacher, spec, self.split, self.out / "pseudo", self.cfg.pseudo, overwrite=True)
        if distributed.is_main():
            print(manifest.summary(self.out / "pseudo"))
        distributed.barrier()
        truth = open_truth(self.truth, self.spec, self.weak_images())
        result = measure(self.pseudo_images(), truth, pictures=0, strict=True).result
        by_hand = read_records(self.out)["labels"].result["coverage"]
        if not result["coverage"] > 1.05 * by_hand and distributed.is_main():
            warnings.warn(
                "the pseudo-masks hold hardly more than the labels: train the teacher longer (teacher.train.steps), or "
                "keep pixels that it is less sure of (pseudo.threshold)",
                stacklevel=2,
            )
        if truth is not None and distributed.is_main():
            print(format_report(result, self.spec.label_space.names))
        return result

    def _evaluate(self, fresh: bool) -> Mapping[str, Any]:
        return write_results(
            self.out,
            weak=self.weak_images(),
            pseudo=self.pseudo_images(),
            truth=open_truth(self.truth, self.spec, self.weak_images()),
            measured=self.measured,
        )


def _tag_counts(dataset: SegmentationDataset) -> list[int]:
    """Images that every class is tagged in."""
    counts = np.zeros(dataset.label_space.num_classes, np.int64)
    for index in distributed.shard(len(dataset)):
        weak = dataset.read_weak(index)[0]
        counts += 0 if weak is None else weak.present()
    return list(np.sum(distributed.gather_objects(counts), axis=0).tolist())


def _format_tags(result: Mapping[str, Any], names: tuple[str, ...]) -> str:
    rows: list[list[Cell]] = [[name, count] for name, count in zip(names, result["tagged"], strict=True)]
    return Table(f"{result['images']} images with tags", ["class", "images"], rows).text()
