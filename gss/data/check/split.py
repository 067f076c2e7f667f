"""`gss data check`: read every file of a data set, say what is wrong with it and what it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gss.core.errors import InputError
from gss.data.datasets import check_sizes, load_raw, resize_pair
from gss.data.files import Sample
from gss.data.files.panoptic import require_segments
from gss.data.images import load_image
from gss.data.open import open_split
from gss.data.specs.spec import DataSpec, Domain
from gss.data.weak.files import WeakFiles
from gss.labels.space import IGNORE_INDEX
from gss.report.pictures import colorize, contact_sheet, legend, overlay

_EXAMPLES = 5
_SHEET_SAMPLES = 8
_THUMBNAIL = 240


@dataclass
class SplitReport:
    """What was found in one split.

    Args:
        split: its name.
        num_classes: K.
        images: samples listed or found.
        missing, unreadable, mismatched: one line for each file or pair concerned.
        unknown: label value to pixel count, file count and example files.
        pixels, present: pixels of each class, and images that hold it, `[K]`.
        void: void pixels.
        sizes: "WxH" of the readable images to their number.
        classes: for each readable sample its index and which classes it holds, `[K]`.
    """

    split: str
    num_classes: int
    images: int = 0
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    unknown: dict[str, dict[str, Any]] = field(default_factory=dict)
    pixels: np.ndarray = field(init=False)
    present: np.ndarray = field(init=False)
    void: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    classes: list[tuple[int, np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pixels = np.zeros(self.num_classes, np.int64)
        self.present = np.zeros(self.num_classes, np.int64)

    @property
    def num_problems(self) -> int:
        """Number of findings; 0 for a split that can be used as it is."""
        return len(self.missing) + len(self.unreadable) + len(self.mismatched) + len(self.unknown)

    def add(self, index: int, image: Image.Image, labels: np.ndarray) -> None:
        """Count a readable sample."""
        counts = np.bincount(labels.ravel(), minlength=IGNORE_INDEX + 1)
        self.void += int(counts[IGNORE_INDEX])
        self.pixels += counts[: self.num_classes]
        self.present += counts[: self.num_classes] > 0
        self.sizes[f"{image.width}x{image.height}"] += 1
        self.classes.append((index, counts[: self.num_classes] > 0))

    def to_dict(self, names: tuple[str, ...]) -> dict[str, Any]:
        """JSON-able form."""
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
            "sizes": dict(self.sizes.most_common()),
            "void_share": self.void / total,
            "classes": [
                {"name": name, "pixels": pixels, "share": pixels / total, "images": images}
                for name, pixels, images in rows
            ],
        }


def check_split(spec: DataSpec, split: str) -> SplitReport:
    """Read every sample of a split and collect findings instead of stopping at the first.

    Args:
        spec: data spec, with a root folder unless it is generated.
        split: an existing split.

    Raises:
        ValueError: unknown or empty split, or no root folder.
    """
    report = SplitReport(split, spec.label_space.num_classes)
    if spec.generator is not None:
        dataset = open_split(spec, split)
        report.images = len(dataset)
        for index in tqdm(range(len(dataset)), desc=split, unit="image", disable=None):
            report.add(index, *dataset.read(index))
        return report
    samples = spec.samples(split)
    require_segments(samples)
    report.images = len(samples)
    report.missing += [f"mask without image: {path}" for path in spec.stray_masks(split)]
    weak = spec.weak_files(split, samples)
    for index, sample in enumerate(tqdm(samples, desc=split, unit="image", disable=None)):
        _check_sample(report, spec, index, sample, weak)
    return report


def _check_sample(report: SplitReport, spec: DataSpec, index: int, sample: Sample, weak: WeakFiles | None) -> None:
    report.missing += sample.absent()
    image = raw = None
    if "image" not in sample.missing:
        try:
            image = load_image(sample.image)
        except ValueError as error:
            report.unreadable.append(str(error))
    if weak is not None:
        if image is not None and not sample.missing:
            _check_weak(report, index, image, weak)
        return
    if "mask" not in sample.missing:
        try:
            raw = load_raw(spec, sample)
        except ValueError as error:
            report.unreadable.append(str(error))
    if image is None or raw is None:
        return
    try:
        check_sizes(sample, image, raw)
    except ValueError as error:
        report.mismatched.append(str(error))
        return
    labels, unknown = spec.label_map.apply(raw)
    if len(unknown):
        values = raw.astype(np.int64) @ [0x10000, 0x100, 1] if raw.ndim == 3 else raw
        for value in unknown.tolist():
            found = report.unknown.setdefault(spec.label_map.show(value), {"pixels": 0, "files": 0, "examples": []})
            found["pixels"] += int((values == value).sum())
            found["files"] += 1
            if len(found["examples"]) < _EXAMPLES:
                found["examples"].append(str(sample.mask))
    report.add(index, image, labels)


def _check_weak(report: SplitReport, index: int, image: Image.Image, weak: WeakFiles) -> None:
    size = (image.height, image.width)
    try:
        labels = weak.read(index, size).rasterize().labels
        weak.confidence(index, size)
    except ValueError as error:
        report.unreadable.append(str(error))
    else:
        report.add(index, image, labels)


def format_report(spec: DataSpec, reports: list[SplitReport]) -> str:
    """Compact text of the findings and of the class shares, splits side by side."""
    names = spec.label_space.names
    place = spec.root if spec.generator is None else f"generated by {spec.generator}"
    lines = [f"{spec.name}: {len(names)} classes, {place}"]
    if spec.note:
        lines.append(f"note: {spec.note}")
    for report in reports:
        sizes = ", ".join(f"{size} ({count})" for size, count in report.sizes.most_common(4))
        more = f" and {len(report.sizes) - 4} more sizes" if len(report.sizes) > 4 else ""
        lines += ["", f"{report.split}: {report.images} images; {sizes or 'none readable'}{more}"]
        groups = (
            ("missing", report.missing),
            ("unreadable", report.unreadable),
            ("size mismatch", report.mismatched),
            (
                "unknown labels",
                [
                    f"value {value}: {found['pixels']} pixels in {found['files']} files, such as {found['examples'][0]}"
                    for value, found in report.unknown.items()
                ],
            ),
        )
        for title, findings in groups:
            if findings:
                lines.append(f"  {title}: {len(findings)}")
                lines += [f"    {finding}" for finding in findings[:_EXAMPLES]]
                lines += [f"    and {len(findings) - _EXAMPLES} more"] * (len(findings) > _EXAMPLES)
        if report.unknown:
            lines.append("    fix the masks, or list the values under label_map or ignore in the spec")
    width = max(len(name) for name in (*names, "class"))
    lines += ["", f"{'class':<{width}}" + "".join(f"  {f'{r.split} pixels':>14}  images" for r in reports)]
    totals = [max(int(report.pixels.sum()) + report.void, 1) for report in reports]
    for k, name in enumerate(names):
        cells = (f"  {100 * r.pixels[k] / t:12.3f} %  {r.present[k]:6d}" for r, t in zip(reports, totals, strict=True))
        lines.append(f"{name:<{width}}" + "".join(cells))
    cells = (f"  {100 * r.void / t:12.3f} %        " for r, t in zip(reports, totals, strict=True))
    lines.append((f"{'(void)':<{width}}" + "".join(cells)).rstrip())
    problems = sum(report.num_problems for report in reports)
    lines += ["", f"{problems} problems found" if problems else "no problems found"]
    return "\n".join(lines)


def check_domains(spec: DataSpec, split: str | None) -> dict[str, list[SplitReport]]:
    """Read every domain of a mixture in its own splits; a plain data set is its only domain, under its own name.

    Args:
        spec: data spec.
        split: a split of the mixture; None takes all that each domain has.

    Raises:
        ValueError: a domain lacks the split, has none, or has no root folder.
    """
    if split is not None:
        spec.check_split(split)
    reports = {}
    for domain in spec.domains or (Domain(spec.name, spec),):
        own = domain.spec
        for name in domain.splits:
            domain.check_split(name)
        chosen = list(domain.splits.values()) or own.available_splits()
        if split is not None:
            chosen = [found] if (found := domain.split(split)) else []
        elif not chosen:
            raise InputError(f"data set {own.name!r} has no split: no list {own.list_file} in {own.root}")
        reports[domain.name] = [check_split(own, name) for name in dict.fromkeys(chosen)]
    return reports


def format_domain(domain: Domain, reports: list[SplitReport]) -> str:
    """`format_report` of a domain of a mixture, and which classes of the mixture its masks can never show."""
    names = domain.spec.label_space.names
    absent = [name for k, name in enumerate(names) if k not in domain.annotated]
    lines = [f"domain {domain.name}", format_report(domain.spec, reports)]
    return "\n".join([*lines, f"not annotated here: {', '.join(absent) or 'nothing, every class is'}"])


def draw_sheet(spec: DataSpec, reports: list[SplitReport]) -> Image.Image:
    """Contact sheet: image, coloured mask and overlay of a few samples, with a legend below.

    The data set is cut into as many stretches as there are rows, because neighbours are often
    near-duplicates; from each comes the sample that shows most classes not yet shown.

    Raises:
        ValueError: no sample could be read.
    """
    candidates = [(report, index, held) for report in reports for index, held in report.classes]
    if not candidates:
        raise InputError(f"data set {spec.name!r} has no readable sample to draw")
    held = np.stack([has for _, _, has in candidates])
    shown = np.zeros(spec.label_space.num_classes, bool)
    chosen: list[int] = []
    for stretch in np.array_split(np.arange(len(candidates)), min(_SHEET_SAMPLES, len(candidates))):
        gain = (held[stretch] & ~shown).sum(axis=1) * 1000 + held[stretch].sum(axis=1)
        chosen.append(int(stretch[gain.argmax()]))
        shown |= held[chosen[-1]]
    colors = spec.label_space.colors
    rows, captions = [], []
    for number in chosen:
        report, index, _ = candidates[number]
        image, labels, name = _thumbnail(spec, report.split, index)
        rows.append([image, colorize(labels, colors), overlay(image, labels, colors)])
        captions.append(f"{report.split}: {name}")
    sheet = contact_sheet(rows, ["image", "mask (void black)", "overlay"], captions=captions, width=_THUMBNAIL)
    pixels = np.sum([report.pixels for report in reports], axis=0)
    share = 100 * pixels / max(int(pixels.sum()), 1)
    texts = [f"{name} {part:.2f} %" for name, part in zip(spec.label_space.names, share, strict=True)]
    key = legend(texts, colors, width=sheet.width)
    page = Image.new("RGB", (sheet.width, sheet.height + key.height), "white")
    page.paste(sheet, (0, 0))
    page.paste(key, (0, sheet.height))
    return page


def _thumbnail(spec: DataSpec, split: str, index: int) -> tuple[Image.Image, np.ndarray, str]:
    """Image and labels at the width of the sheet's cells; unknown labels are drawn as void."""
    if spec.generator is not None:
        dataset = open_split(spec, split)
        (image, labels), name = dataset.read(index), dataset.ids[index]
    else:
        samples = spec.samples(split)
        sample = samples[index]
        image, name = load_image(sample.image), sample.id
        weak = spec.weak_files(split, samples)
        if weak is not None:
            labels = weak.read(index, (image.height, image.width)).rasterize().labels
        else:
            labels = spec.label_map.apply(load_raw(spec, sample))[0]
    height = max(round(image.height * _THUMBNAIL / image.width), 1)
    return *resize_pair(image, labels, (min(height, 4 * _THUMBNAIL), _THUMBNAIL)), name


