"""The tables of `gss cross-domain`, which terminal, Markdown and HTML share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gss.core.files import atomic_path
from gss.evaluation.cross_domain.counts import HARD, PROBABILITIES, WAYS
from gss.evaluation.cross_domain.result import FIGURES, CrossDomainResult
from gss.report.text import aligned

_DROP = "Away: mean of the test sets out of domain. Drop: in domain minus that."
# Longest per-class table of the terminal.
_CLASSES = 40


class Table(NamedTuple):
    """One table of the outputs; cells are names, numbers, `None`, or texts such as 0.512 ± 0.004."""

    title: str
    text: str
    header: list[str]
    rows: list[list[Any]]


def facts(result: CrossDomainResult) -> str:
    """One line on what was measured and how."""
    sizes = [f"{name} ({data['images']} images)" for name, data in result.data.items()]
    return " · ".join([", ".join(sizes), result.settings["resolution"], result.device])


def tables(result: CrossDomainResult) -> list[Table]:
    """All tables of a result."""
    text = "In the classes of the test set, of those that the pipeline can predict."
    if drops_in_own_classes(result):
        found = [_matrix(result, "miou", f"{text} {_DROP}")]
    else:
        text = f"{text} Test sets differ in classes, which makes some easier: judge the drop in the common classes."
        found = [_matrix(result, "miou", text, drop=False)]
    if result.common:
        text = f"In the {len(result.common)} classes that all tell apart: {', '.join(result.common)}. {_DROP}"
        found.append(_matrix(result, "miou_common", text))
    found += [_details(result), *_classes(result)]
    if any(group["scores"] for group in result.groups.values()):
        found.append(_alarms(result))
    return [*found, _mappings(result)]


def drops_in_own_classes(result: CrossDomainResult) -> bool:
    """Whether mIoU of one test set compares with that of another."""
    return not result.common or len({tuple(data["classes"]) for data in result.data.values()}) == 1


def format_result(result: CrossDomainResult) -> str:
    """The tables for the terminal; long ones of classes are left to the files."""
    parts = [facts(result)]
    for table in tables(result):
        if len(table.rows) <= _CLASSES:
            parts += ["", table.title, *([table.text] if table.text else []), *aligned(table.header, table.rows)]
    return "\n".join([*parts, *([""] if result.notes else []), *(f"note: {note}" for note in result.notes)])


def to_markdown(result: CrossDomainResult) -> str:
    """The tables as a page of Markdown."""
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
    names: Sequence[str], lines: Mapping[str, tuple[Sequence[Any], Mapping[str, Any]]], *, drop: bool = True
) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of a matrix: a figure by test set, then its means and the drop.

    Args:
        names: Test sets.
        lines: Title of a row to its figures and what `transfer` gives, numbers or `over_seeds` of them.
        drop: Show the drop.
    """
    means = {"mean": "mean", "harmonic": "harm. mean", "away": "away", "away_harmonic": "harm. away"}
    means |= {"drop": "drop"} if drop else {}
    rows = [
        [title, *map(shown, values), *(shown(found[key]) for key in means)] for title, (values, found) in lines.items()
    ]
    return ["model · decode", *names, *means.values()], rows


def shown(value: Any) -> Any:
    """A cell: the number itself, or mean ± spread over seeds."""
    if not isinstance(value, dict):
        return value
    if value["mean"] is None or value["std"] is None:
        return value["mean"]
    return f"{value['mean']:.3f} ± {value['std']:.3f}"


def _matrix(result: CrossDomainResult, figure: str, text: str, *, drop: bool = True) -> Table:
    lines = {}
    for title, name, mode in result.lines():
        cells, summary = result.groups[name]["cells"], result.groups[name]["summary"]
        values = [cells[data]["modes"][mode][PROBABILITIES][figure] for data in result.data]
        lines[title] = (values, summary[mode][PROBABILITIES][figure])
    return Table(FIGURES[figure], text, *matrix_rows(list(result.data), lines, drop=drop))


def _details(result: CrossDomainResult) -> Table:
    figures = [figure for figure in FIGURES if result.common or figure != "miou_common"]
    rows = []
    for title, name, mode in result.lines():
        for data in result.data:
            found = result.groups[name]["cells"][data]["modes"][mode]
            by_way = {way: [shown(found[way][figure]) for figure in figures] for way in WAYS}
            if by_way[PROBABILITIES] == by_way[HARD]:
                by_way = {"either": by_way[HARD]}
            rows += [[f"{title} · {data}", way, *values] for way, values in by_way.items()]
    text = (
        "Probabilities of source classes add up, then the best target is taken; hard: the best source class is "
        "translated. All classes: those the pipeline cannot predict count as missed."
    )
    header = ["model · decode · test set", "mapping", *(FIGURES[figure] for figure in figures)]
    return Table("Both mappings", text, header, rows)


def _classes(result: CrossDomainResult) -> list[Table]:
    def rows(names: Sequence[str], figure: str, columns: Sequence[tuple[str, str]]) -> list[list[Any]]:
        found = [
            result.groups[group]["cells"][data]["modes"][result.groups[group]["default_mode"]][PROBABILITIES][figure]
            for group, data in columns
        ]
        return [[name, *(shown(values[index]) for values in found)] for index, name in enumerate(names)]

    made = []
    if result.common:
        columns = [(group, data) for group in result.groups for data in result.data]
        header = ["common class", *(f"{group} · {data}" for group, data in columns)]
        text = "IoU of each common class in every domain, default decode mode."
        made.append(Table("Classes across domains", text, header, rows(result.common, "iou_common", columns)))
    for data, about in result.data.items():
        columns = [(group, data) for group in result.groups]
        table = rows(about["classes"], "iou", columns)
        made.append(Table(f"Classes of {data}", "", ["class", *result.groups], table))
    return made


def _alarms(result: CrossDomainResult) -> Table:
    rows = []
    foreign = [data for data in result.data if any(group["pairs"][data]["foreign"] for group in result.groups.values())]
    for name, group in result.groups.items():
        for score in group["scores"]:
            seen = [group["cells"][data]["alarms"][score] for data in result.data]
            unknown = [group["cells"][data]["alarms_foreign"][score] for data in foreign]
            rows.append([f"{name} · {score} ({group['reference']})", *map(shown, [*seen, *unknown])])
    share = result.settings["false_alarms"]
    text = (
        f"Share of the labelled pixels that raise an alarm, threshold at {share:.0%} of the test set in brackets. "
        "Pixels of classes that the pipeline knows: nothing there is unknown, what rises is the domain's doing."
    )
    header = ["model · score (threshold)", *result.data, *(f"{data}, classes unknown to the model" for data in foreign)]
    return Table("Alarms", text, header, rows)


def _mappings(result: CrossDomainResult) -> Table:
    rows = [
        [f"{name} · {data}", pair["origin"], *(", ".join(pair[key]) or "-" for key in ("unreachable", "dropped"))]
        for name, group in result.groups.items()
        for data, pair in group["pairs"].items()
    ]
    return Table("Mappings", "", ["model · test set", "mapping", "never predicted", "left out"], rows)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", "\\|")
