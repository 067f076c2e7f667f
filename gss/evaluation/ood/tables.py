"""The tables of `gss evaluate-ood`."""

from __future__ import annotations

from typing import Any

from gss.evaluation.ood.result import OODEvaluation, OpenSetScore
from gss.metrics.components import ComponentResult
from gss.metrics.ood import Bounded
from gss.report.text import aligned

COMPONENT_TITLES = ("sIoU", "PPV", "mean F1", "true", "predicted")
OPEN_TITLES = ("open mIoU", "closed mIoU", "gap", "anomaly IoU", "rejected", "threshold")


def format_evaluation(result: OODEvaluation) -> str:
    """Return tables for the terminal; bounds are shown where they differ from the value in three decimals."""
    facts = [result.data, f"{result.images} images", result.device]
    lines = [" · ".join(fact for fact in facts if fact), *(f"note: {remark}" for remark in result.remarks), ""]
    rows: list[list[Any]] = [
        [name, *map(bounded_text, result.row(name).values()), result.threshold(name)] for name in result.scores
    ]
    lines += aligned(["score", *result.row(result.lead), "F1 threshold (pooled)"], rows)
    if rows := component_rows(result):
        lines += ["", f"whole objects at the best-F1 threshold ({component_rules(result)})"]
        lines += aligned(["score", *COMPONENT_TITLES], rows)
    if rows := open_set_rows(result):
        lines += ["", f"open set, threshold at 95 % TPR on {result.settings['threshold_from']}"]
        lines += aligned(["score", *OPEN_TITLES], rows)
    return "\n".join(lines)


def component_rows(result: OODEvaluation) -> list[list[Any]]:
    """Return rows with the columns score and `COMPONENT_TITLES`; none without component metrics."""

    def row(metrics: ComponentResult) -> list[Any]:
        return [metrics.siou, metrics.ppv, metrics.f1_mean, metrics.true_components, metrics.predicted_components]

    return [[name, *row(score.components)] for name, score in result.scores.items() if score.components]


def open_set_rows(result: OODEvaluation) -> list[list[Any]]:
    """Return rows with the columns score and `OPEN_TITLES`; none without open-set metrics."""

    def row(score: OpenSetScore) -> list[Any]:
        metrics = score.result
        return [
            *(metrics.open_miou, metrics.closed_miou, metrics.gap),
            *(metrics.anomaly_iou, metrics.rejected, score.threshold),
        ]

    return [[name, *row(score.open_set)] for name, score in result.scores.items() if score.open_set]


def component_rules(result: OODEvaluation) -> str:
    """Return the size rules of the component metrics in words."""
    rules = result.settings["components"]
    return (
        f"{rules['track']} track: predicted from {rules['min_predicted']} px, true from {rules['min_true']} px, "
        "sizes at full resolution"
    )


def bounded_text(metric: Bounded | None) -> str | None:
    """Return a metric, with its bounds where three decimals show them."""
    if metric is None:
        return None
    value, lower, upper = (f"{part:.3f}" for part in metric)
    return value if lower == value == upper else f"{value} [{lower}, {upper}]"
