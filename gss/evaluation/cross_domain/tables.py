"""The tables of `gss cross-domain`, for terminal, Markdown and HTML."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gss.core.files import atomic_path
from gss.evaluation.cross_domain.result import (
    HARD,
    METRIC_TITLES,
    PROBABILITIES,
    WAYS,
    CrossDomainResult,
    Spread,
    Transfer,
)
from gss.report.text import aligned

# Column of a matrix behind those of the test sets: attribute of `Transfer` -> title.
MEAN_TITLES = {
    "mean": "mean",
    "harmonic": "harm. mean",
    "away": "out of domain",
    "away_harmonic": "harm. out of domain",
    "drop": "drop",
}
_DROP = "Out of domain: mean of the test sets out of domain. Drop: in domain minus that."
# Longest table of classes in the terminal.
_CLASSES = 40


class Table(NamedTuple):
    """One table of the outputs; cells are names, numbers, `None`, or texts such as 0.512 ± 0.004."""

    title: str
    text: str
    header: list[str]
    rows: list[list[Any]]


def facts(result: CrossDomainResult) -> str:
    """Return one line with the test sets, the resolution and the device."""
    sizes = [f"{name} ({data.images} images)" for name, data in result.data.items()]
    return " · ".join([", ".join(sizes), result.settings["resolution"], result.device])


def tables(result: CrossDomainResult) -> list[Table]:
    """Return all tables of a result."""
    text = "In the classes of the test set that the pipeline can predict."
    if drops_in_own_classes(result):
        made = [_matrix(result, "miou", f"{text} {_DROP}")]
    else:
        text = f"{text} Test sets differ in classes, so some are easier: read the drop in the common classes."
        made = [_matrix(result, "miou", text, drop=False)]
    if result.common:
        text = f"In the {len(result.common)} classes that all tell apart: {', '.join(result.common)}. {_DROP}"
        made.append(_matrix(result, "miou_common", text))
    made += [_details(result), *_classes(result)]
    if any(group.scores for group in result.groups.values()):
        made.append(_alarms(result))
    return [*made, _mappings(result)]


def drops_in_own_classes(result: CrossDomainResult) -> bool:
    """Return whether the mIoU of one test set can be compared with that of another."""
    return not result.common or len({tuple(data.classes) for data in result.data.values()}) == 1


def format_result(result: CrossDomainResult) -> str:
    """Return the tables for the terminal, without long tables of classes."""
    parts = [facts(result)]
    for table in tables(result):
        if len(table.rows) <= _CLASSES:
            parts += ["", table.title, *([table.text] if table.text else []), *aligned(table.header, table.rows)]
    return "\n".join([*parts, *([""] if result.notes else []), *(f"note: {note}" for note in result.notes)])


def to_markdown(result: CrossDomainResult) -> str:
    """Return the tables as a page of Markdown."""
    parts = ["# Train here, measure there", facts(result)]
    for table in tables(result):
        lines = ["| " + " | ".join(map(_text, row)) + " |" for row in (table.header, *table.rows)]
        lines.insert(1, "| --- |" + " ---: |" * (len(table.header) - 1))
        parts += [f"## {table.title}", *([table.text] if table.text else []), "\n".join(lines)]
    parts += ["## Notes", "\n".join(f"- {note}" for note in result.notes)] if result.notes else []
    return "\n\n".join(parts) + "\n"


def write_markdown(result: CrossDomainResult, path: str | os.PathLike[str]) -> None:
    """Write the tables as a page of Markdown."""
    with atomic_path(path) as temporary:
        temporary.write_text(to_markdown(result), encoding="utf-8")


def matrix_rows(
    test_sets: Sequence[str], lines: Mapping[str, tuple[Sequence[Any], Transfer[Any]]], *, drop: bool = True
) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of a matrix: a metric by test set, then its means and the drop.

    Args:
        test_sets: names of the test sets.
        lines: title of a row to the metric by test set and its means; numbers, or their `Spread` over the seeds.
        drop: whether to show the drop.
    """
    means = [key for key in MEAN_TITLES if drop or key != "drop"]
    rows = [
        [title, *map(cell_text, values), *(cell_text(transfer[key]) for key in means)]
        for title, (values, transfer) in lines.items()
    ]
    return ["model · decode", *test_sets, *(MEAN_TITLES[key] for key in means)], rows


