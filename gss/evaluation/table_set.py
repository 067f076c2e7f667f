"""The tables of one result, as text for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gss.report.tables import Table, escape_markdown, tables_markdown, tables_text


@dataclass(frozen=True)
class ResultTables:
    """Facts, tables and notes of one result.

    Args:
        title: heading of the page.
        facts: data set, number of images and the like; empty texts are left out.
        tables: tables, in the order of their importance.
        notes: sentences that a reader needs to understand the numbers.
    """

    title: str
    facts: Sequence[str]
    tables: Sequence[Table]
    notes: Sequence[str] = ()

    @property
    def subtitle(self) -> str:
        """Facts on one line."""
        return " · ".join(filter(None, self.facts))

    def text(self, *, max_rows: int | None = None) -> str:
        """Return facts, tables and notes for a terminal.

        Args:
            max_rows: number of rows above which a table is left out; `None` for no limit.
        """
        short = [table for table in self.tables if max_rows is None or len(table.rows) <= max_rows]
        notes = "\n".join(f"note: {note}" for note in self.notes)
        return "\n\n".join(filter(None, [self.subtitle, tables_text(short), notes]))

    def markdown(self) -> str:
        """Return a page of Markdown; all names are escaped."""
        parts = [f"# {escape_markdown(self.title)}", escape_markdown(self.subtitle), tables_markdown(self.tables)]
        if self.notes:
            parts += ["## Notes", "\n".join(f"- {escape_markdown(note)}" for note in self.notes)]
        return "\n\n".join(parts) + "\n"
