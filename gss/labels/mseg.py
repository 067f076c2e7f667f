"""The MSeg master table: class names of many data sets beside one universal taxonomy (Lambert et al., CVPR 2020).

The file is tab-separated, one row a universal class, one column a data set. A cell is empty, one class name, or
several in braces, `{house, building}`. The row `unlabeled` holds classes that MSeg does not use. In columns of training
sets every class stands in one row; in columns of test sets a class stands in all rows that belong to it. Columns
`X-relabeled` name the classes of set X after MSeg's relabelling of its masks.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gss.core.errors import InputError, nearest, quoted, unknown_name
from gss.labels.mapping import LabelMapping
from gss.labels.names import Targets, by_key
from gss.labels.space import LabelSpace

_UNIVERSAL = "universal"
_UNLABELED = "unlabeled"
# Columns about the universal classes themselves.
_REMARKS = ("Parent Category", _UNIVERSAL, "WordNet 3.1 Synset", "Defn", "Modification of WordNet Node")


@dataclass(frozen=True)
class MSegColumn:
    """Column of a data set in the master table.

    Args:
        column: name of the column.
        names: class of the data set to its name(s) in the column, if spelt otherwise.
        leave_out: classes that the column lacks, or that are not mapped.
    """

    column: str
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()

    @classmethod
    def from_yaml(cls, entry: Any) -> MSegColumn:
        """Read `COLUMN` or `{column: ..., names: {class: name or [names]}, leave_out: [classes]}`.

        Raises:
            InputError: anything else.
        """
        if isinstance(entry, str):
            return cls(entry)
        form = "mseg must be COLUMN or {column: COLUMN, names: {class: name}, leave_out: [class]}"
        if not isinstance(entry, dict) or not isinstance(entry.get("column"), str):
            raise InputError(f"{form}, got {quoted(entry)}")
        names, leave_out = entry.get("names") or {}, entry.get("leave_out") or []
        unknown = set(entry) - {"column", "names", "leave_out"}
        if unknown or not isinstance(names, dict) or not isinstance(leave_out, list):
            raise InputError(f"{form}, got {quoted(entry)}")
        spelt = {str(k): tuple(map(str, v)) if isinstance(v, list) else (str(v),) for k, v in names.items()}
        return cls(entry["column"], spelt, tuple(map(str, leave_out)))


def read_columns(entry: Any) -> dict[str, MSegColumn]:
    """Read `mseg` of a data spec: a column for both directions, or one each under `to` and `from`.

    Raises:
        InputError: another key beside those two, or a malformed column.
    """
    if not entry:
        return {}
    directions = entry if isinstance(entry, dict) and {"to", "from"} & set(entry) else {"to": entry, "from": entry}
    for key in directions:
        if key not in ("to", "from"):
            raise InputError(
                f"mseg has the key {quoted(key)}; besides one column for both directions, give to and from"
            )
    return {key: MSegColumn.from_yaml(column) for key, column in directions.items()}


@dataclass(frozen=True)
class MSegTaxonomy:
    """Universal classes and the columns of the data sets.

    Args:
        universal: universal classes in table order, 194 in the published table, without `unlabeled`.
        columns: data set to its class names in every row; the last entry is the row `unlabeled`.
    """

    universal: LabelSpace
    columns: Mapping[str, tuple[tuple[str, ...], ...]]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> MSegTaxonomy:
        """Read `MSeg_master.tsv`.

        Raises:
            InputError: not such a file; the message names line, column and cell.
        """
        try:
            with Path(path).open(encoding="utf-8-sig", newline="") as file:
                # Definitions hold quotation marks that quote nothing.
                rows = [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if any(row)]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"cannot read the MSeg table {path}: {error}") from error
        header = [name.strip() for name in rows[0]] if rows else []
        if _UNIVERSAL not in header or len(set(header)) < len(header):
            raise InputError(
                f"{path} is no MSeg master table: its first line must name the columns, separated by tabs, each once "
                f"and one of them {quoted(_UNIVERSAL)}"
            )
        try:
            return _parse(header, rows[1:])
        except InputError as error:
            raise InputError(f"MSeg table {path}: {error}") from error

    def classes(self, column: str) -> LabelSpace:
        """Return the classes that a column names, in table order.

        Raises:
            InputError: no such column (names the nearest), or an empty one.
        """
        return LabelSpace(tuple(dict.fromkeys(name for cell in self._cells(column) for name in cell)))

    def to_universal(self, column: str | MSegColumn, space: LabelSpace | None = None) -> LabelMapping:
        """Return the mapping from the classes of a data set to the universal ones.

        A class in the row `unlabeled` is dropped. A class in several rows (in the columns of test sets) covers several
        universal classes, see `LabelMapping`.

        Args:
            column: column of the data set.
            space: classes of the data set in its own order and spelling; None: those of the column.

        Raises:
            InputError: no such column, or classes of the data set that it lacks (names them and the nearest).
        """
        place, space = self._placed(column, space)
        rows: dict[str, list[str]] = {}
        for universal, cell in zip(self.universal.names, self._cells(place.column), strict=False):
            for name in cell:
                rows.setdefault(name, []).append(universal)
        mapped: dict[str, Targets] = {}
        for name, spelt in self._spelling(place, space).items():
            mapped[name] = list(dict.fromkeys(u for each in spelt for u in rows.get(each, []))) or None
        return LabelMapping.from_names(space, self.universal, mapped)

    def from_universal(self, column: str | MSegColumn, space: LabelSpace | None = None) -> LabelMapping:
        """Return the mapping from the universal classes to those of a data set.

        This is MSeg's test mapping: universal classes with one class of the data set are siblings, those whose cell
        is empty are dropped. Where the cell holds several classes (in the columns of training sets, such as
        `{car, caravan}` for car), the universal class covers them, see `LabelMapping`.

        Args:
            column: column of the data set.
            space: classes of the data set in its own order and spelling; None: those of the column.

        Raises:
            InputError: as `to_universal`.
        """
        place, space = self._placed(column, space)
        spelling = self._spelling(place, space)
        mapped: dict[str, Targets] = {}
        for universal, cell in zip(self.universal.names, self._cells(place.column), strict=False):
            mapped[universal] = [name for name, spelt in spelling.items() if set(spelt) & set(cell)] or None
        return LabelMapping.from_names(self.universal, space, mapped)

    def _cells(self, column: str) -> tuple[tuple[str, ...], ...]:
        if column not in self.columns:
            raise unknown_name("column", column, self.columns, where="MSeg table")
        return self.columns[column]

    def _placed(self, column: str | MSegColumn, space: LabelSpace | None) -> tuple[MSegColumn, LabelSpace]:
        place = MSegColumn(column) if isinstance(column, str) else column
        return place, space or self.classes(place.column)

    def _spelling(self, place: MSegColumn, space: LabelSpace) -> dict[str, tuple[str, ...]]:
        """Return class of the data set to its name(s) in the column, none for classes that are left out."""
        known = self.classes(place.column)
        keys = by_key(known)
        for name in (*place.names, *place.leave_out):
            space.index(name)
        found: dict[str, tuple[str, ...]] = {name: () for name in place.leave_out}
        missing = []
        for key, name in by_key(space).items():
            spelt = place.names.get(name) or ((name,) if name in known.names else (keys[key],) if key in keys else ())
            absent = [each for each in spelt if each not in known.names]
            if name not in found and (absent or not spelt):
                close = nearest(absent[0] if absent else name, known.names)
                missing.append(f"{quoted(name)}" + (f" (did you mean {quoted(close)}?)" if close else ""))
            found.setdefault(name, spelt)
        if missing:
            raise InputError(
                f"column {quoted(place.column)} of the MSeg table lacks {', '.join(missing)}; name them under mseg: "
                "names or leave_out in the data set's spec"
            )
        return found


def _parse(header: list[str], rows: list[list[str]]) -> MSegTaxonomy:
    place = {name: number for number, name in enumerate(header) if not name.startswith(_REMARKS)}
    universal: list[str] = []
    cells: dict[str, list[tuple[str, ...]]] = {name: [] for name in place}
    unlabeled: list[str] | None = None
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(f"line {line} has {len(row)} cells, the first line {len(header)}")
        name = row[header.index(_UNIVERSAL)].strip()
        if not name:
            raise InputError(f"line {line} has no name in the column {quoted(_UNIVERSAL)}")
        if name == _UNLABELED:
            unlabeled = row
            continue
        universal.append(name)
        for column, number in place.items():
            cells[column].append(_cell(row[number], line, column))
    for column, number in place.items():
        cells[column].append(_cell(unlabeled[number], 0, column) if unlabeled else ())
    return MSegTaxonomy(LabelSpace(tuple(universal)), {column: tuple(names) for column, names in cells.items()})


def _cell(text: str, line: int, column: str) -> tuple[str, ...]:
    text = text.strip()
    if text.startswith("{") != text.endswith("}") or any(mark in text[1:-1] for mark in "{}"):
        raise InputError(f"cell {quoted(text)} in line {line}, column {quoted(column)}, has unpaired braces")
    names = text[1:-1].split(",") if text.startswith("{") else [text] if text else []
    if any(not name.strip() for name in names):
        raise InputError(f"cell {quoted(text)} in line {line}, column {quoted(column)}, has an empty name")
    return tuple(name.strip() for name in names)
