"""One script puts mean and spread over seeds into tables, whatever wrote the numbers."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "summarize.py"


@pytest.fixture
def summarize(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("summarize", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*paths):
        monkeypatch.setattr("sys.argv", ["summarize.py", *map(str, paths)])
        code = module.main()
        return code, *capsys.readouterr()

    return run


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content) + "\n")
    return path


def test_runs(summarize, tmp_path):
    for seed, miou in (("0", 0.5), ("1", 0.6)):
        line = {"step": 1, "val_hard_miou": miou, "val_hard_boundary_f": None, "val_hard_miou/fog": 0.1}
        write(tmp_path / f"prior_s{seed}" / "metrics.jsonl", line)
    code, out, _ = summarize(tmp_path / "prior_s0", tmp_path / "prior_s1")
    assert code == 0 and "| prior, hard | 2 | 55.00 ± 7.07 | – |" in out
    (tmp_path / "new").mkdir()
    assert "no validation metrics yet" in summarize(tmp_path / "new")[2]


def test_outlier_scores(summarize, tmp_path):
    def pooled(ap):
        fpr = {"first_at_least": {"value": 0.25}, "nearest": None}
        return {"ap": ap and {"value": ap}, "fpr": fpr, "auroc": {"value": 0.9}}

    files = [
        write(tmp_path / f"s{seed}.json", {"results": [{"data": "strange", "scores": {"msp": {"pooled": pooled(ap)}}}]})
        for seed, ap in enumerate((0.2, None))
    ]
    files.append(write(tmp_path / "r.json", {"scores": {"energy": {"ap": 0.5, "fpr95": 0.1, "auroc": 0.8}}}))
    _, out, _ = summarize(*files)
    assert "## strange" in out and "| msp | 20.0 | 25.0 ± 0.0 | 90.0 ± 0.0 |" in out
    assert "## pasted objects" in out and "| energy | 50.0 | 10.0 | 80.0 |" in out


def test_shifts(summarize, tmp_path):
    def cell(miou):
        means = {"clean": 0.7, "shifted": miou, "drop": 0.7 - miou, "by_shift": {"fog": miou}}
        return {"summary": {"modes": {"hard": {"miou": means, "ece": {"clean": 0.1, "shifted": 0.2}}}}}

    pipelines = {"runs/prior_s0": cell(0.5), "runs/prior_s1": cell(0.6)}
    _, out, _ = summarize(write(tmp_path / "f.json", {"shifts": ["fog"], "pipelines": pipelines}))
    assert "| runs/prior, hard | 70.0 ± 0.0 | 55.0 ± 7.1 | 15.0 ± 7.1 | 10.0 ± 0.0 | 20.0 ± 0.0 |" in out
    assert "| fog | 55.0 ± 7.1 |" in out


def test_a_file_that_is_not_there_is_one_line(summarize, tmp_path):
    code, out, err = summarize(tmp_path / "none.json")
    assert code == 2 and out == "" and err.count("\n") == 1
