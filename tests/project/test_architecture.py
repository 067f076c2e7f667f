"""The picture of the layers is that of the contract."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "draw_architecture.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("draw_architecture", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("number", [0, 1])
def test_pages_show_the_contract(script, number):
    page = script.PAGES[number].read_text(encoding="utf-8")
    assert page.count("```mermaid") == 1
    assert script.drawn(page) == page, "run python scripts/draw_architecture.py"


def test_every_package_is_a_layer(script):
    packages = {path.parent.name for path in (script.REPO / "gss").glob("*/__init__.py")}
    assert set(script.layers()) == {*packages, "vqvae"}