def num_problems(reports: Mapping[str, list[SplitReport]]) -> int:
    """Return the number of findings in all domains and splits."""
    return sum(report.num_problems for found in reports.values() for report in found)


def format_findings(spec: DataSpec, reports: Mapping[str, list[SplitReport]]) -> str:
    """Format what `check_domains` returned: `format_report`, or `format_domain` of each domain of a mixture."""
    if not spec.domains:
        return format_report(spec, reports[spec.name])
    return "\n\n".join(format_domain(domain, reports[domain.name]) for domain in spec.domains)


def findings(spec: DataSpec, reports: Mapping[str, list[SplitReport]]) -> dict[str, Any]:
    """Return what `check_domains` found in types that JSON knows."""
    names = spec.label_space.names
    parts = {name: [report.to_dict(names) for report in found] for name, found in reports.items()}
    head = {"name": spec.name, "note": spec.note, "problems": num_problems(reports)}
    return head | ({"domains": parts} if spec.domains else {"splits": parts[spec.name]})


def draw_sheets(spec: DataSpec, reports: Mapping[str, list[SplitReport]]) -> Image.Image:
    """Draw `draw_sheet` of every domain, one below the other."""
    domains = spec.domains or (Domain(spec.name, spec),)
    pages = [draw_sheet(domain.spec, reports[domain.name]) for domain in domains if reports[domain.name]]
    sheet = Image.new("RGB", (max(page.width for page in pages), sum(page.height for page in pages)), "white")
    top = 0
    for page in pages:
        sheet.paste(page, (0, top))
        top += page.height
    return sheet
