"""The HTML page of out-of-distribution evaluations: tables, curves, histograms and heat maps."""

from collections.abc import Sequence
from typing import Literal

from gss.data.outliers.benchmarks import OOD_LABELS
from gss.evaluation.ood.result import OPEN_TITLES, OODEvaluation, bounded_text, component_rules, open_row
from gss.metrics.ood import Bounded
from gss.report import charts
from gss.report.page import Report
from gss.report.pictures import VOID


def build_page(results: Sequence[OODEvaluation]) -> Report:
    """Page of one evaluation or of several data sets."""
    data = ", ".join(result.data for result in results)
    report = Report("Out-of-distribution results", subtitle=f"{results[0].pipeline} · {data} · {results[0].device}")
    if len(results) > 1:
        _add_overview(report, results)
    for result in results:
        add_ood(report, result, title=result.data if len(results) > 1 else "")
    report.section("Raw numbers")
    for result in results:
        everything = result.to_dict()
        report.details(f"Settings of {result.data}", everything["settings"])
        report.details(f"AP of each frame of {result.data} ({result.lead})", result.frames)
        figures = {
            name: {key: part[key] for key in ("pooled", "per_image", "components", "open_set")}
            for name, part in everything["scores"].items()
        }
        report.details(f"All figures of {result.data}, with bounds", figures)
    return report


def add_ood(report: Report, result: OODEvaluation, *, title: str = "") -> None:
    """Add tiles, tables, curves, histograms and frames of one evaluation.

    Args:
        report: receives up to four sections.
        result: what `gss.evaluation.ood.evaluate.evaluate_ood` found.
        title: prefix of the section titles, to tell data sets in one report apart.
    """
    prefix = f"{title}: " if title else ""
    report.section(f"{prefix}results" if title else "Results")
    report.tiles(key_figures(result))
    add_table(report, result)
    parts = [(name, figures.components) for name, figures in result.scores.items() if figures.components]
    if parts:
        report.table(
            ["score", "sIoU", "PPV", "mean F1", "true", "predicted"],
            [[name, c.siou, c.ppv, c.f1_mean, c.true_components, c.predicted_components] for name, c in parts],
            best={"sIoU": "max", "PPV": "max", "mean F1": "max"},
            caption=f"Whole objects at the best-F1 threshold; {component_rules(result)}.",
        )
    opened = [(name, figures.open_set) for name, figures in result.scores.items() if figures.open_set]
    if opened:
        report.table(
            ["score", *OPEN_TITLES],
            [[name, *open_row(figures).values()] for name, figures in opened],
            best={"open mIoU": "max", "gap": "min", "anomaly IoU": "max"},
            caption=f"Open-set mIoU; thresholds at 95 % TPR on {result.settings['threshold_from']}.",
        )
    if any(figures.curve for figures in result.scores.values()):
        report.section(f"{prefix}curves" if title else "Curves")
        add_curves(report, result)
        report.section(f"{prefix}scores of in and out" if title else "Scores of in and out")
        _add_histograms(report, result)
    if result.pictures:
        report.section(f"{prefix}frames" if title else "Frames")
        add_frames(report, result)


def key_figures(result: OODEvaluation) -> list[tuple[str, str, str]]:
    """Tiles with the figures of the lead, each beside the best other score."""
    tiles = []
    for text, figure in result.row(result.lead).items():
        others = {name: other for name in result.scores if name != result.lead and (other := result.row(name)[text])}
        note = text.partition("(")[2].rstrip(")")
        if others:
            order = min if text.startswith("FPR") else max
            rival = order(others, key=lambda name: others[name].value)
            note += f"; {rival} {others[rival].value:.3f}"
        value = "–" if figure is None else f"{figure.value:.3f}"
        tiles.append((f"{text.partition(' (')[0]} of {result.lead}", value, note))
    pooled = result.scores[result.lead].pooled
    share = pooled.outliers / max(pooled.outliers + pooled.inliers, 1)
    return [*tiles, ("Outliers", f"{100 * share:.2f} %", f"of the pixels counted in {result.images} images")]


def add_table(report: Report, result: OODEvaluation, *, caption: str = "") -> None:
    """Add the table of scores, and what a reader must know of it.

    Args:
        report: receives the table.
        result: an evaluation.
        caption: first sentence of the caption.
    """
    rows = {name: result.row(name) for name in result.scores}
    titles = list(rows[result.lead])
    best: dict[str, Literal["max", "min"]] = {text: "min" if text.startswith("FPR") else "max" for text in titles}
    bounds = any(_wide(figure) for row in rows.values() for figure in row.values())
    report.table(
        ["score", *titles, "F1 threshold (pooled)", *(["FPR95 with bounds"] if bounds else [])],
        [
            [
                name,
                *(None if figure is None else figure.value for figure in row.values()),
                result.threshold(name),
                *([bounded_text(next(figure for text, figure in row.items() if text.startswith("FPR")))] * bounds),
            ]
            for name, row in rows.items()
        ],
        best=best,
        caption=" ".join([*([caption] if caption else []), *(f"{remark}." for remark in result.remarks)]),
    )


def add_curves(report: Report, result: OODEvaluation, *, names: Sequence[str] | None = None) -> None:
    """Add precision-recall and ROC curves.

    Args:
        report: receives them.
        result: an evaluation with at least one curve.
        names: scores; all by default.
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
    """Add image, truth and heat maps of the worst and best frames."""
    report.paragraph(
        f"Frames with the lowest and highest AP of {result.lead}, each ranked by itself. Heat maps run from dark (in) "
        "to yellow (out), each score on one scale for all frames."
    )
    report.legend([*OOD_LABELS.names, "void"], [*OOD_LABELS.colors, VOID])
    report.picture_rows(result.picture_titles, result.pictures)


def _add_histograms(report: Report, result: OODEvaluation) -> None:
    plots = [
        (
            name,
            charts.histogram(part["edges"], {"in": part["inliers"], "out": part["outliers"]}, x_label=name),
        )
        for name, figures in result.scores.items()
        if (part := figures.histogram) is not None
    ]
    report.paragraph("Shares of the pixels of each kind; the outer 0.1 % lie in the first and last interval.")
    report.charts(plots)


def _add_overview(report: Report, results: Sequence[OODEvaluation]) -> None:
    report.section("Overview")
    header = [f"{result.data} {text}" for result in results for text in list(result.row(result.lead))[:3]]
    best: dict[str, Literal["max", "min"]] = {text: "min" if "FPR" in text else "max" for text in header}
    names = list(dict.fromkeys(name for result in results for name in result.scores))
    rows = [
        [
            name,
            *(
                None if figure is None else figure.value
                for result in results
                for figure in list(result.row(name).values())[:3]
            ),
        ]
        for name in names
    ]
    report.table(["score", *header], rows, best=best)


def _wide(figure: Bounded | None) -> bool:
    """Whether three decimals show the bounds."""
    return figure is not None and "[" in (bounded_text(figure) or "")
