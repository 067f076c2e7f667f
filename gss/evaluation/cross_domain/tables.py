"""The tables of `gss cross-domain`, for terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gss.evaluation.cross_domain.result import (
    HARD,
    METRIC_TITLES,
    PROBABILITIES,
    WAYS,
    CrossDomainResult,
    Spread,
    Transfer,
)
from gss.evaluation.table_set import ResultTables
from gss.metrics.means import averaged_over
from gss.report.tables import Cell, Table

# Column of a matrix behind those of the test sets: attribute of `Transfer` -> title.
MEAN_TITLES = {
    "mean": "mean",
    "harmonic": "harmonic mean",
    "away": "out of domain",
    "away_harmonic": "harmonic mean out of domain",
    "drop": "drop",
}
_DROP = "Out of domain: mean of the test sets out of domain. Drop: in domain minus that."


def cross_domain_tables(result: CrossDomainResult) -> ResultTables:
    """Return all tables of a result."""
    sizes = ", ".join(f"{name} ({data.images} images)" for name, data in result.data.items())
    tables = [*matrix_tables(result), _details(result), *_classes(result)]
    # On the only test set the alarms are those that the threshold was set for.
    foreign = any(group.pairs[data].foreign for group in result.groups.values() for data in result.data)
    if any(group.scores for group in result.groups.values()) and (len(result.data) > 1 or foreign):
        tables.append(_alarms(result))
    facts = [sizes, result.settings["resolution"], result.device]
    return ResultTables("Train here, measure there", facts, [*tables, _mappings(result)], result.notes)


def matrix_tables(result: CrossDomainResult, *, brief: bool = False) -> list[Table]:
    """Return the mIoU by model and test set, and that of the common classes if there are any.

    Args:
        result: a matrix.
        brief: leave the harmonic means out.
    """
    note = "In the classes of the test set that the pipeline can predict."
    same_classes = same_matrix(result) or len({tuple(data.classes) for data in result.data.values()}) == 1
    if same_classes or not result.common:
        tables = [_matrix(result, "miou", [note, _DROP], brief=brief)]
    else:
        advice = "Test sets differ in classes, so some are easier: read the drop in the common classes."
        tables = [_matrix(result, "miou", [note, advice], drop=False, brief=brief)]
    if result.common and not same_matrix(result):
        note = f"In the {len(result.common)} classes that all tell apart: {', '.join(result.common)}."
        tables.append(_matrix(result, "miou_common", [note, _DROP], brief=brief))
    return tables


def same_matrix(result: CrossDomainResult) -> bool:
    """Return whether the common classes are all classes, so that their mIoU says nothing new."""
    cells = [result.metrics(name, data, mode) for _, name, mode in result.lines() for data in result.data]
    return bool(result.common) and all(cell.miou_common == cell.miou for cell in cells)


def matrix_table(
    title: str,
    test_sets: Sequence[str],
    lines: Mapping[str, tuple[Sequence[Any], Transfer[Any]]],
    *,
    notes: Sequence[str] = (),
    drop: bool = True,
    brief: bool = False,
) -> Table:
    """Return a matrix: a metric by test set, then its means and the drop.

    Args:
        title: title of the table.
        test_sets: names of the test sets.
        lines: title of a row to the metric by test set and its means; numbers, or their `Spread` over the seeds.
        notes: notes of the table.
        drop: whether to show the drop.
        brief: leave the harmonic means out.
    """
    means = [key for key in MEAN_TITLES if (drop or key != "drop") and not (brief and key.endswith("harmonic"))]
    if len(test_sets) == 1:  # all means are its own number
        means, notes = [], [note for note in notes if note != _DROP]
    rows = [
        [name, *map(cell_text, values), *(cell_text(transfer[key]) for key in means)]
        for name, (values, transfer) in lines.items()
    ]
    columns = [*test_sets, *(MEAN_TITLES[key] for key in means)]
    best: dict[str, Literal["max", "min"]] = {name: "min" if name == MEAN_TITLES["drop"] else "max" for name in columns}
    table = Table(
        title, ["model · decode", *columns], rows, notes=notes, formats=dict.fromkeys(columns, ".1%"), best=best
    )
    return table.ranked(MEAN_TITLES["mean"] if means else None)


def cell_text(value: float | Spread | None) -> float | str | None:
    """Return a cell: the share itself, or mean ± standard deviation over the seeds in percent."""
    if not isinstance(value, Spread):
        return value
    if value.mean is None or value.std is None:
        return value.mean
    return f"{100 * value.mean:.1f} ± {100 * value.std:.1f}%"


def _averages(result: CrossDomainResult) -> list[str]:
    """Return a note for the test sets of which some classes are in no mean, and why they are not."""
    found: dict[str, None] = {}
    for group, data in ((group, data) for group in result.groups for data in result.data):
        values = result.metrics(group, data, result.groups[group].default_mode)["iou"]
        means = [value.mean if isinstance(value, Spread) else value for value in values]
        over = averaged_over(means)
        if over:
            unreachable = result.groups[group].pairs[data].unreachable
            out = [name for name, mean in zip(result.data[data].classes, means, strict=True) if mean is None]
            unknown = [name for name in out if name in unreachable]
            absent = [name for name in out if name not in unreachable]
            why = [f"{group} cannot predict {', '.join(unknown)}"] if unknown else []
            why += [f"{', '.join(absent)} {'occurs' if len(absent) == 1 else 'occur'} nowhere"] if absent else []
            found[f"{over} of {data} ({', '.join(why)})"] = None
    return [f"Means go over {'; '.join(found)}."] if found else []


def _matrix(
    result: CrossDomainResult, metric: str, notes: Sequence[str], *, drop: bool = True, brief: bool = False
) -> Table:
    notes = [*notes, *(_averages(result) if metric == "miou" else [])]
    lines = {}
    for title, name, mode in result.lines():
        values = [result.metrics(name, data, mode)[metric] for data in result.data]
        lines[title] = (values, result.groups[name].summary[mode][PROBABILITIES][metric])
    return matrix_table(METRIC_TITLES[metric], list(result.data), lines, notes=notes, drop=drop, brief=brief)


def _details(result: CrossDomainResult) -> Table:
    shown = bool(result.common) and not same_matrix(result)
    metrics = [metric for metric in METRIC_TITLES if shown or metric != "miou_common"]
    rows = []
    for title, name, mode in result.lines():
        for data in result.data:
            by_way = {
                way: [cell_text(result.metrics(name, data, mode, way)[metric]) for metric in metrics] for way in WAYS
            }
            if by_way[PROBABILITIES] == by_way[HARD]:
                by_way = {"either": by_way[HARD]}
            rows += [[f"{title} · {data}", way, *values] for way, values in by_way.items()]
    note = (
        "Probabilities: those of the pipeline's classes are added up by target, and the most probable target is taken. "
        "Hard: the most probable class is translated. All classes: classes that the pipeline cannot predict count as "
        "missed."
    )
    header = ["model · decode · test set", "mapping", *(METRIC_TITLES[metric] for metric in metrics)]
    return Table("Both mappings", header, rows, notes=[note], formats=dict.fromkeys(header[2:], ".1%"))


def _classes(result: CrossDomainResult) -> list[Table]:
    def rows(names: Sequence[str], metric: str, columns: Sequence[tuple[str, str]]) -> list[list[Cell]]:
        ious = [result.metrics(group, data, result.groups[group].default_mode)[metric] for group, data in columns]
        return [[name, *(cell_text(values[index]) for values in ious)] for index, name in enumerate(names)]

    made = []
    if result.common:
        columns = [(group, data) for group in result.groups for data in result.data]
        header = ["common class", *(f"{group} · {data}" for group, data in columns)]
        note = "IoU of each common class on every test set, default decode mode."
        shares = dict.fromkeys(header[1:], ".1%")
        table = rows(result.common, "iou_common", columns)
        made.append(Table("Classes across domains", header, table, notes=[note], formats=shares))
    # The same classes everywhere are in one table already.
    agree = bool(made) and all(len(data.classes) == len(result.common) for data in result.data.values())
    for data, test_set in () if agree else result.data.items():
        columns = [(group, data) for group in result.groups]
        ious = rows(test_set.classes, "iou", columns)
        shares = dict.fromkeys(result.groups, ".1%")
        header = ["class", *result.groups]
        made.append(Table(f"Classes of {data}", header, ious, formats=shares, colors=test_set.colors))
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
    note = (
        f"Share of the labelled pixels that raise an alarm; the threshold is set at {share:.1%} on the test set in "
        "brackets. Pixels of classes that the pipeline knows: none of these classes is unknown to the model, so any "
        "increase is caused by the change of domain."
    )
    header = ["model · score (threshold)", *result.data, *(f"{data}, classes unknown to the model" for data in foreign)]
    return Table("Alarms", header, rows, notes=[note], formats=dict.fromkeys(header[1:], ".1%"))


def _mappings(result: CrossDomainResult) -> Table:
    rows = [
        [f"{name} · {data}", pair.origin, ", ".join(pair.unreachable) or "-", ", ".join(pair.dropped) or "-"]
        for name, group in result.groups.items()
        for data, pair in group.pairs.items()
    ]
    return Table("Mappings", ["model · test set", "mapping", "never predicted", "left out"], rows)
