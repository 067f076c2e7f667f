"""The HTML page of an evaluation of drawn masks."""

from __future__ import annotations

from gss.evaluation.samples.completion import CompletionResult
from gss.evaluation.samples.result import SampleResult
from gss.evaluation.samples.tables import sample_tables
from gss.report import charts
from gss.report.page import Report

PICTURE_TITLES = ("image", "truth", "hypothesis 1", "hypothesis 2", "hypothesis 3", "mutual information")


def build_page(result: SampleResult) -> Report:
    """Return the page: tables, curves and pictures."""
    tables = sample_tables(result)
    report = Report(tables.title, subtitle=tables.subtitle)
    report.section("Results")
    for table in tables.tables:
        report.add_table(table)
    for note in tables.notes:
        report.paragraph(f"{note}.")
    plots = []
    if result.completion is not None and result.completion.points:
        plots += _completion_charts(result.completion)
    if result.corrections is not None:
        curves = {"completed again": result.corrections.miou, "cell pasted": result.corrections.paste_miou}
        series = {
            name: [(float(number), 100 * value) for number, value in enumerate(curve) if value is not None]
            for name, curve in curves.items()
        }
        if any(series.values()):
            plots.append(("Corrections", charts.line_chart(series, x_label="corrections", y_label="mIoU in %")))
    if plots:
        report.section("Curves")
        report.charts(plots)
    if result.pictures:
        report.section(
            "Pictures", "Hypotheses of one image, and where they differ: from black (0) to yellow (0.7 nats)."
        )
        report.legend(result.class_names, result.class_colors)
        report.picture_rows(PICTURE_TITLES, result.pictures)
    if result.generated:
        report.section("Masks without image", "Left the generated mask, right the nearest training mask.")
        report.pictures(result.generated, columns=3)
    report.section("Raw numbers")
    return report.details("All results", result.to_json())


def _completion_charts(result: CompletionResult) -> list[tuple[str, charts.Markup]]:
    """Return mIoU by the share that is given, a curve for each kind, with and without the image."""
    plots = []
    for guide, title in (("image", "Completion, image + given"), ("no_image", "Completion, given alone")):
        series: dict[str, list[tuple[float, float]]] = {}
        for point in result.points:
            value = point.miou[guide]
            if value is not None:
                series.setdefault(point.kind, []).append((100 * point.reached, 100 * value))
        if series:
            plots.append(
                (title, charts.line_chart(series, x_label="given pixels in %", y_label="mIoU of the rest in %"))
            )
    return plots
