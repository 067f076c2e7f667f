"""Cases of the campaign and their table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from gss.core.records import Record
from gss.report.tables import Cell, Table


@dataclass(frozen=True)
class Case(Record):
    """One case.

    Attributes:
        part: part of the campaign.
        kind: kind of the case, such as a reader or a stage.
        what: what was done, enough to repeat it.
        end: "result", "clear line" or "fault".
        seconds: duration.
        text: message of the error, or what is wrong.
    """

    part: str
    kind: str
    what: str
    end: str
    seconds: float
    text: str = ""


def table(cases: Sequence[Case]) -> Table:
    """Return the counts of the cases by part and kind."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.part, case.kind), []).append(case)
        groups.setdefault((case.part, "all"), []).append(case)
    rows: list[list[Cell]] = []
    for part, kind in sorted(groups, key=lambda key: (key[0], key[1] == "all", key[1])):
        group = groups[part, kind]
        ends = [sum(case.end == end for case in group) for end in ("result", "clear line", "fault")]
        rows.append([f"{part}: {kind}", len(group), *ends, max(case.seconds for case in group)])
    columns = ["cases", "number", "right result", "one clear line", "fault", "slowest (s)"]
    return Table("Fault campaign", columns, rows, formats={"slowest (s)": ".1f"})


def to_json(cases: Sequence[Case]) -> str:
    """Return all cases that are faults, and the counts, as JSON."""
    counts = [
        dict(zip(("cases", "number", "result", "line", "fault", "slowest"), row, strict=True))
        for row in table(cases).rows
    ]
    faults = [case.to_json() for case in cases if case.end == "fault"]
    return json.dumps({"schema_version": 1, "counts": counts, "faults": faults}, indent=2, ensure_ascii=True)
