"""The documentation as a site: it builds without a warning, and its reference has every public name."""

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import draw_docs
import pytest
import yaml

import gss
import vqvae

REPO = Path(__file__).resolve().parents[2]
DOCS = REPO / "docs"


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("material", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings_handlers.python", reason="the extra docs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert all((tmp_path / "site" / f"{page}.html").is_file() for page in pages)
    reference = (tmp_path / "site" / "reference" / "pipeline.html").read_text()
    assert 'id="gss.pipeline.GSSPipeline.from_pretrained"' in reference


def nav_pages(entries):
    for entry in entries:
        target = next(iter(entry.values())) if isinstance(entry, dict) else entry
        if isinstance(target, list):
            yield from nav_pages(target)
        else:
            yield target


def test_every_page_is_in_the_navigation_once():
    text = re.sub(r"!!python/name:\S+", "", (REPO / "mkdocs.yml").read_text())
    listed = list(nav_pages(yaml.safe_load(text)["nav"]))
    assert sorted(listed) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def public_packages():
    """Yield gss, vqvae and their packages that list public names."""
    for top in (gss, vqvae):
        yield top
        for module in pkgutil.walk_packages(top.__path__, f"{top.__name__}."):
            if module.ispkg:
                package = importlib.import_module(module.name)
                if getattr(package, "__all__", None):
                    yield package


@pytest.mark.parametrize("package", list(public_packages()), ids=lambda package: package.__name__)
def test_every_public_name_is_in_the_reference(package):
    text = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    described = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE)) | set(re.findall(r"`([\w.]+)`", text))
    missing = {f"{package.__name__}.{name}" for name in package.__all__ if name != "__version__"} - described
    assert not missing, f"add '::: NAME' to a page of docs/reference for {sorted(missing)}"


def test_the_reference_describes_what_exists():
    for page in (DOCS / "reference").glob("*.md"):
        for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            package, _, attribute = name.rpartition(".")
            assert getattr(importlib.import_module(package), attribute) is not None


@pytest.mark.parametrize("name", draw_docs.DRAWINGS)
def test_drawings_are_those_of_the_script(name):
    drawn = (DOCS / "pictures" / name).read_text(encoding="utf-8")
    assert drawn == draw_docs.DRAWINGS[name]().svg(), "run python scripts/draw_docs.py"


def test_every_picture_is_shown_and_made_by_the_script():
    shown = {
        Path(target).name
        for page in [REPO / "README.md", *DOCS.rglob("*.md")]
        for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    }
    source = Path(draw_docs.__file__).read_text(encoding="utf-8")
    assert shown == {path.name for path in (DOCS / "pictures").iterdir()}
    assert all(f'"{name}"' in source for name in shown)
