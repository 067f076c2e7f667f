"""The HTML page of `gss cross-domain`: heat maps of the matrix, tables, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from gss.data.protocols import ReadableImages
from gss.evaluation.cross_domain.counts import PROBABILITIES, Pair
from gss.evaluation.cross_domain.protocol import Protocol
from gss.evaluation.cross_domain.result import FIGURES, CrossDomainResult, transfer
from gss.evaluation.cross_domain.tables import facts, matrix_rows, tables
from gss.pipeline.pipeline import GSSPipeline
from gss.report import charts
from gss.report.page import Report
from gss.report.pictures import colorize, overlay


def draw_rows(
    data: ReadableImages,
    indices: Sequence[int],
    models: Sequence[tuple[str, GSSPipeline, str, int | None, Pair]],
    protocol: Protocol,
) -> list[tuple[str, list[Image.Image]]]:
    """One row an image: the image, the truth, and each model's prediction in the classes of the test set.

    Args:
        data: Test set.
        indices: Its images.
        models: (name, pipeline, decode mode, short side, pair with the test set).
        protocol: How pipelines are run.
    """
    rows, colors = [], data.label_space.colors
    for index in indices:
        image, labels = data.read(index)
        drawn = [image, colorize(labels, colors)]
        for _, pipeline, mode, side, pair in models:
            probs = protocol.run(pipeline, image, side, [mode], [])[mode]
            best = pair.mapping.predict(probs).to("cpu").numpy().astype(np.uint8)
            drawn.append(overlay(image, best, colors))
        rows.append((str(data.ids[index]), drawn))
    return rows


def build_page(result: CrossDomainResult) -> Report:
    """Page of one matrix."""
    report = Report("Train here, measure there", subtitle=facts(result))
    report.section("Matrix", "Rows: trained models; columns: test sets. Probabilities mapped, default decode modes.")
    figures = [
        figure for figure in ("miou", "miou_common", "boundary_f", "ece") if result.common or "common" not in figure
    ]
    report.charts(
        [(FIGURES[figure], _heat_map(_matrix(result, figure), low_is_good=figure == "ece")) for figure in figures]
    )
    for note in result.notes:
        report.paragraph(note)
    for table in tables(result):
        report.section(table.title, table.text)
        best: dict[str, Any] = {}
        if table.title in FIGURES.values():
            best = {name: "min" if name == "drop" else "max" for name in table.header[1:]}
        report.table(table.header, table.rows, best=best)
    for data, rows in result.pictures.items():
        about = result.data[data]
        report.section(f"Pictures of {data}", "Void is black in the truth.")
        report.legend(about["classes"], about["colors"])
        titles = [f"{name} · {group['default_mode']}" for name, group in result.groups.items()]
        report.picture_rows(["image", "truth", *titles], rows)
    report.section("Raw numbers")
    report.details("Settings", result.settings)
    return report.details("All results", result.to_dict())


def add_matrix(report: Report, values: Mapping[str, Mapping[str, float | None]], in_domain: str) -> None:
    """Add a heat map of the mIoU and a table with means over test sets and drops.

    Args:
        report: Receives them under its last section.
        values: Row to test set to mIoU, all in the same classes.
        in_domain: Test set like the training data.
    """
    report.charts([(f"mIoU, trained on {in_domain}", _heat_map(values))])
    lines = {title: (list(row.values()), transfer(row, in_domain)) for title, row in values.items()}
    header, rows = matrix_rows(list(next(iter(values.values()))), lines)
    report.table(header, rows, best={name: "min" if name == "drop" else "max" for name in header[1:]})


def _heat_map(matrix: Mapping[str, Mapping[str, float | None]], *, low_is_good: bool = False) -> charts.Markup:
    """Shaded table of one figure.

    Args:
        matrix: Row to column to value; the rows have the same columns.
        low_is_good: Shade up to the largest value instead of up to 1.
    """
    columns = list(next(iter(matrix.values())))
    values = [list(row.values()) for row in matrix.values()]
    top = max((value for row in values for value in row if value is not None), default=1.0)
    return charts.heat_table(values, list(matrix), columns, high=top if low_is_good else 1.0, digits=3)


def _matrix(result: CrossDomainResult, figure: str) -> dict[str, dict[str, float | None]]:
    return {
        f"{name} · {group['default_mode']}": {
            data: cell["modes"][group["default_mode"]][PROBABILITIES][figure]["mean"]
            for data, cell in group["cells"].items()
        }
        for name, group in result.groups.items()
    }
