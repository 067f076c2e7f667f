"""The HTML page of `gss cross-domain`: heat maps of the matrix, tables, pictures."""

from __future__ import annotations

from collections.abc import Mapping

from gss.evaluation.cross_domain.means import transfer
from gss.evaluation.cross_domain.result import METRIC_TITLES, CrossDomainResult
from gss.evaluation.cross_domain.tables import cross_domain_tables, matrix_table
from gss.report import charts
from gss.report.page import Report


def build_page(result: CrossDomainResult) -> Report:
    """Return the page of a matrix of models and test sets."""
    tables = cross_domain_tables(result)
    report = Report(tables.title, subtitle=tables.subtitle)
    report.section("Matrix", "Rows: trained models; columns: test sets. Probabilities mapped, default decode modes.")
    metrics = [key for key in ("miou", "miou_common", "boundary_f", "ece") if result.common or "common" not in key]
    report.charts([(METRIC_TITLES[key], _heat_map(_matrix(result, key), low_is_good=key == "ece")) for key in metrics])
    for note in result.notes:
        report.paragraph(note)
    for table in tables.tables:
        report.section(table.title, " ".join(table.notes))
        report.add_table(table, titled=False)
    for data, rows in result.pictures.items():
        report.section(f"Pictures of {data}", "Void is black in the truth.")
        report.legend(result.data[data].classes, result.data[data].colors)
        titles = [f"{name} · {group.default_mode}" for name, group in result.groups.items()]
        report.picture_rows(["image", "truth", *titles], rows)
    report.section("Raw numbers")
    report.details("Settings", result.settings)
    return report.details("All results", result.to_json())


def add_matrix(report: Report, values: Mapping[str, Mapping[str, float | None]], in_domain: str) -> None:
    """Add a heat map of the mIoU and a table with means over test sets and drops.

    Args:
        report: report, whose last section gets them.
        values: row to test set to mIoU, all in the same classes.
        in_domain: test set like the training data.
    """
    report.charts([(f"mIoU, trained on {in_domain}", _heat_map(values))])
    lines = {title: (list(row.values()), transfer(row, in_domain)) for title, row in values.items()}
    report.add_table(matrix_table("", list(next(iter(values.values()))), lines))


def _heat_map(matrix: Mapping[str, Mapping[str, float | None]], *, low_is_good: bool = False) -> charts.Markup:
    """Return a shaded table of one metric.

    Args:
        matrix: row to column to value; the rows have the same columns.
        low_is_good: whether to shade up to the largest value instead of up to 1.
    """
    columns = list(next(iter(matrix.values())))
    values = [list(row.values()) for row in matrix.values()]
    top = max((value for row in values for value in row if value is not None), default=1.0)
    return charts.heat_table(values, list(matrix), columns, high=top if low_is_good else 1.0, digits=3)


def _matrix(result: CrossDomainResult, metric: str) -> dict[str, dict[str, float | None]]:
    """Return means over the seeds in the default decode mode: model to test set to value."""
    return {
        f"{name} · {group.default_mode}": {
            data: result.metrics(name, data, group.default_mode)[metric].mean for data in group.cells
        }
        for name, group in result.groups.items()
    }
