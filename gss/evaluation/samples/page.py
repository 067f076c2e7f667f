"""The HTML page of an evaluation of drawn masks."""

from __future__ import annotations

from PIL import Image

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
    report.answer(answer_sentence(result), pictures=_proof(result))
    if result.pictures:
        report.section(
            "Pictures", "Hypotheses of one image, and where they differ: from black (0) to yellow (0.7 nats)."
        )
        report.legend(result.class_names, result.class_colors)
        report.picture_rows(PICTURE_TITLES, result.pictures)
    if result.generated:
        report.section("Masks without image", "Left the generated mask, right the nearest training mask.")
        report.pictures(result.generated, columns=3)
    report.section("Results")
    for number, table in enumerate(tables.tables):
        if number < 2:
            report.add_table(table)
            continue
        with report.folded(table.title):
            report.paragraph(" ".join(table.notes))
            report.add_table(table, titled=False)
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
    report.section("Raw numbers")
    return report.details("All results", result.to_json())


def _completion_charts(result: CompletionResult) -> list[tuple[str, charts.Markup]]:
    """Return mIoU by the share that is given, a curve for each kind, for each guide that reads what is given."""
    plots = []
    for guide, title in (
        ("image", "Completion, image + given"),
        ("no_image", "Completion, given alone"),
        ("walk", "Walk along edges from what is given"),
    ):
        series: dict[str, list[tuple[float, float]]] = {}
        for point in result.points:
            value = point.miou.get(guide)
            if value is not None:
                series.setdefault(point.kind, []).append((100 * point.reached, 100 * value))
        if series:
            plots.append(
                (title, charts.line_chart(series, x_label="given pixels in %", y_label="mIoU of the rest in %"))
            )
    return plots


def answer_sentence(result: SampleResult) -> str:
    """Return one sentence on what the joint prior gains, by the first part that was measured."""
    if result.bits is not None and result.bits.cells and result.bits.joint is not None:
        gain = 1 - result.bits.joint / result.bits.cells
        how = f"{gain:.1%} fewer bits than" if gain > 0 else f"{-gain:.1%} more bits than"
        return f"With the joint prior the true masks of {result.data} need {how} with independent cells."
    if result.hypotheses is not None:
        known = {name: source.matched_iou for name, source in result.hypotheses.sources.items()}
        scored = {name: value for name, value in known.items() if value is not None}
        if scored:
            best = max(scored, key=lambda name: scored[name])
            return f"Masks drawn by {best} match the truths of {result.data} best, with an IoU of {scored[best]:.1%}."
    if result.corrections is not None and result.corrections.miou[0] is not None:
        curve = [value for value in result.corrections.miou if value is not None]
        return (
            f"After {result.corrections.corrections} corrections of a cell the masks of {result.data} have a mIoU of "
            f"{curve[-1]:.1%}, before them {curve[0]:.1%}."
        )
    if result.completion is not None and result.completion.points:
        point = result.completion.points[0]
        with_image = point.miou["image"]
        if with_image is not None:
            return (
                f"With {point.reached:.1%} of the pixels given ({point.kind}) the others are completed with a mIoU of "
                f"{with_image:.1%}."
            )
    return f"Masks of {result.data} were drawn; the tables compare them with real ones."


def _proof(result: SampleResult) -> list[tuple[Image.Image, str]]:
    """Return image, hypotheses and truth, or generated masks beside their nearest training masks."""
    if result.pictures:
        caption, row = result.pictures[0]
        named = dict(zip(PICTURE_TITLES, row, strict=True))
        kinds = ("image", "hypothesis 1", "hypothesis 2", "mutual information")
        return [(named[kind], f"{kind} ({caption})" if kind == "image" else kind) for kind in kinds]
    return list(result.generated[:4])
