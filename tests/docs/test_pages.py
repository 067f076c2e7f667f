"""The Python of the documentation: it compiles, and its imports are public names of packages."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if path.parent.name != "extending")]
SNIPPETS = [
    pytest.param(code, id=f"{page.relative_to(ROOT).with_suffix('')}-{number}")
    for page in PAGES
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S))
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_snippets_import_public_names_of_packages(code):
    for node in ast.walk(ast.parse(code)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module]
        for name in modules:
            module = importlib.import_module(name)
            if name.partition(".")[0] == "gss":
                assert hasattr(module, "__path__"), f"{name} is no package; import its names from its package"
                for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                    assert alias.name in module.__all__, f"{alias.name} is no public name of {name}"
                    assert getattr(module, alias.name) is not None


def test_there_are_snippets():
    assert len(SNIPPETS) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([\w./-]*\.md)?(#[\w-]+)?\)", page.read_text()):
        other = (page.parent / target).resolve() if target else page
        assert other.is_file(), f"{page.name} links to {target}, which does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", other.read_text(), re.M)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor[1:] in anchors, f"{page.name} links to {other.name}{anchor}, which does not exist"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_named_in_pages_exist(page):
    for name in set(re.findall(r"`(gss(?:\.\w+)+)`", page.read_text())):
        module, _, attribute = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), attribute), (
                f"{page.name} names {name}, which does not exist"
            )


# Folders of runs that pages use without making them, to the page that makes them and is linked.
MADE_ELSEWHERE = {
    "runs/posterior": "training.md#the-stages-one-by-one",
    "runs/prior": "training.md#the-stages-one-by-one",
    "runs/camvid/posterior": "results/posterior.md",
    "runs/camvid": "results/twin.md",
}


def folders_read(block):
    """Yield the folders of runs that each line of a block reads, and those that it makes."""
    for line in re.sub(r"\\\n\s*", "", block).splitlines():
        made = re.findall(r"--out[ =](\S+)", line)
        found = re.findall(r"(?<![\w/])runs/[\w./-]*\w", line)
        yield [folder for folder in found if folder not in made], made


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.parent.name != "results" and page.stem != "weak-tags"],
    ids=lambda page: page.stem,
)
def test_folders_of_runs_are_made_by_commands_above_or_on_a_linked_page(page):
    text, made = page.read_text(encoding="utf-8"), ["runs/quickstart"]
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S):
        for read, new in folders_read(block):
            for folder in read:
                if any(folder == known or folder.startswith(f"{known}/") for known in made):
                    continue
                home = next((link for known, link in MADE_ELSEWHERE.items() if folder.startswith(known)), None)
                assert home is not None, f"{page.name}: no command above makes {folder}"
                assert page.name == Path(home.partition("#")[0]).name or home in text, (
                    f"{page.name}: link {home} for {folder}"
                )
            made += new
