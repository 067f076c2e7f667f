"""Every check of scripts/device_check.py, on a GPU; a share of them runs on the CPU so that the script stays right."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield importlib.import_module("device_check")
    finally:
        sys.path.remove(str(SCRIPTS))


NAMES = [
    *(f"train {stage}" for stage in ("posterior", "prior", "twin", "density", "hybrid", "residual")),
    *("train weak-agmm", "train weak-tags", "devices agree", "bfloat16 labels", "no host synchronisation"),
    *("compile", "resume", "throughput"),
    *(f"train {stage} bf16" for stage in ("posterior", "prior", "twin", "hybrid", "residual")),
    *("train weak-agmm bf16", "train weak-tags bf16"),
]


@pytest.fixture(scope="module")
def bench(script, tmp_path_factory):
    return script.Bench(torch.device("cuda"), quick=True, folder=tmp_path_factory.mktemp("device"))


def test_every_check_is_listed(script):
    assert sorted(script.CHECKS) == sorted(NAMES)


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_on_a_gpu(name, script, bench):
    record = script.run_check(name, bench)
    assert record["state"] in ("ok", "not applicable"), record["details"]


@pytest.mark.slow
def test_stages_on_the_cpu(script, monkeypatch, tmp_path, capsys):
    out = tmp_path / "found.json"
    only = ["train posterior", "train prior", "train twin", "devices agree", "compile", "throughput"]
    argv = ["device_check.py", "--device", "cpu", "--quick", "--minutes", "30", "--json", str(out), "--only", *only]
    monkeypatch.setattr(sys, "argv", argv)
    assert script.main() == 0, capsys.readouterr().out
    found = json.loads(out.read_text())
    states = {record["name"]: record["state"] for record in found["checks"]}
    assert states["devices agree"] == "not applicable"
    assert set(states.values()) == {"ok", "not applicable"}
    assert {row["peer"] for row in found["rows"]} == {"twin", "UPerNet"}
    for row in found["rows"]:
        assert row["ratio"] == pytest.approx(row["peer_s"] / row["ours_s"])
