"""The HTML page of `gss cross-domain`: the matrix, pictures, further tables."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from gss.evaluation.cross_domain.means import transfer
from gss.evaluation.cross_domain.result import METRIC_TITLES, PROBABILITIES, CrossDomainResult
from gss.evaluation.cross_domain.tables import cross_domain_tables, matrix_table, matrix_tables
from gss.report import charts
from gss.report.page import Report


def build_page(result: CrossDomainResult) -> Report:
    """Return the page of a matrix of models and test sets."""
    tables = cross_domain_tables(result)
    report = Report(tables.title, subtitle=tables.subtitle)
    heat = _heat_map(_matrix(result, "miou"))
    report.answer(answer_sentence(result), pictures=_proof(result), chart=heat)
    report.section("Matrix", "Rows: trained models; columns: test sets. Probabilities mapped.")
    matrices = matrix_tables(result, brief=True)
    for table in matrices:
        report.add_table(table)
    for note in result.notes:
        report.paragraph(note)
    with report.folded("Borders and confidence: the matrix of boundary F and that of the calibration error"):
        maps = {key: _heat_map(_matrix(result, key), low_is_good=key == "ece") for key in ("boundary_f", "ece")}
        report.charts([(METRIC_TITLES[key], chart) for key, chart in maps.items()])
    for data, rows in result.pictures.items():
        report.section(f"Pictures of {data}", "Void is black in the truth.")
        report.legend(result.data[data].classes, result.data[data].colors)
        report.picture_rows(_picture_titles(result), rows)
    report.section("Further tables")
    for table in tables.tables[len(matrices) :]:
        with report.folded(table.title):
            report.paragraph(" ".join(table.notes))
            report.add_table(table, titled=False)
    report.section("Raw numbers")
    report.details("Settings", result.settings)
    return report.details("All results", result.to_json())


def answer_sentence(result: CrossDomainResult) -> str:
    """Return one sentence: how much of its mIoU the best model keeps on other data."""
    table = matrix_tables(result)[-1]
    title, name, mode = next(line for line in result.lines() if line[0] == str(table.rows[0][0]))
    group = result.groups[name]
    metric = "miou_common" if table.title == METRIC_TITLES["miou_common"] else "miou"
    means = group.summary[mode][PROBABILITIES][metric]
    among = f"the best of {len(table.rows)} ({title})" if len(table.rows) > 1 else title
    if means.mean.mean is None:
        return "Nothing could be measured: no test set has a class that a model can predict."
    if group.in_domain is None or means.away.mean is None:
        sets = f"{len(result.data)} test sets" if len(result.data) > 1 else f"{next(iter(result.data))}"
        return f"On {sets} {among} reaches a mIoU of {means.mean.mean:.1%} on average."
    inside = result.metrics(name, group.in_domain, mode)[metric].mean
    return (
        f"On data unlike its training images {among} reaches a mIoU of {means.away.mean:.1%}; on "
        f"{group.in_domain}, which is like them, {inside or 0:.1%}."
    )


def add_matrix(report: Report, values: Mapping[str, Mapping[str, float | None]], in_domain: str) -> None:
    """Add a table of the mIoU with means over test sets and drops.

    Args:
        report: report, whose last section gets it.
        values: row to test set to mIoU, all in the same classes.
        in_domain: test set like the training data.
    """
    lines = {title: (list(row.values()), transfer(row, in_domain)) for title, row in values.items()}
    title = f"mIoU, trained on {in_domain}"
    report.add_table(matrix_table(title, list(next(iter(values.values()))), lines, brief=True))


def _picture_titles(result: CrossDomainResult) -> list[str]:
    return ["image", "truth", *(f"{name} · {group.default_mode}" for name, group in result.groups.items())]


def _proof(result: CrossDomainResult) -> list[tuple[Image.Image, str]]:
    """Return a row of pictures of a test set unlike the training data; none without pictures."""
    known = {group.in_domain for group in result.groups.values()}
    names = sorted((name for name, rows in result.pictures.items() if rows), key=lambda name: name in known)
    if not names:
        return []
    titles = _picture_titles(result)
    row = list(zip(result.pictures[names[0]][0][1], titles, strict=True))
    shown = [row[0], *row[2:4], row[1]]
    return [(picture, f"{title} ({names[0]})" if title == "image" else title) for picture, title in shown]


def _heat_map(matrix: Mapping[str, Mapping[str, float | None]], *, low_is_good: bool = False) -> charts.Markup:
    """Return a shaded table of one metric.

    Args:
        matrix: row to column to value; the rows have the same columns.
        low_is_good: whether to shade up to the largest value instead of up to 1.
    """
    columns = list(next(iter(matrix.values())))
    values = [list(row.values()) for row in matrix.values()]
    top = max((value for row in values for value in row if value is not None), default=1.0)
    return charts.heat_table(values, list(matrix), columns, high=top if low_is_good else 1.0, percent=True)


def _matrix(result: CrossDomainResult, metric: str) -> dict[str, dict[str, float | None]]:
    """Return means over the seeds in the default decode mode: model to test set to value."""
    return {
        f"{name} · {group.default_mode}": {
            data: result.metrics(name, data, group.default_mode)[metric].mean for data in group.cells
        }
        for name, group in result.groups.items()
    }
