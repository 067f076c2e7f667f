"""Check of one split: every sample is read, findings are collected."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gss.core.errors import InputError
from gss.data.check.facts import inspect_image, inspect_mask
from gss.data.check.findings import FileFindings, Finding, class_findings, class_problems
from gss.data.datasets import check_sizes, load_raw
from gss.data.files.panoptic import require_segments
from gss.data.files.samples import Sample
from gss.data.open import open_split
from gss.data.specs.spec import DataSpec
from gss.data.weak.files import WeakFiles
from gss.labels.counts import count_labels
from gss.labels.space import IGNORE_INDEX

EXAMPLES = 5
"""Number of findings of a kind that are listed."""


@dataclass
class SplitReport:
    """Findings in one split.

    Args:
        split: name of the split.
        num_classes: K.
        images: number of samples listed or found.
        missing: line for each file that does not exist.
        unreadable: line for each file that cannot be read.
        mismatched: line for each pair of different size.
        unknown: label value to pixel count, file count and example files.
        unlearnable: line for each class without a training pixel.
        pixels: pixels of each class `[K]`.
        present: images that show each class `[K]`.
        void: void pixels.
        sizes: "WxH" of the readable images to their number.
        classes: for each readable sample its index and bool `[K]`, true for the classes it shows.
        ids: ids of the samples.
        files: facts about the files.
        warnings: findings that are no errors.
    """

    split: str
    num_classes: int
    images: int = 0
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    unknown: dict[str, dict[str, Any]] = field(default_factory=dict)
    unlearnable: list[str] = field(default_factory=list)
    pixels: np.ndarray = field(init=False)
    present: np.ndarray = field(init=False)
    void: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    classes: list[tuple[int, np.ndarray]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    files: FileFindings = field(default_factory=FileFindings)
    warnings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pixels = np.zeros(self.num_classes, np.int64)
        self.present = np.zeros(self.num_classes, np.int64)

    @property
    def num_problems(self) -> int:
        """Number of errors; 0 for a split that can be used as it is."""
        lines = (self.missing, self.unreadable, self.mismatched, self.unlearnable)
        return sum(map(len, lines)) + len(self.unknown)

    def add(self, index: int, image: Image.Image, labels: np.ndarray) -> None:
        """Count a readable sample."""
        counts = count_labels(labels)
        self.void += int(counts[IGNORE_INDEX])
        self.pixels += counts[: self.num_classes]
        self.present += counts[: self.num_classes] > 0
        self.sizes[f"{image.width}x{image.height}"] += 1
        self.classes.append((index, counts[: self.num_classes] > 0))

    def to_json(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the report in types that JSON knows."""
        total = max(int(self.pixels.sum()) + self.void, 1)
        rows = zip(names, self.pixels.tolist(), self.present.tolist(), strict=True)
        return {
            "split": self.split,
            "images": self.images,
            "problems": self.num_problems,
            "missing": self.missing,
            "unreadable": self.unreadable,
            "size_mismatch": self.mismatched,
            "unknown_labels": self.unknown,
            "unlearnable": self.unlearnable,
            "warnings": [warning.to_json() for warning in self.warnings],
            "sizes": dict(self.sizes.most_common()),
            "void_share": self.void / total,
            "classes": [
                {"name": name, "pixels": pixels, "share": pixels / total, "images": images}
                for name, pixels, images in rows
            ],
        }


def check_split(spec: DataSpec, split: str, *, training: bool = False) -> SplitReport:
    """Read every sample of a split and collect findings instead of stopping at the first.

    Args:
        spec: data spec, with a root folder unless it is generated.
        split: an existing split.
        training: True for the split that is trained on, in which every class needs a pixel.

    Raises:
        InputError: unknown or empty split, or no root folder.
    """
    report = SplitReport(split, spec.label_space.num_classes)
    if spec.generator is not None:
        dataset = open_split(spec, split)
        report.images = len(dataset)
        for index in tqdm(range(len(dataset)), desc=split, unit="image", disable=None):
            report.add(index, *dataset.read(index))
    else:
        samples = spec.samples(split)
        require_segments(samples)
        report.images, report.ids = len(samples), [sample.id for sample in samples]
        report.missing += [f"mask without image: {path}" for path in spec.stray_masks(split)]
        weak = spec.weak_files(split, samples)
        for index, sample in enumerate(tqdm(samples, desc=split, unit="image", disable=None)):
            _check_sample(report, spec, index, sample, weak)
    listed = [value for values in spec.label_map.values for value in values] + list(spec.label_map.ignore)
    report.warnings = report.files.result(listed)
    if report.classes and training and not spec.weakly_labelled(split):
        void = [] if spec.label_map.color_coded else report.files.void_shares(spec.label_map.ignore)
        report.unlearnable = class_problems(spec.label_space.names, report.pixels, void)
    elif report.classes:
        report.warnings += class_findings(spec.label_space.names, report.pixels, split)
    return report


def _check_sample(report: SplitReport, spec: DataSpec, index: int, sample: Sample, weak: WeakFiles | None) -> None:
    report.missing += sample.absent()
    image = raw = None
    if "image" not in sample.missing:
        try:
            image, facts = inspect_image(sample.image)
            report.files.add_image(sample.image, facts)
        except InputError as error:
            report.unreadable.append(str(error))
    if weak is not None:
        if image is not None and not sample.missing:
            _check_weak(report, index, image, weak)
        return
    if "mask" not in sample.missing:
        try:
            raw = load_raw(spec, sample)
        except InputError as error:
            report.unreadable.append(str(error))
    if image is None or raw is None:
        return
    try:
        check_sizes(sample, image, raw)
    except InputError as error:
        report.mismatched.append(str(error))
        return
    report.files.add_mask(sample.mask, inspect_mask(sample.mask, raw), raw, facts)
    labels, unknown = spec.label_map.apply(raw)
    strange_colors = len(unknown) if raw.ndim == 3 else 0
    report.files.add_labels(sample.mask, labelled=bool((labels != IGNORE_INDEX).any()), strange_colors=strange_colors)
    if len(unknown):
        values = raw.astype(np.int64) @ [0x10000, 0x100, 1] if raw.ndim == 3 else raw
        for value in unknown.tolist():
            entry = report.unknown.setdefault(spec.label_map.show(value), {"pixels": 0, "files": 0, "examples": []})
            entry["pixels"] += int((values == value).sum())
            entry["files"] += 1
            if len(entry["examples"]) < EXAMPLES:
                entry["examples"].append(str(sample.mask))
    report.add(index, image, labels)


def _check_weak(report: SplitReport, index: int, image: Image.Image, weak: WeakFiles) -> None:
    size = (image.height, image.width)
    try:
        labels = weak.read(index, size).rasterize().labels
        weak.confidence(index, size)
    except InputError as error:
        report.unreadable.append(str(error))
    else:
        report.add(index, image, labels)
