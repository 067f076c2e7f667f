"""The report on weak labels as text and as an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from PIL import Image

from gss.data.protocols import LabelledImages
from gss.report import charts
from gss.report.page import Report
from gss.report.tables import Cell, Table, share_text


def class_table(result: dict[str, Any], names: tuple[str, ...], colors: Sequence[Sequence[int]] | None = None) -> Table:
    """Return labelled pixels by class and, where the truth is known, precision, recall and IoU, best first."""
    columns: dict[str, list[Cell]] = {"pixels": result["pixels"]}
    if "iou" in result:
        keys = {"precision": "precision_per_class", "recall": "recall_per_class", "IoU": "iou"}
        columns |= {title: list(result[key]) for title, key in keys.items()}
    rows = [[name, *(column[k] for column in columns.values())] for k, name in enumerate(names)]
    judged = [title for title in columns if title != "pixels"]
    best: dict[str, Literal["max", "min"]] = {title: "max" for title in judged[-1:]}
    shares = dict.fromkeys(judged, ".1%")
    return Table("", ["class", *columns], rows, formats=shares, best=best, colors=colors).ranked()


def format_report(result: dict[str, Any], names: tuple[str, ...]) -> str:
    """Return the result of `gss.weak.quality.measure` as text."""
    lines = [f"{result['images']} images, {share_text(result['coverage'])} of their pixels labelled"]
    if result["unlabelled_images"]:
        lines.append(f"{result['unlabelled_images']} images without any labelled pixel")
    if "iou" in result:
        keys = {"precision": "precision", "recall": "recall", "mIoU": "miou"}
        parts = [f"{title} {share_text(result[key])}" for title, key in keys.items()]
        lines.append("  ".join(parts + ([f"calibration error {share_text(result['ece'])}"] if "ece" in result else [])))
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
    titles = ["image", "labels"]
    if rows:
        titles += ["confidence"] * (len(rows[0][1]) in (3, 5)) + ["truth", "errors"] * judged
    tiles = [("Labelled", share_text(result["coverage"]), f"of all pixels, {result['images']} images")]
    if judged:
        tiles += [
            ("Precision", share_text(result["precision"]), "labelled pixels that are right"),
            ("Recall", share_text(result["recall"]), "pixels labelled and right"),
            ("mIoU", share_text(result["miou"]), "abstention counts as a miss"),
        ]
    if "ece" in result:
        tiles.append(("Calibration error", share_text(result["ece"]), f"expected, {len(result['reliability'])} bins"))
    report.answer(_answer(result), pictures=list(zip(rows[0][1], titles, strict=True))[:4] if rows else ())
    report.tiles(tiles)
    report.add_table(class_table(result, space.names, space.colors))
    if rows:
        report.section("Pictures", "White: unlabelled. Errors are red; where there is no label or no truth, slate.")
        report.picture_rows(titles, rows)
        report.legend(space.names, space.colors)
    if "reliability" in result:
        curve = {"precision": [(point["coverage"], point["precision"]) for point in result["curve"]]}
        report.section("Confidence", "How often labels of a confidence are right, and what a threshold would leave.")
        report.charts(
            [
                ("Reliability", charts.reliability_diagram(result["reliability"])),
                ("Precision over coverage", charts.line_chart(curve, x_label="coverage", y_label="precision")),
            ]
        )
    return report.section("Raw numbers").details("All results", result)


def _answer(result: dict[str, Any]) -> str:
    """Return one sentence: how much is labelled, and how much of it is right."""
    text = f"{share_text(result['coverage'])} of the pixels of {result['images']} images are labelled"
    if "iou" in result:
        right, miou = share_text(result["precision"]), share_text(result["miou"])
        text += f", {right} of them right; the labels reach a mIoU of {miou}"
    return f"{text}."
