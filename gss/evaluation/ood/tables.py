"""The tables of `gss evaluate-ood`."""

from __future__ import annotations

from gss.evaluation.ood.result import OODEvaluation, OpenSetScore
from gss.evaluation.table_set import ResultTables
from gss.metrics.components import ComponentResult
from gss.metrics.ood import Bounded
from gss.report.tables import Cell, Table


def ood_tables(result: OODEvaluation) -> ResultTables:
    """Return all tables of an evaluation."""
    facts = [result.pipeline, result.data, f"{result.images} images", result.device]
    tables = [score_table(result), *object_tables(result)]
    return ResultTables("Out-of-distribution results", facts, tables, result.remarks)


LEGEND = (
    "AP: area under precision over recall, the share of right alarms at every share found. AUROC: probability that an "
    "unknown pixel scores higher than a known one. FPR at 95% TPR: share of known pixels that raise an alarm where 95% "
    "of the unknown ones do."
)
_RULES = {
    "first_at_least": "at the first threshold with at least 95%",
    "first_above": "at the first threshold with more than 95%",
    "nearest": "at the threshold with the nearest to 95%",
    "nearest_thinned": "at the threshold of the thinned curve with the nearest to 95%",
}


def score_table(result: OODEvaluation, *, title: str = "Scores", bounds: bool = True) -> Table:
    """Return the pixel metrics of each score, best first, with a column of bounds where a decimal shows them.

    Args:
        result: an evaluation.
        title: title of the table, before how the metrics are taken over the images.
        bounds: whether to show bounds.
    """
    rows = {name: result.row(name) for name in result.scores}
    columns = list(rows[result.lead])
    bounded = [
        column
        for column in columns
        if bounds and any("[" in (bounded_text(row[column]) or "") for row in rows.values())
    ]
    cells: list[list[Cell]] = []
    for name, row in rows.items():
        values = [None if metric is None else metric.value for metric in row.values()]
        cells.append([name, *values, result.threshold(name), *(bounded_text(row[column]) for column in bounded)])
    return Table(
        f"{title}, {result.over_images}",
        ["score", *columns, "threshold of best F1", *(f"{column} with bounds" for column in bounded)],
        cells,
        notes=[f"{LEGEND[:-1]}, {_RULES[result.fpr_rule]} ({result.fpr_rule})."],
        formats=dict.fromkeys(columns, ".1%"),
        best={column: "min" if column.startswith("FPR") else "max" for column in columns},
    ).ranked()


def object_tables(result: OODEvaluation) -> list[Table]:
    """Return the metrics of whole objects and of open-set segmentation, as far as they were measured."""
    components = {name: score.components for name, score in result.scores.items() if score.components}
    open_set = {name: score.open_set for name, score in result.scores.items() if score.open_set}
    tables = []
    if components:
        tables.append(
            Table(
                f"Whole objects at the best-F1 threshold ({component_rules(result)})",
                ["score", "sIoU", "PPV", "mean F1", "true", "predicted"],
                [[name, *_component_row(metrics)] for name, metrics in components.items()],
                notes=["sIoU: how well objects are covered. PPV: how much of what is found belongs to an object."],
                formats=dict.fromkeys(("sIoU", "PPV", "mean F1"), ".1%"),
                best={"mean F1": "max", "sIoU": "max", "PPV": "max"},
            ).ranked()
        )
    if open_set:
        tables.append(
            Table(
                f"Open set, threshold at 95 % TPR on {result.settings['threshold_from']}",
                ["score", "open mIoU", "closed mIoU", "gap", "anomaly IoU", "rejected", "threshold"],
                [[name, *_open_set_row(metrics)] for name, metrics in open_set.items()],
                formats=dict.fromkeys(("open mIoU", "closed mIoU", "gap", "anomaly IoU", "rejected"), ".1%"),
                best={"open mIoU": "max", "gap": "min", "anomaly IoU": "max"},
            ).ranked()
        )
    return tables


def component_rules(result: OODEvaluation) -> str:
    """Return the size rules of the component metrics in words."""
    rules = result.settings["components"]
    return (
        f"{rules['track']} track: predicted from {rules['min_predicted']} px, true from {rules['min_true']} px, "
        "sizes at full resolution"
    )


def bounded_text(metric: Bounded | None) -> str | None:
    """Return a metric in percent, with its bounds where one decimal shows them."""
    if metric is None:
        return None
    value, lower, upper = (f"{100 * part:.1f}" for part in metric)
    return f"{value}%" if metric.upper - metric.lower < 0.001 else f"{value}% [{lower}, {upper}]"


def _component_row(metrics: ComponentResult) -> list[Cell]:
    return [metrics.siou, metrics.ppv, metrics.f1_mean, metrics.true_components, metrics.predicted_components]


def _open_set_row(score: OpenSetScore) -> list[Cell]:
    metrics = score.result
    values = (metrics.open_miou, metrics.closed_miou, metrics.gap, metrics.anomaly_iou, metrics.rejected)
    return [*values, score.threshold]
