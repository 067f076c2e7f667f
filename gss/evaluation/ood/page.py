"""The HTML page of out-of-distribution evaluations: tables, curves, histograms and heat maps."""

from collections.abc import Sequence
from typing import Literal

from gss.data.outliers.benchmarks import OOD_LABELS
from gss.evaluation.ood.pictures import BASELINE
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
    _add_answer(report, results)
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
    report.add_table(score_table(result, bounds=False))
    if result.pictures:
        report.section(f"{prefix}images" if title else "Images")
        add_frames(report, result)
    if objects := object_tables(result):
        with report.folded("Whole objects and open-set segmentation"):
            for table in objects:
                report.add_table(table)
    for remark in result.remarks:
        report.paragraph(f"{remark[0].upper()}{remark[1:]}.")
    if any(score.curve for score in result.scores.values()):
        report.section(f"{prefix}curves" if title else "Curves")
        add_curves(report, result)
        with report.folded("Scores of inliers and outliers"):
            _add_histograms(report, result)


def key_metrics(result: OODEvaluation) -> list[tuple[str, str, str]]:
    """Return tiles with the metrics of the lead score, each beside the best other score."""
    tiles = []
    for text, metric in result.row(result.lead).items():
        others = {name: other for name in result.scores if name != result.lead and (other := result.row(name)[text])}
        note = result.over_images
        if others:
            choose = min if text.startswith("FPR") else max
            best = choose(others, key=lambda name: others[name].value)
            note += f"; {best} {others[best].value:.1%}"
        value = "–" if metric is None else f"{metric.value:.1%}"
        tiles.append((f"{text} of {result.lead}", value, note))
    pooled = result.scores[result.lead].pooled
    share = pooled.outliers / max(pooled.outliers + pooled.inliers, 1)
    return [*tiles, ("Outliers", f"{share:.2%}", f"of the pixels counted in {result.images} images")]


def add_curves(report: Report, result: OODEvaluation, *, names: Sequence[str] | None = None) -> None:
    """Add precision-recall and ROC curves.

    Args:
        report: report whose last section gets them.
        result: an evaluation with at least one curve.
        names: names of the scores, of which the first six are drawn; the best by default, with the baseline.
    """
    curves = {name: curve for name in names or best_scores(result) if (curve := result.scores[name].curve) is not None}
    precision = {name: list(zip(c["tpr"], c["precision"], strict=True)) for name, c in curves.items()}
    roc = {name: [(0.0, 0.0), *zip(c["fpr"], c["tpr"], strict=True)] for name, c in curves.items()}
    unit = (0.0, 1.0)
    report.charts(
        [
            (
                "Precision over recall, pooled over images",
                charts.line_chart(precision, x_label="recall", y_label="precision", x_range=unit, y_range=unit),
            ),
            (
                "ROC, pooled over images",
                charts.line_chart(
                    roc, x_label="false positive rate", y_label="true positive rate", x_range=unit, y_range=unit
                ),
            ),
        ]
    )


def best_scores(result: OODEvaluation, count: int = charts.MOST_CURVES) -> list[str]:
    """Return the scores whose curves are drawn, best first: those of the highest AP, the lead and the plain baseline.

    Args:
        result: an evaluation.
        count: number of scores.
    """
    ap = {name: (found.value if (found := result.result(name).ap) else 0.0) for name in result.scores}
    ranked = sorted(ap, key=lambda name: -ap[name])
    kept = [name for name in dict.fromkeys((result.lead, BASELINE)) if name in ap]
    chosen = {*kept, *[name for name in ranked if name not in kept][: count - len(kept)]}
    return [name for name in ranked if name in chosen]


def answer_sentence(result: OODEvaluation) -> str:
    """Return one sentence: which score finds the unknown best, how well, and against what."""
    names = [name for name in result.scores if result.result(name).ap is not None]
    if not names:
        return f"Nothing can be said about unknown objects in {result.data}: {result.result(result.lead).reason}."
    ap = {name: found.value for name in names if (found := result.result(name).ap) is not None}
    best = max(names, key=lambda name: ap[name])
    false = result.result(best).fpr[result.fpr_rule]
    words = f"Of {len(names)} scores, {best} finds the unknown in {result.data} best"
    text = f"{words if len(names) > 1 else f'{best} looks for the unknown in {result.data}'}: its AP is {ap[best]:.1%}"
    plain = BASELINE if BASELINE in ap and best != BASELINE else None
    text += f", that of {plain} {ap[plain]:.1%}" if plain else ""
    if false is not None:
        text += f", and where it finds 95% of the unknown pixels {false.value:.1%} of the others raise an alarm"
    return f"{text} ({result.over_images})."


def _several_sentence(results: Sequence[OODEvaluation]) -> str:
    """Return one sentence on the best score of each data set."""
    parts = []
    for result in results:
        ap = {name: found.value for name in result.scores if (found := result.result(name).ap) is not None}
        if ap:
            best = max(ap, key=lambda name: ap[name])
            parts.append(f"{best} in {result.data} (AP {ap[best]:.1%})")
    return f"The unknown is found best by {', '.join(parts)}." if parts else "No data set has outliers and inliers."


def _add_answer(report: Report, results: Sequence[OODEvaluation]) -> None:
    text = answer_sentence(results[0]) if len(results) == 1 else _several_sentence(results)
    shown = next((result for result in results if result.pictures), None)
    if shown is not None:
        pictures = list(zip(shown.pictures[-1][1], shown.picture_titles, strict=True))
        report.answer(text, pictures=pictures)
        return
    bars = {result.data: {name: result.result(name).ap for name in best_scores(result)} for result in results[:1]}
    (scores,) = bars.values()
    values = [None if part is None else part.value for part in scores.values()]
    report.answer(text, chart=charts.bar_chart(list(scores), {"AP": values}, percent=True))


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
    """Add a section with the AP of each score, one column a data set."""
    columns = [(result, column) for result in results for column in list(result.row(result.lead))[:1]]
    titles = [f"{result.data}: {column}" for result, column in columns]
    rows: list[list[Cell]] = []
    for name in dict.fromkeys(name for result in results for name in result.scores):
        metrics = [result.row(name)[column] for result, column in columns]
        rows.append([name, *(None if metric is None else metric.value for metric in metrics)])
    report.section("Overview", f"Metrics {results[0].over_images}.")
    best: dict[str, Literal["max", "min"]] = {title: "min" if "FPR" in title else "max" for title in titles}
    table = Table("", ["score", *titles], rows, formats=dict.fromkeys(titles, ".1%"), best=best)
    report.add_table(table.ranked())
