"""The HTML page of `gss evaluate-shifts`: means, curves by severity, pictures."""

from __future__ import annotations

import math

from PIL import Image

from gss.evaluation.images import unreadable_notes
from gss.evaluation.shifts.result import ALARMS, ShiftResult
from gss.evaluation.shifts.tables import alarm_note, mean_table, shift_tables, summary_table
from gss.report import charts
from gss.report.page import Report


def build_page(result: ShiftResult) -> Report:
    """Return the page of an evaluation under shifts."""
    tables = shift_tables(result)
    report = Report(tables.title, subtitle=f"{', '.join(result.pipelines)} · {tables.subtitle}")
    report.answer(answer_sentence(result), pictures=_proof(result), chart=_answer_chart(result))
    add_shifts(report, result)
    report.section("Raw numbers")
    report.details("Settings", result.settings)
    return report.details("All results", result.to_json())


def add_shifts(report: Report, result: ShiftResult) -> None:
    """Add tables, curves and pictures to a report.

    Args:
        report: report that gets three to five more sections.
        result: result of `evaluate_shifts`.
    """
    levels = ", ".join(map(str, result.severities))
    report.section("Means", f"{len(result.shifts)} shifts at severity {levels}; labels unchanged, void not counted.")
    for note in unreadable_notes(result.unreadable, result.images):
        report.paragraph(f"{note}.")
    report.add_table(summary_table(result))
    if result.pictures:
        report.section("Pictures", "One image. Alarms of the first score of a pipeline are red, void is slate.")
        report.legend(result.class_names, result.class_colors)
        report.picture_rows(picture_titles(result), result.pictures)
    report.section("mIoU")
    _add_metric(report, result, "miou", "mIoU")
    report.add_table(mean_table(result, "miou", "by_severity"))
    if result.lines(ALARMS):
        report.section("False alarms", alarm_note(result))
        _add_metric(report, result, ALARMS, "False alarms")
    report.section("Borders and confidence")
    with report.folded("Boundary F-measure within 3 pixels, by shift"):
        _add_curves(report, result, "boundary_f", "Boundary F")
    with report.folded("Expected calibration error, 15 bins, by shift"):
        _add_curves(report, result, "ece", "Calibration error")


def picture_titles(result: ShiftResult) -> list[str]:
    """Return the title of each picture of a row."""
    titles = ["image", "truth"]
    for name, pipeline in result.pipelines.items():
        titles.append(f"{name} · {pipeline.default_mode}")
        titles += [f"{name} · alarms of {score}" for score in list(pipeline.thresholds)[:1]]
    return titles


def answer_sentence(result: ShiftResult) -> str:
    """Return one sentence: what the shifts cost the best pipeline, and which costs most."""
    title, name, mode = _best(result)
    means = result.pipelines[name].summary.means(mode, "miou")
    worst = _worst(result)
    if means.clean is None or means.shifted is None or worst is None:
        return f"Nothing could be measured on {result.data}."
    lines = len(result.lines("miou"))
    among = f"the best of {lines} ({title})" if lines > 1 else title
    return (
        f"Under {len(result.shifts)} shifts of the images of {result.data} the mIoU of {among} falls from "
        f"{means.clean:.1%} to {means.shifted:.1%} on average; {worst} is worst ({means.by_shift[worst]:.1%})."
    )


def _best(result: ShiftResult) -> tuple[str, str, str]:
    """Return title, pipeline and decode mode of the best mIoU under shift."""
    best = str(summary_table(result).rows[0][0])
    return next(line for line in result.lines("miou") if line[0] == best)


def _worst(result: ShiftResult) -> str | None:
    """Return the shift that costs the best pipeline most."""
    _, name, mode = _best(result)
    by_shift = result.pipelines[name].summary.means(mode, "miou").by_shift
    known = {shift: value for shift, value in by_shift.items() if value is not None}
    return min(known, key=lambda shift: known[shift]) if known else None


def _proof(result: ShiftResult) -> list[tuple[Image.Image, str]]:
    """Return image, prediction and truth under the worst shift; none without pictures."""
    rows = [row for row in result.pictures if row[0].startswith(f"{_worst(result)},")] or result.pictures
    if not rows:
        return []
    caption, pictures = rows[0]
    named = list(zip(picture_titles(result), pictures, strict=True))
    shown = [named[0], *named[2:4], named[1]]
    return [
        (picture, f"{title} ({caption})" if number == 0 else title) for number, (title, picture) in enumerate(shown)
    ]


def _answer_chart(result: ShiftResult) -> charts.Markup | None:
    title, name, mode = _best(result)
    known = result.pipelines[name].summary.means(mode, "miou").by_shift
    names = sorted(known, key=lambda shift: 1.0 if (value := known[shift]) is None else -value)
    return charts.bar_chart(names, {f"mIoU of {title}": [known[shift] for shift in names]}, percent=True)


def _add_metric(report: Report, result: ShiftResult, metric: str, title: str) -> None:
    """Add the curves and a shaded table of the means over severities."""
    _add_curves(report, result, metric, title)
    table = mean_table(result, metric, "by_shift")
    values = [[value if isinstance(value, float) else None for value in row[1:]] for row in table.rows]
    top = max((value for row in values for value in row if value is not None), default=1.0)
    shaded = charts.heat_table(values, [str(row[0]) for row in table.rows], table.columns[1:], high=top, percent=True)
    report.charts([("Mean over severities, in percent", shaded)])


def _add_curves(report: Report, result: ShiftResult, metric: str, title: str) -> None:
    """Add one chart per shift, over the severity, all on one scale; severity 0 is clean."""
    lines = _best_lines(result, metric)
    curves = {
        shift: {
            name: [(x, 100 * y) for x, y in result.curve(pipeline, shift, key, metric)] for name, pipeline, key in lines
        }
        for shift in result.shifts
    }
    top = max((value for by in curves.values() for points in by.values() for _, value in points), default=0.0) or 1.0
    last = float(result.severities[-1])
    report.charts(
        [
            (
                shift,
                charts.line_chart(
                    by, x_label="severity", y_label=f"{title} in %", x_range=(0.0, last), y_range=(0.0, 1.05 * top)
                ),
            )
            for shift, by in curves.items()
            if any(by.values())
        ]
    )


def _best_lines(result: ShiftResult, metric: str) -> list[tuple[str, str, str]]:
    """Return the lines that a chart draws: the best of them, as many as a reader can follow."""
    lines = result.lines(metric)
    sign = 1 if metric in ("ece", ALARMS) else -1

    def key(line: tuple[str, str, str]) -> float:
        value = result.pipelines[line[1]].summary.means(line[2], metric).shifted
        return math.inf if value is None else sign * value

    return lines if len(lines) <= charts.MOST_CURVES else sorted(lines, key=key)[: charts.MOST_CURVES]
