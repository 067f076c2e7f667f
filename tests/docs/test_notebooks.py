"""The cells of every notebook run in order, with trainings of a few steps; notebooks are stored without outputs."""

import json
from pathlib import Path

import pytest
from small_runs import REPO, small_configs

FOLDER = REPO / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(notebook: Path) -> list[dict]:
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def test_there_are_two():
    assert [path.name for path in NOTEBOOKS] == ["compare.ipynb", "segment.ipynb"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs(notebook):
    for cell in cells(notebook):
        assert cell["cell_type"] == "markdown" or (cell["outputs"] == [] and cell["execution_count"] is None)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_run_in_order(notebook, tmp_path, monkeypatch):
    small_configs(tmp_path / "configs", monkeypatch)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(FOLDER)
    names: dict = {}
    for cell in cells(notebook):
        if cell["cell_type"] == "code":
            source = "".join(cell["source"]).replace("STEPS = 160", "STEPS = 6")
            exec(compile(source, notebook.name, "exec"), names)
