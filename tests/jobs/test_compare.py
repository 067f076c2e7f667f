"""Variants of a posterior are trained once and compared."""

import json

from tiny_runs import POSTERIOR

from gss.cli import main


def test_variants_are_trained_once(tmp_path, capsys):
    spec = tmp_path / "tiny.yaml"
    spec.write_text("name: tiny\ngenerator: scenes\ndomain: clear\nlength: {train: 6, val: 2}\nimage_size: [48, 64]\n")
    short = [*POSTERIOR, "train.steps=2", "loss.repaint_steps=2", "vq.codebook_size=64"]
    out = tmp_path / "out"
    command = ["compare", f"data.spec={spec}", *short, "--variants", "ff", "tt", "quantizer_fsq", "--out", str(out)]
    assert main(command) == 0
    first = json.loads((out / "comparison.json").read_text())
    assert [row["posterior"] for row in first] == [str(out / name) for name in ("ff", "tt", "quantizer_fsq")]
    assert all(row["seconds"] > 0 and 0 <= row["encoder"]["miou"] <= 1 for row in first)
    capsys.readouterr()
    assert main([*command, "--redo", "tt"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("finished before") == 2 and "tt: is done again" in printed
    again = json.loads((out / "comparison.json").read_text())
    assert again[1]["seconds"] != first[1]["seconds"]
    for row, before in zip(again, first, strict=True):
        assert row["encoder"] == before["encoder"]
    assert main([*command, "train.steps=3"]) == 2
    assert "train.steps = 2, which is 3 now: pass --redo ff" in capsys.readouterr().err
    assert main([*command[:-6], "--variants", "ff", "a/ff.yaml", "--out", str(out)]) == 2
    assert "would share a folder" in capsys.readouterr().err
