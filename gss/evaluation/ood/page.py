"""The HTML page of out-of-distribution evaluations: tables, curves, histograms and heat maps."""

from collections.abc import Sequence
from typing import Literal

from gss.data.outliers.benchmarks import OOD_LABELS
from gss.evaluation.ood.result import OODEvaluation
from gss.evaluation.ood.tables import object_tables, score_table
from gss.report import charts
from gss.report.page import Report
from gss.report.pictures import VOID
from gss.report.tables import Cell, Table


def build_page(results: Sequence[OODEvaluation]) -> Report:
    """Return the page of an evaluation, or of several data sets."""
    data = ", ".join(result.data for result in results)
    report = Report("Out-of-distribution results", subtitle=f"{results[0].pipeline} · {data} · {results[0].device}")
    if len(results) > 1:
        _add_overview(report, results)
    for result in results:
        add_ood(report, result, title=result.data if len(results) > 1 else "")
    report.section("Raw numbers")
    for result in results:
        values = result.to_json()
        report.details(f"Settings of {result.data}", values["settings"])
        report.details(f"AP of each image of {result.data} ({result.lead})", values["frames"])
        metrics = {
            name: {key: part[key] for key in ("pooled", "per_image", "components", "open_set")}
            for name, part in values["scores"].items()
        }
        report.details(f"All metrics of {result.data}, with bounds", metrics)
    return report


def add_ood(report: Report, result: OODEvaluation, *, title: str = "") -> None:
    """Add tiles, tables, curves, histograms and pictures of one evaluation.

    Args:
        report: report that gets up to four more sections.
        result: result of `evaluate_ood`.
        title: prefix of the section titles, to tell data sets in one report apart.
    """
    prefix = f"{title}: " if title else ""
    report.section(f"{prefix}results" if title else "Results")
    report.tiles(key_metrics(result))
    for table in (score_table(result), *object_tables(result)):
        report.add_table(table)
    for remark in result.remarks:
        report.paragraph(f"{remark[0].upper()}{remark[1:]}.")
    if any(score.curve for score in result.scores.values()):
        report.section(f"{prefix}curves" if title else "Curves")
        add_curves(report, result)
        report.section(f"{prefix}scores of inliers and outliers" if title else "Scores of inliers and outliers")
        _add_histograms(report, result)
    if result.pictures:
        report.section(f"{prefix}images" if title else "Images")
        add_frames(report, result)


def key_metrics(result: OODEvaluation) -> list[tuple[str, str, str]]:
    """Return tiles with the metrics of the lead score, each beside the best other score."""
    tiles = []
    for text, metric in result.row(result.lead).items():
        others = {name: other for name in result.scores if name != result.lead and (other := result.row(name)[text])}
        note = text.partition("(")[2].rstrip(")")
        if others:
            choose = min if text.startswith("FPR") else max
            best = choose(others, key=lambda name: others[name].value)
            note += f"; {best} {others[best].value:.3f}"
        value = "–" if metric is None else f"{metric.value:.3f}"
        tiles.append((f"{text.partition(' (')[0]} of {result.lead}", value, note))
    pooled = result.scores[result.lead].pooled
    share = pooled.outliers / max(pooled.outliers + pooled.inliers, 1)
    return [*tiles, ("Outliers", f"{100 * share:.2f} %", f"of the pixels counted in {result.images} images")]


def add_curves(report: Report, result: OODEvaluation, *, names: Sequence[str] | None = None) -> None:
    """Add precision-recall and ROC curves.

    Args:
        report: report whose last section gets them.
        result: an evaluation with at least one curve.
        names: names of the scores; all by default.
    """
    curves = {name: curve for name in names or result.scores if (curve := result.scores[name].curve) is not None}
    precision = {name: list(zip(c["tpr"], c["precision"], strict=True)) for name, c in curves.items()}
    roc = {name: [(0.0, 0.0), *zip(c["fpr"], c["tpr"], strict=True)] for name, c in curves.items()}
    unit = (0.0, 1.0)
    report.charts(
        [
            (
                "Precision over recall (pooled)",
                charts.line_chart(precision, x_label="recall", y_label="precision", x_range=unit, y_range=unit),
            ),
            (
                "ROC (pooled)",
                charts.line_chart(
                    roc, x_label="false positive rate", y_label="true positive rate", x_range=unit, y_range=unit
                ),
            ),
        ]
    )


def add_frames(report: Report, result: OODEvaluation) -> None:
    """Add image, truth and heat maps of the images with the lowest and the highest AP."""
    report.paragraph(
        f"Images with the lowest and the highest AP of {result.lead}, each ranked by itself. Heat maps run from dark "
        "(in) to yellow (out), each score on one scale for all images."
    )
    report.legend([*OOD_LABELS.names, "void"], [*OOD_LABELS.colors, VOID])
    report.picture_rows(result.picture_titles, result.pictures)


def _add_histograms(report: Report, result: OODEvaluation) -> None:
    plots = [
        (
            name,
            charts.histogram(part["edges"], {"in": part["inliers"], "out": part["outliers"]}, x_label=name),
        )
        for name, score in result.scores.items()
        if (part := score.histogram) is not None
    ]
    report.paragraph("Shares of the pixels of each kind; the outer 0.1 % lie in the first and last interval.")
    report.charts(plots)


def _add_overview(report: Report, results: Sequence[OODEvaluation]) -> None:
    """Add a section with the first three metrics of each score on every data set."""
    columns = [(result, column) for result in results for column in list(result.row(result.lead))[:3]]
    titles = [f"{result.data} {column}" for result, column in columns]
    rows: list[list[Cell]] = []
    for name in dict.fromkeys(name for result in results for name in result.scores):
        metrics = [result.row(name)[column] for result, column in columns]
        rows.append([name, *(None if metric is None else metric.value for metric in metrics)])
    report.section("Overview")
    best: dict[str, Literal["max", "min"]] = {title: "min" if "FPR" in title else "max" for title in titles}
    report.add_table(Table("", ["score", *titles], rows, best=best))
