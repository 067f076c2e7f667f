"""The HTML page of `gss evaluate-shifts`: means, curves by severity, pictures."""

from __future__ import annotations

from gss.evaluation.images import unreadable_notes
from gss.evaluation.shifts.result import ALARMS, ShiftResult
from gss.evaluation.shifts.tables import alarm_note, mean_table, shift_tables, summary_table
from gss.report import charts
from gss.report.page import Report


def build_page(result: ShiftResult) -> Report:
    """Return the page of an evaluation under shifts."""
    tables = shift_tables(result)
    report = Report(tables.title, subtitle=f"{', '.join(result.pipelines)} · {tables.subtitle}")
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
    report.add_table(mean_table(result, "miou", "by_severity"))
    _add_metric(report, result, "miou", "mIoU")
    _add_curves(report, result, "boundary_f", "Boundary F", "Boundary F-measure within 3 pixels.")
    _add_curves(report, result, "ece", "Calibration error", "Expected calibration error, 15 bins.")
    if result.lines(ALARMS):
        _add_metric(report, result, ALARMS, "False alarms", alarm_note(result))
    if result.pictures:
        report.section("Pictures", "One image. Alarms of the first score of a pipeline are red, void is slate.")
        report.legend(result.class_names, result.class_colors)
        report.picture_rows(picture_titles(result), result.pictures)


def picture_titles(result: ShiftResult) -> list[str]:
    """Return the title of each picture of a row."""
    titles = ["image", "truth"]
    for name, pipeline in result.pipelines.items():
        titles.append(f"{name} · {pipeline.default_mode}")
        titles += [f"{name} · alarms of {score}" for score in list(pipeline.thresholds)[:1]]
    return titles


def _add_metric(report: Report, result: ShiftResult, metric: str, title: str, text: str = "") -> None:
    """Add a section with the curves and a shaded table of the means over severities."""
    _add_curves(report, result, metric, title, text)
    table = mean_table(result, metric, "by_shift")
    values = [[value if isinstance(value, float) else None for value in row[1:]] for row in table.rows]
    top = max((value for row in values for value in row if value is not None), default=1.0)
    shaded = charts.heat_table(values, [str(row[0]) for row in table.rows], table.columns[1:], high=top, digits=3)
    report.charts([("Mean over severities", shaded)])


def _add_curves(report: Report, result: ShiftResult, metric: str, title: str, text: str = "") -> None:
    """Add a section with one chart per shift, over the severity, all on one scale; severity 0 is clean."""
    lines = result.lines(metric)
    report.section(title, text)
    curves = {
        shift: {name: result.curve(pipeline, shift, key, metric) for name, pipeline, key in lines}
        for shift in result.shifts
    }
    top = max((value for by in curves.values() for points in by.values() for _, value in points), default=0.0) or 1.0
    last = float(result.severities[-1])
    report.charts(
        [
            (
                shift,
                charts.line_chart(
                    by, x_label="severity", y_label=title, x_range=(0.0, last), y_range=(0.0, 1.05 * top)
                ),
            )
            for shift, by in curves.items()
            if any(by.values())
        ]
    )
