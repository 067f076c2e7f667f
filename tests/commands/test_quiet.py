"""`--quiet`, and completion in shells."""

import sys

import numpy as np
import pytest
import tqdm
from PIL import Image
from tiny_pipeline import tiny_pipeline

from gss.cli import build_parser, main


def test_a_quiet_command_prints_errors_alone(tmp_path, capsys):
    tiny_pipeline().save_pretrained(tmp_path / "pipeline")
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "photo.png")
    begin = vars(tqdm.tqdm)["__init__"]
    command = ["predict", str(tmp_path / "pipeline"), str(tmp_path / "photo.png"), "--quiet"]
    capsys.readouterr()
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert said.out == "" and "segmenting" not in said.err and "starting" not in said.err
    (tmp_path / "bad.png").write_text("no image")
    assert main([*command, str(tmp_path / "bad.png"), "--out", str(tmp_path / "two")]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "bad.png" in said.err
    assert vars(tqdm.tqdm)["__init__"] is begin and sys.stdout is not None


def test_commands_and_options_are_completed():
    argcomplete = pytest.importorskip("argcomplete", reason="argcomplete is not installed")
    finder = argcomplete.CompletionFinder(build_parser())
    assert "predict" in [word.strip() for word in finder._get_completions(["gss"], "pre", "", None)]
    options = finder._get_completions(["gss", "predict", "folder", "photo.png"], "--sc", "", None)
    assert {word.strip() for word in options} == {"--scales", "--scores"}
