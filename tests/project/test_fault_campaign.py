"""A small share of scripts/fault_campaign.py: damaged files of most readers, and kills of one command."""

import numpy as np
import pytest
from faults import inputs, kills
from faults.case import Case, table, to_json
from faults.commands import LIMIT, Outcome, run
from faults.workshop import Workshop, damaged


def faults(cases):
    return [f"{case.kind} | {case.what} | {case.text}" for case in cases if case.end == "fault"]


def test_damaged_files_end_in_a_result_or_one_clear_line():
    cases = list(inputs.cases(None, 500, np.random.default_rng(0)))
    assert len(cases) >= 400 and not faults(cases)
    assert {case.end for case in cases} == {"result", "clear line"}
    assert max(case.seconds for case in cases) < LIMIT


def test_killed_commands_leave_whole_files_and_go_on(tmp_path):
    shop = Workshop(tmp_path)
    shop.write_data()
    cases = list(kills.cases(shop, 3, np.random.default_rng(1), only=["weak make"]))
    assert [case.end for case in cases] == ["result"] * 3, faults(cases)


def test_a_reader_that_fails_is_a_fault(tmp_path):
    def read(folder):
        raise KeyError("a bug")

    (case,) = inputs.try_reader(inputs.Reader("r", "a.png", b"x", read), 1, seed=0)
    assert case.end == "fault" and "KeyError" in case.text


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [
        ((0, "", ""), ""),
        ((2, "gss: error: a line\n", ""), ""),
        ((2, "gss: error: one\ngss: error: two\n", ""), "2 error lines"),
        ((1, "Traceback (most recent call last)", ""), "traceback"),
        ((70, "gss: a bug", ""), "ended with 70"),
        ((-11, "", ""), "ended with -11"),
    ],
)
def test_judgement_of_commands(outcome, fault):
    found = Outcome(*outcome, seconds=1.0, wall=1.0, renames=0).fault
    assert found.startswith(fault) and bool(found) is bool(fault)


def test_slow_commands_are_faults():
    assert "processor time" in Outcome(0, "", "", seconds=30.0, wall=1.0, renames=0).fault
    assert run(["data", "nothing"]).code == 2


def test_half_written_files_are_seen(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1')
    (tmp_path / "b.json").write_text("{}")
    (tmp_path / ".c.0123.tmp.json").write_text("{")
    assert [entry.split()[0] for entry in damaged(tmp_path)] == ["a.json"]


def test_table_counts_by_part_and_kind():
    cases = [Case("input", "mask", "x", end, 0.5) for end in ("result", "result", "fault")]
    (kind, everything) = table(cases).rows
    assert kind == ["input: mask", 3, 2, 0, 1, 0.5] and everything[0] == "input: all"
    assert '"fault": 1' in to_json(cases)
