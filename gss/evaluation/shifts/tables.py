"""The tables of `gss evaluate-shifts`."""

from __future__ import annotations

from typing import Any

from gss.evaluation.shifts.result import ALARMS, METRIC_TITLES, ShiftResult
from gss.report.text import aligned


def summary_rows(result: ShiftResult) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows: clean and shifted metrics by pipeline and mode, and the drop of the mIoU in percent."""
    header = ["pipeline · decode"]
    header += [f"{title} {state}" for title in METRIC_TITLES.values() for state in ("clean", "shifted")]
    rows: list[list[Any]] = []
    for title, name, mode in result.lines("modes"):
        means = result.pipelines[name].summary.modes[mode]
        relative = means["miou"].relative_drop
        values = [means[metric][state] for metric in METRIC_TITLES for state in ("clean", "shifted")]
        rows.append([title, *values, None if relative is None else 100 * relative])
    return [*header, "mIoU drop, %"], rows


def mean_rows(result: ShiftResult, metric: str, by: str) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows: the clean value, then the mean of each shift or severity; a column per chart line.

    Args:
        result: an evaluation.
        metric: key of `METRIC_TITLES`, or `ALARMS`.
        by: `by_shift` or `by_severity`.
    """
    lines = result.lines(metric)
    means = [result.pipelines[name].summary.means(key, metric) for _, name, key in lines]
    rows: list[list[Any]] = [["clean", *(part.clean for part in means)]]
    if by == "by_shift":
        rows += [[shift, *(part.by_shift[shift] for part in means)] for shift in result.shifts]
        rows.append(["mean of shifts", *(part.shifted for part in means)])
    else:
        rows += [[f"severity {level}", *(part.by_severity[level] for part in means)] for level in result.severities]
    return ["", *(title for title, _, _ in lines)], rows


def format_result(result: ShiftResult) -> str:
    """Return tables for the terminal: means, then mIoU and false alarms by shift and by severity."""
    levels = ", ".join(map(str, result.severities))
    facts = [
        result.data,
        f"{result.images} images",
        f"{len(result.shifts)} shifts",
        f"severity {levels}",
        result.device,
    ]
    parts = [" · ".join(fact for fact in facts if fact), "", *aligned(*summary_rows(result))]
    share, source = result.settings["false_alarms"], result.settings["threshold_from"]
    titles = {"miou": "mIoU", ALARMS: f"false alarms, threshold at {share:.0%} of {source}"}
    for metric, title in titles.items():
        if result.lines(metric):
            parts += ["", title, *aligned(*mean_rows(result, metric, "by_shift"))]
            parts += ["", *aligned(*mean_rows(result, metric, "by_severity"))]
    return "\n".join(parts)
