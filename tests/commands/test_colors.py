"""Colours: in terminals only, and never where they are not wanted."""

import sys

import pytest

from gss.cli import main

RED = "\x1b[1;31merror:\x1b[0m"
WRONG = [("predit",), ("config", "priorr"), ("palette", "999")]


@pytest.fixture
def said(capsys, monkeypatch):
    """Return a function that runs a wrong command and returns what it says, in a terminal or not."""

    def run(*arguments, terminal, **variables):
        for name, value in {"TERM": "xterm", "NO_COLOR": "", **variables}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
        try:
            code = main(list(arguments))
        except SystemExit as end:
            code = end.code
        assert code == 2
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize("arguments", WRONG)
def test_errors_are_red_in_a_terminal_alone(arguments, said):
    assert said(*arguments, terminal=True).count(RED) == 1
    text = said(*arguments, terminal=False)
    assert "error:" in text and "\x1b" not in text


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_they_can_be_switched_off(variables, said):
    assert "\x1b" not in said("predit", terminal=True, **variables)
