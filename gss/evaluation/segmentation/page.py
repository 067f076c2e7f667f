"""The HTML page of an evaluation: key metrics, tables, charts and pictures."""

from __future__ import annotations

import numpy as np

from gss.evaluation.images import unreadable_notes
from gss.evaluation.segmentation.pictures import PICTURE_TITLES
from gss.evaluation.segmentation.result import EvaluationResult
from gss.evaluation.segmentation.tables import (
    class_table,
    confusion_table,
    domain_tables,
    extra_tables,
    mode_table,
    segmentation_tables,
)
from gss.metrics.means import averaged_over
from gss.report import charts
from gss.report.page import Report

# A larger confusion matrix cannot be read; the list of the most frequent confusions can.
LARGEST_MATRIX = 30


def build_page(result: EvaluationResult) -> Report:
    """Return the page of an evaluation."""
    tables = segmentation_tables(result)
    report = Report(tables.title, subtitle=tables.subtitle)
    add_evaluation(report, result)
    values = result.to_json()
    report.section("Raw numbers")
    report.details("Settings", values["settings"])
    report.details("Score of each image", values.pop("image_scores"))
    return report.details("All results", values)


def add_evaluation(report: Report, result: EvaluationResult, *, title: str = "") -> None:
    """Add tiles, tables, charts and pictures to a report.

    Args:
        report: report that gets three to four more sections.
        result: result of `evaluate`.
        title: prefix of the section titles, to tell several evaluations in one report apart.
    """
    best = result.modes[result.default_mode]
    report.section(_title(title, "Results"))
    tiles = [
        (
            "mIoU",
            _text(best.miou),
            f"{result.default_mode} decode, {averaged_over(best.iou) or f'{len(result.class_names)} classes'}",
        ),
        ("Boundary F", _text(best.boundary_f), "within 3 px"),
        ("Pixel accuracy", _text(best.accuracy), f"{best.pixels:,} pixels"),
        ("Calibration error", _text(best.ece), "expected, 15 bins"),
    ]
    if result.images_per_second is not None and result.peak_memory_mib is not None:
        memory = f"{result.peak_memory_mib:,.0f} MiB peak"
        tiles.append(("Images/s", f"{result.images_per_second:.3g}", f"{result.device}, {memory}"))
    report.tiles(tiles)
    for table in (mode_table(result), *extra_tables(result), *domain_tables(result)):
        report.add_table(table)
    for note in unreadable_notes(result.unreadable, result.images):
        report.paragraph(f"{note}.")
    report.section(_title(title, "Classes"))
    report.charts(_class_charts(result))
    report.add_table(class_table(result))
    report.section(_title(title, "Confusions"))
    if len(result.class_names) <= LARGEST_MATRIX:
        report.charts([("Share of each true class", _confusion_chart(result))])
    report.add_table(confusion_table(result))
    if result.pictures:
        report.section(
            _title(title, "Pictures"),
            f"Images with the worst, median and best mIoU ({result.default_mode} decode). Confidence from dark (0) to "
            "yellow (1); wrong pixels red, void slate.",
        )
        report.legend(result.class_names, result.class_colors)
        report.picture_rows(PICTURE_TITLES, result.pictures)


def _class_charts(result: EvaluationResult) -> list[tuple[str, charts.Markup]]:
    """Return the IoU of each class, and the calibration if it was measured."""
    best = result.modes[result.default_mode]
    ious = charts.bar_chart(result.class_names, {result.default_mode: best.iou}, colors=result.class_colors)
    plots = [(f"IoU of each class ({result.default_mode})", ious)]
    if best.ece is not None:
        correct = [part.pixels * (part.accuracy or 0.0) for part in best.reliability]
        wrong = [part.pixels - hits for part, hits in zip(best.reliability, correct, strict=True)]
        edges = np.linspace(0, 1, len(best.reliability) + 1).tolist()
        plots += [
            ("Reliability", charts.reliability_diagram([part.to_json() for part in best.reliability])),
            (
                "Confidence of correct and wrong pixels",
                charts.histogram(edges, {"correct": correct, "wrong": wrong}, x_label="confidence"),
            ),
        ]
    return plots


def _confusion_chart(result: EvaluationResult) -> charts.Markup:
    counts = np.asarray(result.confusion, dtype=np.float64)
    rows = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(rows, 1)
    matrix = [[float(v) if rows[i] > 0 else None for v in line] for i, line in enumerate(shares)]
    return charts.heat_table(matrix, result.class_names, result.class_names, corner="truth \\ prediction")


def _title(prefix: str, title: str) -> str:
    return f"{prefix}: {title.lower()}" if prefix else title


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
