"""The tables of `gss evaluate-shifts`."""

from __future__ import annotations

import math

from gss.evaluation.images import unreadable_notes
from gss.evaluation.shifts.result import ALARMS, METRIC_TITLES, ShiftResult
from gss.evaluation.table_set import ResultTables
from gss.metrics.means import averaged_over
from gss.report.tables import Cell, Table

_DROP = "mIoU drop"


def shift_tables(result: ShiftResult) -> ResultTables:
    """Return all tables of an evaluation under shifts."""
    levels = ", ".join(map(str, result.severities))
    facts = [result.data, f"{result.images} images", f"{len(result.shifts)} shifts", f"severity {levels}"]
    tables = [summary_table(result)]
    for metric in ("miou", ALARMS):
        if result.lines(metric):
            tables += [mean_table(result, metric, "by_shift"), mean_table(result, metric, "by_severity")]
    notes = unreadable_notes(result.unreadable, result.images)
    fewer = {
        averaged_over(pipeline.clean.modes[mode].iou): None
        for pipeline in result.pipelines.values()
        for mode in pipeline.clean.modes
    }
    notes += [f"means go over {over}; the others occur nowhere" for over in fewer if over]
    return ResultTables("Results under shift", [*facts, result.device], tables, notes)


def summary_table(result: ShiftResult) -> Table:
    """Return clean and shifted metrics by pipeline and mode, and the relative drop of the mIoU."""
    columns = [f"{title} {state}" for title in METRIC_TITLES.values() for state in ("clean", "shifted")]
    rows: list[list[Cell]] = []
    for title, name, mode in result.lines("miou"):
        means = result.pipelines[name].summary.modes[mode]
        values = [means[metric][state] for metric in METRIC_TITLES for state in ("clean", "shifted")]
        rows.append([title, *values, means["miou"].relative_drop])
    return Table(
        "Means",
        ["pipeline · decode", *columns, _DROP],
        rows,
        notes=["All shifts have the same weight. The drop is relative to the clean images."],
        formats=dict.fromkeys((*columns, _DROP), ".1%"),
        best={name: "min" if "error" in name or name == _DROP else "max" for name in (*columns, _DROP)},
    ).ranked("mIoU shifted")


def mean_table(result: ShiftResult, metric: str, by: str) -> Table:
    """Return the clean value, then the mean of each shift or severity; one column per line of a chart.

    Args:
        result: an evaluation.
        metric: key of `METRIC_TITLES`, or `ALARMS`.
        by: `by_shift` or `by_severity`.
    """
    lines = result.lines(metric)
    means = [result.pipelines[name].summary.means(key, metric) for _, name, key in lines]
    rows: list[list[Cell]] = [["clean", *(part.clean for part in means)]]
    if by == "by_shift":
        shifts: list[list[Cell]] = [[shift, *(part.by_shift[shift] for part in means)] for shift in result.shifts]
        low = metric in ("ece", ALARMS)  # what is least harmful comes first
        rows += sorted(shifts, key=lambda row: _order(row[1], low))
        rows.append(["mean of shifts", *(part.shifted for part in means)])
    else:
        rows += [[f"severity {level}", *(part.by_severity[level] for part in means)] for level in result.severities]
    title = "False alarms" if metric == ALARMS else METRIC_TITLES[metric]
    notes = [alarm_note(result)] if metric == ALARMS and by == "by_shift" else []
    columns = [title for title, _, _ in lines]
    name = f"{title} {by.replace('_', ' ')}"
    return Table(name, ["", *columns], rows, notes=notes, formats=dict.fromkeys(columns, ".1%"))


def _order(value: Cell, low: bool) -> float:
    """Return the key that sorts the best value first, missing ones last."""
    if not isinstance(value, int | float) or value != value:
        return math.inf
    return value if low else -value


def alarm_note(result: ShiftResult) -> str:
    """Return how false alarms are counted."""
    share, source = result.settings["false_alarms"], result.settings["threshold_from"]
    return (
        f"Share of the labelled pixels whose score reaches the threshold that {share:.1%} of the pixels reach on "
        f"{source}. The images show no unknown object, so any increase is caused by the shift."
    )
