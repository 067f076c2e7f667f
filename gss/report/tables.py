"""Tables of results, written once and rendered as text, Markdown and HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from gss.core.errors import InputError, unknown_name

Cell = str | int | float | None

_NUMBER = re.compile(r"[-+±]?\d")
# Characters that Markdown or the HTML inside it would read as markup; an underscore only at the edge of a word.
_MARKDOWN = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True)
class Table:
    """Table of a result; the first column names the rows.

    Args:
        title: what the table shows; a heading in text and Markdown, the caption in HTML.
        columns: names of the columns.
        rows: cells by row. Numbers are formatted here, None is shown as a dash, strings as they are.
        notes: sentences that a reader needs to understand the numbers.
        digits: decimals of floats.
        formats: column to the format specification of its numbers, such as ".1%", instead of `digits`.
        best: column to which of its values is set bold in Markdown and HTML; ties are all bold.
        colors: RGB color of each row, shown beside its name in HTML.

    Raises:
        ValueError: a row has another length than the columns, `best` or `formats` names no column, or the number of
            colors differs from that of the rows.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    digits: int = 3
    formats: Mapping[str, str] = field(default_factory=dict)
    best: Mapping[str, Literal["max", "min"]] = field(default_factory=dict)
    colors: Sequence[Sequence[int]] | None = None

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise InputError(f"table rows must have {len(self.columns)} cells, as the columns {list(self.columns)}")
        if self.colors is not None and len(self.colors) != len(self.rows):
            raise InputError(f"colors has {len(self.colors)} entries for {len(self.rows)} table rows")
        for argument, names in (("best", self.best), ("formats", self.formats)):
            for name in names:
                if name not in self.columns:
                    raise unknown_name("column", name, list(self.columns), where=argument)

    @cached_property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers, texts that begin with one, or nothing; such columns are right-aligned."""
        columns = [[row[index] for row in self.rows if row[index] is not None] for index in range(len(self.columns))]
        return [index > 0 and (not cells or any(map(_is_number, cells))) for index, cells in enumerate(columns)]

    def ranked(self, column: str | None = None) -> Table:
        """Return the table with its best row first; rows without a value come last, ties keep their order.

        Args:
            column: one of `best` to sort by; the first by default.
        """
        if not self.best:
            return self
        column = next(iter(self.best)) if column is None else column
        place, sign = list(self.columns).index(column), -1 if self.best[column] == "max" else 1
        values = [_value(row[place]) for row in self.rows]
        order = sorted(range(len(values)), key=lambda i: math.inf if values[i] is None else sign * values[i])  # type: ignore[operator]
        colors = None if self.colors is None else [self.colors[i] for i in order]
        return replace(self, rows=[self.rows[i] for i in order], colors=colors)

    def cells(self, missing: str = "–") -> list[list[str]]:
        """Return the rows as texts.

        Args:
            missing: text of an empty cell.
        """
        specs = [self.formats.get(name) for name in self.columns]
        return [[self._text(value, spec, missing) for value, spec in zip(row, specs, strict=True)] for row in self.rows]

    def bold(self) -> list[list[bool]]:
        """Return for each cell whether it holds the best value of its column, of at least two."""
        marks = [[False] * len(self.columns) for _ in self.rows]
        for name, kind in self.best.items():
            column = list(self.columns).index(name)
            values = {i: row[column] for i, row in enumerate(self.rows) if isinstance(row[column], int | float)}
            if len(values) > 1:
                best = max(values.values()) if kind == "max" else min(values.values())  # type: ignore[type-var]
                for row, value in values.items():
                    marks[row][column] = value == best
        return marks

    def text(self) -> str:
        """Return the table for a terminal: title, notes, and columns aligned by spaces."""
        lines = [[_line(cell) for cell in line] for line in (self.columns, *self.cells(missing="-"))]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, self.numeric, strict=True)
            ).rstrip()
            for line in lines
        ]
        return "\n".join([*filter(None, [self.title]), *self.notes, *aligned])

    def markdown(self, level: int = 2) -> str:
        """Return the table in Markdown, all texts escaped.

        Args:
            level: of the heading.
        """
        body = [
            [
                f"**{escape_markdown(cell)}**" if bold else escape_markdown(cell)
                for cell, bold in zip(*line, strict=True)
            ]
            for line in zip(self.cells(), self.bold(), strict=True)
        ]
        lines = ["| " + " | ".join(line) + " |" for line in (map(escape_markdown, self.columns), *body)]
        lines.insert(1, "|" + "".join(" ---: |" if right else " --- |" for right in self.numeric))
        head = [f"{'#' * level} {escape_markdown(self.title)}"] if self.title else []
        return "\n\n".join([*head, *map(escape_markdown, self.notes), "\n".join(lines)])

    def _text(self, value: Cell, spec: str | None, missing: str) -> str:
        if value is None:
            return missing
        if isinstance(value, bool) or not isinstance(value, int | float):
            return str(value)
        return format(value, spec or ("," if isinstance(value, int) else f".{self.digits}f"))


def tables_text(tables: Iterable[Table]) -> str:
    """Return tables for a terminal, separated by empty lines."""
    return "\n\n".join(table.text() for table in tables)


def tables_markdown(tables: Iterable[Table], *, level: int = 2) -> str:
    """Return tables as Markdown, separated by empty lines.

    Args:
        tables: the tables.
        level: of their headings.
    """
    return "\n\n".join(table.markdown(level) for table in tables)


def percent(value: float | None, digits: int = 2) -> str:
    """Return a share as a number of percent, without the sign; a dash for None."""
    return "–" if value is None else f"{100 * value:.{digits}f}"


def share_text(value: float | None) -> str:
    """Return a share in percent with one decimal, as tables show it; a dash for None, "<0.1%" for a trace."""
    if value is None:
        return "–"
    return "<0.1%" if 0 < value < 0.0005 else f"{value:.1%}"


def escape_markdown(text: str) -> str:
    """Return a text that Markdown shows as it is, in a paragraph or in a cell of a table, on one line."""
    return _MARKDOWN.sub(r"\\\g<0>", _line(text)).translate(_HTML)


def _line(text: str) -> str:
    """Return a text on one line, without control characters."""
    spaced = "".join(" " if character.isspace() else character for character in text)
    return "".join(character for character in spaced if character.isprintable())


def _value(cell: Cell) -> float | None:
    """Return the number of a cell, of a text the one that it begins with; None without one."""
    if isinstance(cell, str):
        found = re.match(r"[-+]?\d+(\.\d+)?", cell)
        return float(found[0]) if found else None
    return None if cell is None or cell != cell else float(cell)


def _is_number(cell: Cell) -> bool:
    return bool(_NUMBER.match(cell)) if isinstance(cell, str) else True
