"""What mkdocs fills in when it builds the site: the help of every command and the settings of every stage."""

import os
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from typing import Any

from gss.cli import COMMANDS, main
from gss.training.stages import STAGES

COMMANDS_MARK = "<!-- the help of every command -->"
SETTINGS_MARK = "<!-- the settings of every stage -->"
_WIDTH = "84"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the text of a page with what its marks ask for."""
    for mark, fill in ((COMMANDS_MARK, _commands), (SETTINGS_MARK, _settings)):
        if mark in markdown:
            markdown = markdown.replace(mark, "\n\n".join(fill()))
    return markdown


def _commands() -> Iterator[str]:
    for words in _names(COMMANDS):
        yield f"## gss {' '.join(words)}\n\n```text\n{_printed([*words, '--help'])}```"


def _settings() -> Iterator[str]:
    for stage in STAGES:
        yield f"## {stage}\n\n```yaml\n{_printed(['config', stage])}```"


def _names(table: Mapping[str, str | Mapping[str, str]], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, module in table.items():
        if isinstance(module, str):
            yield (*before, name)
        else:
            yield from _names(module, (*before, name))


def _printed(words: list[str]) -> str:
    """Return what a command prints on a page of a fixed width."""
    text = StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDTH
    try:
        with redirect_stdout(text), redirect_stderr(StringIO()), suppress(SystemExit):
            main(words)
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    return text.getvalue()
