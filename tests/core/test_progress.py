"""Progress is a bar on a terminal, lines now and then elsewhere, and counts what is done."""

import sys

from gss.core import progress
from gss.core.progress import Progress, tracked


def test_items_come_through_and_quick_work_says_nothing_where_there_is_no_terminal(capsys):
    assert list(tracked(range(5), "counting")) == list(range(5))
    assert capsys.readouterr().err == ""


def test_long_work_says_where_it_is_in_lines(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    list(tracked("abc", "reading masks", unit="mask"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(", ")[0] for line in lines] == [f"reading masks: {count} of 3 masks" for count in (1, 2, 3)]
    assert all("masks/s, 00:00 left" in line for line in lines)
    list(tracked("abc", "reading masks", shown=False))
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress(4, "repainting codes", unit="step", initial=1) as bar:
        bar.update(3)
        bar.note(loss="0.5")
    assert "repainting codes" in capsys.readouterr().err
    assert bar.count == 4


def test_a_slow_unit_has_the_right_article(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    with Progress(3, "segmenting", unit="image") as bar:
        bar._start -= 46  # as if it had begun 46 seconds ago
        bar.update()
    assert ", 46.00 s an image, " in capsys.readouterr().err
