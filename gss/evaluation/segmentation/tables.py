"""The tables of `gss evaluate`."""

from __future__ import annotations

import numpy as np

from gss.evaluation.images import unreadable_notes
from gss.evaluation.segmentation.level import level_note
from gss.evaluation.segmentation.result import EvaluationResult, ModeMetrics, domain_means
from gss.evaluation.table_set import ResultTables
from gss.metrics.means import averaged_over
from gss.report.tables import Cell, Table

# Key of a metric -> title in tables.
METRIC_TITLES = {
    "miou": "mIoU",
    "boundary_f": "boundary F",
    "accuracy": "accuracy",
    "mean_accuracy": "mean accuracy",
    "fwiou": "fwIoU",
    "ece": "calibration error",
}
LEGEND = (
    "In percent. mIoU: overlap of predicted and true regions, mean over the classes; fwIoU weights it by their pixels. "
    "Boundary F: share of borders met within 3 pixels. Accuracy: share of right pixels; mean accuracy: the same, mean "
    "over the classes. Calibration error (ECE): how far confidence is from accuracy."
)
SEEN_CAUTION = "Of new images the figures are lower."
_PERCENT = dict.fromkeys(METRIC_TITLES.values(), ".1%")
# Number of confusions that are listed.
CONFUSIONS = 10


def segmentation_tables(result: EvaluationResult) -> ResultTables:
    """Return all tables of an evaluation."""
    facts = [result.pipeline, result.data, f"{result.images} images", result.device]
    if result.images_per_second is not None and result.peak_memory_mib is not None:
        facts += [f"{result.images_per_second:.2f} images/s", f"{result.peak_memory_mib:,.0f} MiB peak"]
    tables = [
        mode_table(result),
        *extra_tables(result),
        *domain_tables(result),
        class_table(result),
        confusion_table(result),
    ]
    notes = [f"figures {result.seen}. {SEEN_CAUTION}"] if result.seen else []
    notes += filter(None, [level_note(result)])
    notes += unreadable_notes(result.unreadable, result.images)
    if not result.modes[result.default_mode].pixels:
        notes.append("no pixel of the measured images has a label; check the split with 'gss data check'")
    return ResultTables("Segmentation results", facts, tables, notes)


def mode_table(result: EvaluationResult) -> Table:
    """Return the metrics of each decode mode."""
    fewer = averages_note(result)
    notes = ["Over the whole data set, without void. All modes decode the same runs of the network.", LEGEND]
    return Table(
        "Decode modes",
        ["decode", *METRIC_TITLES.values()],
        [[mode, *_row(metrics)] for mode, metrics in result.modes.items()],
        notes=[*notes, fewer] if fewer else notes,
        formats=_PERCENT,
        best={title: "min" if key == "ece" else "max" for key, title in METRIC_TITLES.items()},
    )


def extra_tables(result: EvaluationResult) -> list[Table]:
    """Return the metrics of the user's own by decode mode; none without any."""
    if not result.extra:
        return []
    names = list(next(iter(result.extra.values())))
    rows: list[list[Cell]] = [[mode, *(values[name] for name in names)] for mode, values in result.extra.items()]
    return [Table("Further metrics", ["decode", *names], rows)]


def averages_note(result: EvaluationResult) -> str:
    """Return a sentence on classes that are in no average; empty where all classes are."""
    notes = {mode: averaged_over(metrics.iou) for mode, metrics in result.modes.items()}
    fewer = ", ".join(f"{count} ({mode})" for mode, count in notes.items() if count)
    if len(set(notes.values())) == 1:
        fewer = next(iter(notes.values()))
    if not fewer:
        return ""
    ious = result.modes[result.default_mode].iou
    absent = [name for name, value in zip(result.class_names, ious, strict=True) if value is None]
    return f"Means go over {fewer}: {', '.join(absent[:10])}{', …' if len(absent) > 10 else ''} occur nowhere."


def domain_tables(result: EvaluationResult) -> list[Table]:
    """Return the metrics of each domain and the means over domains; none for a data set without domains."""
    domains = result.domains.get(result.default_mode)
    if not domains:
        return []
    means = {mode: domain_means("", by_domain, "miou") for mode, by_domain in result.domains.items()}
    names = dict.fromkeys(name for by_name in means.values() for name in by_name)
    return [
        Table(
            f"Domains, {result.default_mode} decode",
            ["domain", *METRIC_TITLES.values()],
            [[name, *_row(metrics)] for name, metrics in domains.items()],
            notes=["Each domain alone; means go over the classes that it annotates."],
            formats=_PERCENT,
        ),
        Table(
            "mIoU of domains",
            ["domain", *means],
            [[name.removeprefix("/"), *(by_name.get(name) for by_name in means.values())] for name in names],
            formats=dict.fromkeys(means, ".1%"),
        ),
    ]


def class_table(result: EvaluationResult) -> Table:
    """Return the share of the pixels, the IoU and the boundary F-measure of each class."""
    best = result.modes[result.default_mode]
    columns = ["share of pixels", *(f"IoU {mode}" for mode in result.modes), f"boundary F {result.default_mode}"]
    return Table(
        "Classes",
        ["class", *columns],
        [
            [
                name,
                result.class_shares[index],
                *(metrics.iou[index] for metrics in result.modes.values()),
                best.boundary_f_per_class[index],
            ]
            for index, name in enumerate(result.class_names)
        ],
        notes=["A dash: neither in the truth nor in the prediction."],
        formats=dict.fromkeys(columns, ".1%"),
        best={f"IoU {result.default_mode}": "max"},
        colors=result.class_colors,
    )


def image_table(result: EvaluationResult) -> Table:
    """Return the metrics of every image, the worst first; images without a labelled pixel come last."""
    order = sorted(result.image_scores, key=lambda one: (one.miou is None, one.miou or 0.0))
    return Table(
        f"Every image, worst first, {result.default_mode} decode",
        ["image", "mIoU", "accuracy"],
        [[one.id, one.miou, one.accuracy] for one in order],
        notes=["mIoU over the classes in the image. A dash: no pixel has a label."],
        formats={"mIoU": ".1%", "accuracy": ".1%"},
    )


def confusion_table(result: EvaluationResult) -> Table:
    """Return the most frequent confusions."""
    counts = np.asarray(result.confusion)  # [K, K], rows truth, columns prediction
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]
    pairs = [divmod(int(flat), len(counts)) for flat in order if wrong.flat[flat] > 0]
    names = result.class_names
    return Table(
        f"Most frequent confusions, {result.default_mode} decode",
        ["truth", "predicted as", "share of the class", "pixels"],
        [[names[true], names[other], float(shares[true, other]), int(counts[true, other])] for true, other in pairs],
        formats={"share of the class": ".1%"},
    )


def _row(metrics: ModeMetrics) -> list[Cell]:
    return [metrics[key] for key in METRIC_TITLES]
