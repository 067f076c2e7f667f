"""Every command that the documentation shows is one that the parser accepts."""

import re
import shlex
from pathlib import Path

import pytest

from gss.cli import build_parser

REPO = Path(__file__).resolve().parents[2]
PAGES = [
    REPO / "README.md",
    REPO / "CONTRIBUTING.md",
    *sorted((REPO / "docs").rglob("*.md")),
]


def commands(page: Path) -> list[str]:
    """Return the lines of the shell blocks of a page that begin with `gss`, continued lines joined."""
    found = []
    for block in re.findall(r"```\w*\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        lines = re.sub(r"\\\n\s*", "", block).splitlines()
        found += [line.strip() for line in lines if line.strip().startswith("gss ")]
    return found


def test_there_are_commands():
    assert sum(len(commands(page)) for page in PAGES) > 50


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_commands_of_the_documentation_parse(page, capsys):
    for line in commands(page):
        if "…" in line:
            continue
        words = shlex.split(re.sub(r"\$\{?stage\}?", "prior", line), comments=True)
        try:
            build_parser().parse(words[1:])
        except SystemExit:
            pytest.fail(f"{page.name}: {line}: {capsys.readouterr().err}")
