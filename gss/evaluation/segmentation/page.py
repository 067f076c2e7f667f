"""The HTML page of an evaluation: key metrics, tables, charts and pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gss.evaluation.images import unreadable_notes
from gss.evaluation.segmentation.level import level_note
from gss.evaluation.segmentation.pictures import PICTURE_TITLES
from gss.evaluation.segmentation.result import EvaluationResult
from gss.evaluation.segmentation.tables import (
    SEEN_CAUTION,
    class_table,
    confusion_table,
    domain_tables,
    extra_tables,
    image_table,
    mode_table,
    segmentation_tables,
)
from gss.labels.colors import only_object
from gss.metrics.means import averaged_over
from gss.report import charts
from gss.report.page import Report

# A larger confusion matrix cannot be read; the list of the most frequent confusions can.
LARGEST_MATRIX = 30


def build_page(result: EvaluationResult) -> Report:
    """Return the page of an evaluation."""
    tables = segmentation_tables(result)
    report = Report(tables.title, subtitle=tables.subtitle)
    report.answer(answer_sentence(result), pictures=proof_pictures(result), chart=_class_bars(result))
    add_evaluation(report, result)
    values = result.to_json()
    report.section("Raw numbers")
    report.details("Settings", values["settings"])
    values.pop("image_scores")  # the folded table has them
    return report.details("All results", values)


def answer_sentence(result: EvaluationResult) -> str:
    """Return how well the masks fit: of the object where there is one, else with the best and the worst class."""
    best = result.modes[result.default_mode]
    if best.miou is None:
        return f"Nothing could be measured: no pixel of the {result.images} images of {result.data} has a label."
    over = averaged_over(best.iou) or f"{len(result.class_names)} classes"
    thing = only_object(result.class_names)
    reached = "" if thing is None else f"an IoU of {_text(best.iou[thing])} for {result.class_names[thing]} and "
    seen = f" ({result.seen})" if result.seen else ""
    where = f"On {result.images} images of {result.data}{seen}"
    text = f"{where} the masks reach {reached}a mIoU of {best.miou:.1%} over {over}"
    known = [(value, name) for value, name in zip(best.iou, result.class_names, strict=True) if value is not None]
    if len(known) > 1 and thing is None:
        (low, worst), (high, top) = min(known), max(known)
        text += f"; {top} is found best ({high:.1%}) and {worst} worst ({low:.1%})"
    return f"{text}. {SEEN_CAUTION}" if seen else f"{text}."


def proof_pictures(result: EvaluationResult) -> list[tuple[Image.Image, str]]:
    """Return image, prediction, truth and errors of an image of usual quality; none without pictures."""
    if not result.pictures:
        return []
    row = next((row for row in result.pictures if row[0].startswith("median")), result.pictures[0])
    named = dict(zip(PICTURE_TITLES, row[1], strict=True))
    caption = row[0].replace(" · ", ", ")
    titles = {"image": f"image ({caption})", "prediction": "prediction", "truth": "truth", "errors": "errors, red"}
    return [(named[key], title) for key, title in titles.items()]


def add_evaluation(report: Report, result: EvaluationResult, *, title: str = "") -> None:
    """Add tiles, tables, charts and pictures to a report.

    Args:
        report: report that gets three to four more sections.
        result: result of `evaluate`.
        title: prefix of the section titles, to tell several evaluations in one report apart.
    """
    best = result.modes[result.default_mode]
    report.section(_title(title, "Results"))
    decode = f"{result.default_mode} decode"
    thing = only_object(result.class_names)
    tiles = [] if thing is None else [(f"IoU of {result.class_names[thing]}", _text(best.iou[thing]), decode)]
    tiles += [
        ("mIoU", _text(best.miou), f"{decode}, {averaged_over(best.iou) or f'{len(result.class_names)} classes'}"),
        ("Boundary F", _text(best.boundary_f), f"{decode}, within 3 px"),
        ("Pixel accuracy", _text(best.accuracy), f"{decode}, {best.pixels:,} pixels"),
        ("Calibration error", _text(best.ece), f"{decode}, expected, 15 bins"),
    ]
    if result.images_per_second is not None and result.peak_memory_mib is not None:
        memory = f"{result.peak_memory_mib:,.0f} MiB peak"
        tiles.append(("Images/s", f"{result.images_per_second:.3g}", f"{decode}, {result.device}, {memory}"))
    report.tiles(tiles)
    report.add_table(mode_table(result).ranked())
    if note := level_note(result):
        report.paragraph(note)
    for note in unreadable_notes(result.unreadable, result.images):
        report.paragraph(f"{note}.")
    if result.pictures:
        report.section(
            _title(title, "Pictures"),
            f"Images with the worst, median and best mIoU ({result.default_mode} decode). Confidence from dark (0) to "
            "yellow (1); wrong pixels red, void slate.",
        )
        report.legend(result.class_names, result.class_colors)
        report.picture_rows(PICTURE_TITLES, result.pictures)
    if result.image_scores:
        with report.folded(f"All {len(result.image_scores)} images, worst first"):
            report.add_table(image_table(result))
    report.section(_title(title, "Classes"))
    report.charts(_class_charts(result))
    with report.folded("Every class in every decode mode"):
        report.add_table(class_table(result).ranked())
    if tables := [*extra_tables(result), *domain_tables(result)]:
        report.section(_title(title, "Domains and further metrics" if result.domains else "Further metrics"))
        for table in tables:
            report.add_table(table)
    report.section(_title(title, "Confusions"))
    report.add_table(confusion_table(result))
    if len(result.class_names) <= LARGEST_MATRIX:
        with report.folded("Share of each true class that is found as each class, in percent"):
            report.charts([("Rows: truth; columns: prediction", _confusion_chart(result))])


def _class_charts(result: EvaluationResult) -> list[tuple[str, charts.Markup]]:
    """Return the IoU of each class, and the calibration if it was measured."""
    best = result.modes[result.default_mode]
    plots = [(f"IoU of each class, best first ({result.default_mode} decode)", _class_bars(result))]
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


def _class_bars(result: EvaluationResult) -> charts.Markup:
    ious = result.modes[result.default_mode].iou
    order = sorted(range(len(ious)), key=lambda k: 1.0 if (value := ious[k]) is None else -value)
    names, colors = [result.class_names[k] for k in order], [result.class_colors[k] for k in order]
    return charts.bar_chart(names, {"IoU": [ious[k] for k in order]}, colors=colors, percent=True)


def _confusion_chart(result: EvaluationResult) -> charts.Markup:
    counts = np.asarray(result.confusion, dtype=np.float64)
    rows = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(rows, 1)
    matrix = [[float(v) if rows[i] > 0 else None for v in line] for i, line in enumerate(shares)]
    return charts.heat_table(matrix, result.class_names, result.class_names, percent=True)


def _title(prefix: str, title: str) -> str:
    return f"{prefix}: {title.lower()}" if prefix else title


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
