"""What `gss.cross_evaluation` found: means, drops and the spread over seeds, and the tables all outputs share."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any, NamedTuple

from PIL import Image

from gss.cross_measuring import HARD, PROBABILITIES, WAYS
from gss.evaluation import aligned
from gss.files import atomic_path, write_json
from gss.shift_results import mean

__all__ = ["FIGURES", "CrossDomainResult", "Table", "format_result", "matrix_rows", "over_seeds", "tables", "transfer"]

# Key of a figure of a decode mode -> name in tables.
FIGURES = {
    "miou": "mIoU",
    "miou_common": "mIoU, common classes",
    "miou_all": "mIoU, all classes",
    "boundary_f": "boundary F",
    "ece": "ECE",
}
_DROP = "Away: mean of the test sets out of domain. Drop: in domain minus that."
# Longest per-class table of the terminal.
_CLASSES = 40


class Table(NamedTuple):
    """One table of the outputs; cells are names, numbers, `None`, or texts such as 0.512 ± 0.004."""

    title: str
    text: str
    header: list[str]
    rows: list[list[Any]]


@dataclasses.dataclass
class CrossDomainResult:
    """What `evaluate_cross_domain` found; the same on every process, except that only the main one has pictures.

    Attributes:
        data: By test set: `images`, `classes`, `colors`.
        common: The classes that all pipelines and test sets tell apart; empty without any.
        pipelines: By pipeline: `group`; `thresholds` by test set and score; `cells` by test set; and `summary`, mode
            to way of mapping (`probabilities`, `hard`) to figure to what `transfer` gives. A cell has `modes`, mode to
            way of mapping to `miou`, `miou_common`, `miou_all`, `boundary_f`, `ece`, `accuracy`, `iou`, `iou_all`,
            `iou_common`; and `alarms` and `alarms_foreign`, score to share of labelled pixels.
        groups: By group (a model with one or several seeds): `pipelines`; `kind`, generative or discriminative;
            `default_mode`; `scores`; `training_data`; `in_domain`, a test set or `None`, and `in_domain_from`;
            `reference`, the test set that sets thresholds; `pairs` by test set, see `Pair.to_dict`; `short_side` by
            test set and, in `tried`, the mIoU at every one; `cells` and `summary` as for a pipeline, every number as
            `mean` and `std` over the seeds.
        device: Where the pipelines ran.
        settings: How it was measured.
        notes: What a reader should know.
        pictures: By test set (caption, pictures), see `gss.cross_pictures.draw_rows`.
    """

    data: dict[str, dict[str, Any]]
    common: list[str]
    pipelines: dict[str, dict[str, Any]]
    groups: dict[str, dict[str, Any]]
    device: str
    settings: dict[str, Any]
    notes: list[str]
    pictures: dict[str, list[tuple[str, list[Image.Image]]]] = dataclasses.field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, in types JSON knows."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["pictures"]
        return fields

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict`."""
        write_json(path, self.to_dict())

    def write_markdown(self, path: str | os.PathLike[str]) -> None:
        """Write the tables as Markdown."""
        parts = ["# Train here, measure there", facts(self)]
        for table in tables(self):
            lines = ["| " + " | ".join(map(_text, row)) + " |" for row in (table.header, *table.rows)]
            lines.insert(1, "| --- |" + " ---: |" * (len(table.header) - 1))
            parts += [f"## {table.title}", *([table.text] if table.text else []), "\n".join(lines)]
        parts += ["## Notes", "\n".join(f"- {note}" for note in self.notes)] if self.notes else []
        with atomic_path(path) as temporary:
            temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")

    def write_html(self, path: str | os.PathLike[str]) -> None:
        """Write a page with heat maps, tables and pictures into one self-contained file."""
        from gss.cross_report import build_report

        build_report(self).save(path)

    def lines(self) -> list[tuple[str, str, str]]:
        """Rows of the matrix: (title, group, mode)."""
        return [(f"{name} · {mode}", name, mode) for name, group in self.groups.items() for mode in group["summary"]]


def transfer(values: Mapping[str, float | None], in_domain: str | None) -> dict[str, float | None]:
    """Means of one figure over test sets.

    Args:
        values: Test set to figure.
        in_domain: Test set like the training data, if any.

    Returns:
        `mean` and `harmonic` mean over all test sets, `away` and `away_harmonic` over those out of domain, `drop`
        (in domain - `away`) and `relative_drop` (drop / in domain). `None` where there is nothing to compute from.
    """
    home = values.get(in_domain) if in_domain is not None else None
    abroad = [value for name, value in values.items() if name != in_domain]
    away = mean(abroad)
    drop = None if home is None or away is None else home - away
    return {
        "mean": mean(values.values()),
        "harmonic": harmonic(list(values.values())),
        "away": away,
        "away_harmonic": harmonic(abroad),
        "drop": drop,
        "relative_drop": drop / home if drop is not None and home else None,
    }


def harmonic(values: Sequence[float | None]) -> float | None:
    """Harmonic mean of what exists, 0 with a 0 among it; None for nothing."""
    found = [value for value in values if value is not None]
    if not found or min(found) <= 0:
        return 0.0 if found else None
    return len(found) / sum(1 / value for value in found)


def summarise(cells: Mapping[str, Mapping[str, Any]], in_domain: str | None) -> dict[str, Any]:
    """Mode to way of mapping to figure to `transfer`, from the cells of one pipeline by test set."""
    modes = next(iter(cells.values()))["modes"]
    return {
        mode: {
            way: {
                figure: transfer({name: cell["modes"][mode][way][figure] for name, cell in cells.items()}, in_domain)
                for figure in FIGURES
            }
            for way in WAYS
        }
        for mode in modes
    }


def over_seeds(found: Sequence[Any]) -> Any:
    """The same structure with every number replaced by `mean` and `std` (n - 1; `None` for one seed) over the seeds.

    Args:
        found: One nested structure of dicts, lists, numbers and `None` a seed; keys that not all have are left out.
    """
    if isinstance(found[0], dict):
        return {key: over_seeds([one[key] for one in found]) for key in found[0] if all(key in one for one in found)}
    if any(isinstance(one, list) for one in found):
        return [over_seeds(list(parts)) for parts in zip(*(one for one in found if one is not None), strict=True)]
    values = [value for value in found if value is not None]
    return {"mean": mean(values), "std": stdev(values) if len(values) > 1 else None}


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