def cell_text(value: float | Spread | None) -> float | str | None:
    """Return a cell: the number itself, or mean ± standard deviation over the seeds."""
    if not isinstance(value, Spread):
        return value
    if value.mean is None or value.std is None:
        return value.mean
    return f"{value.mean:.3f} ± {value.std:.3f}"


def _matrix(result: CrossDomainResult, metric: str, text: str, *, drop: bool = True) -> Table:
    lines = {}
    for title, name, mode in result.lines():
        values = [result.metrics(name, data, mode)[metric] for data in result.data]
        lines[title] = (values, result.groups[name].summary[mode][PROBABILITIES][metric])
    return Table(METRIC_TITLES[metric], text, *matrix_rows(list(result.data), lines, drop=drop))


def _details(result: CrossDomainResult) -> Table:
    metrics = [metric for metric in METRIC_TITLES if result.common or metric != "miou_common"]
    rows = []
    for title, name, mode in result.lines():
        for data in result.data:
            by_way = {
                way: [cell_text(result.metrics(name, data, mode, way)[metric]) for metric in metrics] for way in WAYS
            }
            if by_way[PROBABILITIES] == by_way[HARD]:
                by_way = {"either": by_way[HARD]}
            rows += [[f"{title} · {data}", way, *values] for way, values in by_way.items()]
    text = (
        "Probabilities: those of the pipeline's classes are added up by target, and the most probable target is taken. "
        "Hard: the most probable class is translated. All classes: classes that the pipeline cannot predict count as "
        "missed."
    )
    header = ["model · decode · test set", "mapping", *(METRIC_TITLES[metric] for metric in metrics)]
    return Table("Both mappings", text, header, rows)


def _classes(result: CrossDomainResult) -> list[Table]:
    def rows(names: Sequence[str], metric: str, columns: Sequence[tuple[str, str]]) -> list[list[Any]]:
        ious = [result.metrics(group, data, result.groups[group].default_mode)[metric] for group, data in columns]
        return [[name, *(cell_text(values[index]) for values in ious)] for index, name in enumerate(names)]

    made = []
    if result.common:
        columns = [(group, data) for group in result.groups for data in result.data]
        header = ["common class", *(f"{group} · {data}" for group, data in columns)]
        text = "IoU of each common class on every test set, default decode mode."
        made.append(Table("Classes across domains", text, header, rows(result.common, "iou_common", columns)))
    for data, test_set in result.data.items():
        columns = [(group, data) for group in result.groups]
        header = ["class", *result.groups]
        made.append(Table(f"Classes of {data}", "", header, rows(test_set.classes, "iou", columns)))
    return made


def _alarms(result: CrossDomainResult) -> Table:
    foreign = [data for data in result.data if any(group.pairs[data].foreign for group in result.groups.values())]
    rows = []
    for name, group in result.groups.items():
        for score in group.scores:
            known = [group.cells[data].alarms[score] for data in result.data]
            unknown = [group.cells[data].alarms_foreign[score] for data in foreign]
            rows.append([f"{name} · {score} ({group.reference})", *map(cell_text, [*known, *unknown])])
    share = result.settings["false_alarms"]
    text = (
        f"Share of the labelled pixels that raise an alarm; the threshold is set at {share:.0%} on the test set in "
        "brackets. Pixels of classes that the pipeline knows: none of these classes is unknown to the model, so any "
        "increase is caused by the change of domain."
    )
    header = ["model · score (threshold)", *result.data, *(f"{data}, classes unknown to the model" for data in foreign)]
    return Table("Alarms", text, header, rows)


def _mappings(result: CrossDomainResult) -> Table:
    rows = [
        [f"{name} · {data}", pair.origin, ", ".join(pair.unreachable) or "-", ", ".join(pair.dropped) or "-"]
        for name, group in result.groups.items()
        for data, pair in group.pairs.items()
    ]
    return Table("Mappings", "", ["model · test set", "mapping", "never predicted", "left out"], rows)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", "\\|")
