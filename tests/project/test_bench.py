import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "row"),
    [
        ("bench_core.py", "up-sampling"),
        ("bench_pipeline.py", "fused, 360x480"),
        ("bench_ood.py", "aux + score, 360x480"),
        ("bench_weak.py", "20 thresholds"),
        ("bench_many.py", "processes"),
    ],
)
def test_benchmark_writes_its_rows(script: str, row: str, tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    command = [sys.executable, str(SCRIPTS / script), "--quick", "--only", row, "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=SCRIPTS.parent)
    rows = json.loads(out.read_text())
    assert done.stdout.count("| ") > len(rows) > 0
    for result in rows:
        assert set(result) == {
            "name",
            "peer",
            "ours_s",
            "peer_s",
            "ratio",
            "ours_peak_mb",
            "peer_peak_mb",
            "max_error",
        }
        assert result["ratio"] == pytest.approx(result["peer_s"] / result["ours_s"])
        assert result["max_error"] in (0.0, None)


@pytest.mark.slow
def test_reading_few_codes_is_compared_with_the_twin_and_with_all_codes(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    command = [sys.executable, str(SCRIPTS / "bench_decoding.py"), "zoo/camvid-lite0", "--quick", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=SCRIPTS.parent)
    rows = json.loads(out.read_text())
    assert [row["peer"] for row in rows[:3]] == ["twin", "twin", "all codes"]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["peer_s"] / row["ours_s"])
        if row["peer"] == "all codes":
            assert 0 <= row["max_error"] < 5e-3 and abs(row["miou_difference"]) < 0.1
    assert "calibration error, points" in done.stdout


@pytest.mark.slow
def test_unknown_row_is_an_error() -> None:
    command = [sys.executable, str(SCRIPTS / "bench_core.py"), "--only", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=SCRIPTS.parent)
    assert done.returncode == 2 and "is in no row" in done.stderr
