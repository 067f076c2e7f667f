"""The report on weak labels as text and as an HTML page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PIL import Image

from gss.data.protocols import LabelledImages
from gss.report import charts
from gss.report.page import Report
from gss.report.tables import Cell, Table, percent


def class_table(result: dict[str, Any], names: tuple[str, ...]) -> Table:
    """Return labelled pixels by class and, where the truth is known, precision, recall and IoU in percent."""
    columns: dict[str, list[Cell]] = {"pixels": result["pixels"]}
    if "iou" in result:
        shares = {"precision": "precision_per_class", "recall": "recall_per_class", "IoU": "iou"}
        columns |= {title: [percent(value) for value in result[key]] for title, key in shares.items()}
    rows = [[name, *(column[k] for column in columns.values())] for k, name in enumerate(names)]
    return Table("", ["class", *columns], rows)


def format_report(result: dict[str, Any], names: tuple[str, ...]) -> str:
    """Return the result of `gss.weak.quality.measure` as text."""
    lines = [f"{result['images']} images, {100 * result['coverage']:.2f} % of their pixels labelled"]
    if result["unlabelled_images"]:
        lines.append(f"{result['unlabelled_images']} images without any labelled pixel")
    if "iou" in result:
        parts = [f"{key} {percent(result[key])}" for key in ("precision", "recall", "miou")]
        lines.append("  ".join(parts + ([f"ece {result['ece']:.4f}"] if "ece" in result else [])))
    lines += ["", class_table(result, names).text()]
    never = [name for name, count in zip(names, result["pixels"], strict=True) if count == 0]
    if never:
        lines += ["", f"never labelled: {', '.join(never)}"]
    return "\n".join(lines)


def build_report(
    result: dict[str, Any],
    rows: list[tuple[str, list[Image.Image]]],
    dataset: LabelledImages,
    *,
    title: str,
) -> Report:
    """Build the HTML page of the result of `gss.weak.quality.measure`."""
    space, judged = dataset.label_space, "iou" in result
    report = Report("Weak labels", subtitle=title).section("Coverage and quality" if judged else "Coverage")
    tiles = [("Labelled", percent(result["coverage"]), f"of all pixels, {result['images']} images")]
    if judged:
        tiles += [
            ("Precision", percent(result["precision"]), "labelled pixels that are right"),
            ("Recall", percent(result["recall"]), "pixels labelled and right"),
            ("mIoU", percent(result["miou"]), "abstention counts as a miss"),
        ]
    if "ece" in result:
        tiles.append(("Calibration error", f"{result['ece']:.3f}", f"expected, {len(result['reliability'])} bins"))
    report.tiles(tiles)
    report.add_table(replace(class_table(result, space.names), colors=space.colors))
    if "reliability" in result:
        curve = {"precision": [(point["coverage"], point["precision"]) for point in result["curve"]]}
        report.section("Confidence", "How often labels of a confidence are right, and what a threshold would leave.")
        report.charts(
            [
                ("Reliability", charts.reliability_diagram(result["reliability"])),
                ("Precision over coverage", charts.line_chart(curve, x_label="coverage", y_label="precision")),
            ]
        )
    if rows:
        titles = ["image", "labels"]
        titles += ["confidence"] * (len(rows[0][1]) in (3, 5)) + ["truth", "errors"] * judged
        report.section("Pictures", "White: unlabelled. Errors are red; where there is no label or no truth, slate.")
        report.picture_rows(titles, rows)
        report.legend(space.names, space.colors)
    return report.section("Raw numbers").details("All results", result)
