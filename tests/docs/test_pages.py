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
