from pathlib import Path

import pytest
import torch
from loop_checks import SCRIPT, assert_same_training, checkpoint_content
from processes import launch
from tiny_task import config, run

from gss.core import distributed
from gss.training.engine.log import read_metrics


def test_trivially_right_in_one_process() -> None:
    assert (distributed.process_index(), distributed.num_processes()) == (0, 1)
    assert distributed.is_main()
    assert list(distributed.shard(3)) == [0, 1, 2]
    tensor = torch.tensor([1, 2])
    total = distributed.sum_across(tensor)
    assert total.tolist() == [1, 2]
    assert total.data_ptr() != tensor.data_ptr()
    assert distributed.gather_objects("x") == ["x"]
    distributed.copy_from_main([tensor])
    distributed.barrier()
    calls: list[int] = []
    distributed.run_on_main(lambda: calls.append(1))
    assert calls == [1]
    with pytest.raises(ValueError, match="invalid literal"):
        distributed.run_on_main(lambda: int("x"))


def test_two_processes_equal_one_and_resume_exactly(tmp_path: Path) -> None:
    launch(2, [str(SCRIPT), str(tmp_path), "two"])
    one = run(config(dropout=0.0), tmp_path / "one")
    expected = checkpoint_content(tmp_path / "one", 7)
    for name in ("straight", "accumulated"):
        found = checkpoint_content(tmp_path / name, 7)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            if key != "model.calls":
                torch.testing.assert_close(found[key], value, atol=1e-6, rtol=1e-5, msg=key)
        # The logged loss is that of the global batch.
        for ours, theirs in zip(read_metrics(tmp_path / name), read_metrics(tmp_path / "one"), strict=True):
            assert ours["step"] == theirs["step"]
            assert ours.get("loss", 0.0) == pytest.approx(theirs.get("loss", 0.0), abs=1e-5)
            assert ours.get("lr") == theirs.get("lr")
        assert read_metrics(tmp_path / name)[-1]["val_accuracy"] == one["accuracy"]
    # One process got the signal, both stopped and saved; the dropout of both goes on exactly.
    assert_same_training(tmp_path / "dropout", tmp_path / "resumed")
    for rank in range(2):
        assert "does not split over 2 processes" in (tmp_path / f"uneven{rank}.txt").read_text()
    # A run may go on with another number of processes.
    assert run(config(dropout=0.0, steps=8), tmp_path / "straight", resume=True) == one
