"""The blocks of every tutorial run one after the other in one folder, with trainings of a few steps."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from small_runs import REPO, small_configs

from gss.cli import main

PAGES = sorted(path for path in (REPO / "docs" / "tutorials").glob("*.md") if path.stem != "index")
BLOCK = re.compile(r"^```(bash|python|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SETUP = re.compile(r"bash scripts/setup\.sh|source .*activate|pip install .*")

LIMITED = ("evaluate", "evaluate-ood", "evaluate-samples", "evaluate-shifts", "cross-domain", "recon")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Enter a folder with the zoo of a checkout, where trainings and the generated data sets are small."""
    small_configs(tmp_path / "configs", monkeypatch)
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "zoo").symlink_to(REPO / "zoo")
    monkeypatch.chdir(folder)


def shortened(words: list[str]) -> list[str]:
    """Return the words of a command with less work to do."""
    if words[0] == "train":
        return [re.sub(r"^(train\.steps)=\d+", r"\1=4", word) for word in words]
    if words[0] in LIMITED:
        return [*words, "--limit", "3"]
    return words


def run_shell(block: str) -> None:
    """Run the commands of a block: those of gss in this process, others in a shell; setting up is left out."""
    for line in re.sub(r"\\\n\s*", "", block).splitlines():
        if SETUP.fullmatch(line):
            continue
        words = shlex.split(line, comments=True)
        if words[0] == "gss":
            assert main(shortened(words[1:])) == 0, line
        else:
            subprocess.run(["bash", "-ec", line], check=True)


def run_block(kind: str, text: str, names: dict) -> None:
    """Run one block; a YAML block is a file, named in its first line."""
    if kind == "bash":
        run_shell(text)
    elif kind == "python":
        exec(compile(text, "block", "exec"), names)
    else:
        Path(re.match(r"# (\S+)\n", text)[1]).write_text(text)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tutorial_runs_as_it_is_written(page, small):
    names: dict = {}
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        run_block(kind, text, names)


def test_every_tutorial_has_commands():
    for page in PAGES:
        assert any(kind == "bash" for kind, _ in BLOCK.findall(page.read_text(encoding="utf-8"))), page.name
