"""What `gss.evaluation.shifts.evaluate` found, its means, and its tables for the terminal."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from PIL import Image

from gss.core.files import write_json
from gss.metrics.means import mean
from gss.report.text import aligned

# Key of a figure of a decode mode -> short name in tables.
FIGURES = {"miou": "mIoU", "boundary_f": "bound. F", "ece": "ECE"}


@dataclasses.dataclass
class ShiftResult:
    """What `evaluate_shifts` found; the same on every process, except that only the main one has pictures.

    Attributes:
        data: Name of the data set and split.
        images: Number of images measured, each clean and under every shift and severity.
        class_names: Names of the K classes.
        class_colors: RGB of the K classes.
        shifts: Names, in the order of tables.
        severities: Ascending.
        pipelines: By name: `default_mode`; `thresholds` by score; `clean`, a cell; `shifts`, shift to severity to cell;
            `summary`, see `summarise`. A cell has `modes`, mode to `miou`, `boundary_f`, `ece`, `accuracy` and `iou` of
            each class, and `alarms`, score to share of the labelled pixels that raise one.
        device: Where the pipelines ran.
        settings: How it was measured.
        pictures: (caption, pictures) of one image under every shift.
    """

    data: str
    images: int
    class_names: list[str]
    class_colors: list[list[int]]
    shifts: list[str]
    severities: list[int]
    pipelines: dict[str, dict[str, Any]]
    device: str
    settings: dict[str, Any]
    pictures: list[tuple[str, list[Image.Image]]] = dataclasses.field(default_factory=list, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, in types JSON knows."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["pictures"]
        return fields

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict`."""
        write_json(path, self.to_dict())

    def lines(self, kind: str) -> list[tuple[str, str, str]]:
        """What a chart draws as one line each: (title, pipeline, mode) or, for `alarms`, (title, pipeline, score).

        Args:
            kind: `modes` or `alarms`.
        """
        return [
            (f"{name} · {key}", name, key) for name, cell in self.pipelines.items() for key in cell["summary"][kind]
        ]

    def curve(self, pipeline: str, shift: str, key: str, figure: str) -> list[tuple[float, float]]:
        """Points (severity, value), the clean images at severity 0; values that do not exist are left out.

        Args:
            pipeline: Name.
            shift: Name.
            key: Mode, or score for alarms.
            figure: Key of `FIGURES`, or `alarms`.
        """
        cell = self.pipelines[pipeline]
        found = [(0, cell["clean"]), *cell["shifts"][shift].items()]
        points = [(severity, value_of(each, key, figure)) for severity, each in found]
        return [(float(severity), value) for severity, value in points if value is not None]


def value_of(cell: Mapping[str, Any], key: str, figure: str) -> float | None:
    """One number of a cell: the share of alarms of a score, or a figure of a decode mode."""
    return cell["alarms"][key] if figure == "alarms" else cell["modes"][key][figure]


def summarise(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Means of one pipeline.

    Args:
        cell: `clean` and `shifts` as in `ShiftResult.pipelines`.

    Returns:
        `modes`: mode to figure to `clean`, `shifted` (mean over shifts of the mean over severities, every shift alike),
        `drop` (clean - shifted), `relative_drop` (drop / clean), `by_shift` and `by_severity` (means over the other).
        `alarms`: score to the same. `None` where there was nothing to measure.
    """
    return {
        "modes": {mode: {figure: _means(cell, mode, figure) for figure in FIGURES} for mode in cell["clean"]["modes"]},
        "alarms": {score: _means(cell, score, "alarms") for score in cell["clean"]["alarms"]},
    }


def _means(cell: Mapping[str, Any], key: str, figure: str) -> dict[str, Any]:
    values = {
        shift: {severity: value_of(each, key, figure) for severity, each in cells.items()}
        for shift, cells in cell["shifts"].items()
    }
    by_shift = {shift: mean(found.values()) for shift, found in values.items()}
    severities = next(iter(values.values()))
    by_severity = {severity: mean(found[severity] for found in values.values()) for severity in severities}
    clean, shifted = value_of(cell["clean"], key, figure), mean(by_shift.values())
    drop = None if clean is None or shifted is None else clean - shifted
    relative = drop / clean if drop is not None and clean else None
    means = {"clean": clean, "shifted": shifted, "drop": drop, "relative_drop": relative}
    return means | {"by_shift": by_shift, "by_severity": by_severity}


def summary_rows(result: ShiftResult) -> tuple[list[str], list[list[Any]]]:
    """Header and rows, one a pipeline and mode: clean and shifted figures, drop of the mIoU in per cent."""
    header = ["pipeline · decode"]
    header += [f"{name} {state}" for name in FIGURES.values() for state in ("clean", "shifted")]
    rows = []
    for title, name, mode in result.lines("modes"):
        found = result.pipelines[name]["summary"]["modes"][mode]
        row = [title, *(found[figure][state] for figure in FIGURES for state in ("clean", "shifted"))]
        relative = found["miou"]["relative_drop"]
        rows.append([*row, None if relative is None else 100 * relative])
    return [*header, "mIoU drop, %"], rows


def mean_rows(result: ShiftResult, figure: str, by: str) -> tuple[list[str], list[list[Any]]]:
    """Header and rows: the clean figure, then that of each shift or severity, a column for each line of a chart.

    Args:
        result: What was found.
        figure: Key of `FIGURES`, or `alarms`.
        by: `by_shift` or `by_severity`.
    """
    kind = "alarms" if figure == "alarms" else "modes"
    lines = result.lines(kind)
    found = [result.pipelines[name]["summary"][kind][key] for _, name, key in lines]
    if kind == "modes":
        found = [figures[figure] for figures in found]
    keys: list[Any] = list(result.shifts if by == "by_shift" else result.severities)
    rows = [["clean", *(means["clean"] for means in found)]]
    rows += [[key if by == "by_shift" else f"severity {key}", *(means[by][key] for means in found)] for key in keys]
    if by == "by_shift":
        rows.append(["mean of shifts", *(means["shifted"] for means in found)])
    return ["", *(title for title, _, _ in lines)], rows


def format_result(result: ShiftResult) -> str:
    """Tables for the terminal: means, mIoU by shift and severity, false alarms by shift and severity."""
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
    titles = {"miou": "mIoU", "alarms": f"false alarms, threshold at {share:.0%} of {source}"}
    for figure, title in titles.items():
        if not result.lines("alarms" if figure == "alarms" else "modes"):
            continue
        for by in ("by_shift", "by_severity"):
            header, rows = mean_rows(result, figure, by)
            parts += ["", *([title] if by == "by_shift" else []), *aligned(header, rows)]
    return "\n".join(parts)
