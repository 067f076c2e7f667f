import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_task import BlobConfig, BlobTask, config
from torch import nn

from gss.training.engine.checkpoint import DamagedCheckpointError, load_checkpoint, save_checkpoint
from gss.training.engine.ema import ParameterEMA
from gss.training.engine.optim import build_optimizer
from gss.training.engine.run_folder import keep_newest, list_checkpoints
from gss.training.engine.sources import Source


def trained(cfg: BlobConfig, steps: int = 2) -> tuple[BlobTask, torch.optim.Optimizer, ParameterEMA]:
    task = BlobTask(cfg)
    optimizer = build_optimizer(task.parameter_groups(cfg.optim), cfg.optim)
    ema = ParameterEMA(task, 0.9)
    for step in range(steps):
        task({"image": torch.randn(4, 1, 8, 12), "label": torch.arange(4)}, step)["loss"].backward()
        optimizer.step()
        ema.update(step)
    return task, optimizer, ema


def save(folder: Path, cfg: BlobConfig, step: int = 5) -> Path:
    task, optimizer, ema = trained(cfg)
    return save_checkpoint(
        folder, step=step, task=task, optimizer=optimizer, ema=ema, scaler={"scale": 2.0}, config=cfg
    )


def test_round_trip_is_exact_and_without_pickle(tmp_path: Path) -> None:
    cfg = config()
    task, optimizer, ema = trained(cfg)
    path = save_checkpoint(tmp_path, step=5, task=task, optimizer=optimizer, ema=ema, scaler={"scale": 2.0}, config=cfg)
    assert {p.suffix for p in path.iterdir()} == {".safetensors", ".json", ".yaml"}
    task2, optimizer2, ema2 = trained(cfg, steps=0)
    state = load_checkpoint(path, task=task2, optimizer=optimizer2, ema=ema2, config=cfg)
    assert state["step"] == 5
    assert state["scaler"] == {"scale": 2.0}
    for name, value in task.state_dict().items():
        assert torch.equal(value, task2.state_dict()[name]), name
    for name, value in ema.average.items():
        assert torch.equal(value, ema2.average[name]), name
    before, after = optimizer.state_dict(), optimizer2.state_dict()
    assert before["param_groups"] == after["param_groups"]
    assert before["state"].keys() == after["state"].keys()
    for number, entry in before["state"].items():
        for key, value in entry.items():
            assert torch.equal(value, after["state"][number][key])


def test_tied_weights_survive(tmp_path: Path) -> None:
    def tied() -> nn.Sequential:
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        model[1].weight = model[0].weight
        return model

    model, other = tied(), tied()
    cfg = config()
    optimizer = build_optimizer([{"params": list(model.parameters())}], cfg.optim)
    path = save_checkpoint(tmp_path, step=1, task=model, optimizer=optimizer, ema=None, scaler=None, config=None)
    optimizer = build_optimizer([{"params": list(other.parameters())}], cfg.optim)
    load_checkpoint(path, task=other, optimizer=optimizer, ema=None, config=None)
    assert torch.equal(other[0].weight, model[0].weight)
    assert other[0].weight is other[1].weight


def test_another_architecture_names_the_shape_and_changes_nothing(tmp_path: Path) -> None:
    path = save(tmp_path, config())
    state = json.loads((path / "state.json").read_text())
    state["config"]["width"] = 7
    (path / "state.json").write_text(json.dumps(state))
    task, optimizer, ema = trained(config(width=7), steps=0)
    before = {k: v.clone() for k, v in task.state_dict().items()}
    with pytest.raises(ValueError, match=r"'backbone.weight' has shape \[6, 1, 3, 3\] there and \[7, 1, 3, 3\]"):
        load_checkpoint(path, task=task, optimizer=optimizer, ema=ema, config=config(width=7))
    assert all(torch.equal(v, before[k]) for k, v in task.state_dict().items())


def test_missing_and_unknown_names(tmp_path: Path) -> None:
    path = save(tmp_path, config())
    task, optimizer, ema = trained(config(), steps=0)
    task.extra = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="has no 'extra.weight'"):
        load_checkpoint(path, task=task, optimizer=optimizer, ema=ema, config=config())
    del task.extra, task.unused
    with pytest.raises(ValueError, match="this run has no 'unused."):
        load_checkpoint(path, task=task, optimizer=optimizer, ema=ema, config=config())


def test_other_configuration_names_the_key(tmp_path: Path) -> None:
    path = save(tmp_path, config())
    task, optimizer, ema = trained(config(), steps=0)
    with pytest.raises(ValueError, match=r"train.batch_size is 4 now and was 8"):
        load_checkpoint(path, task=task, optimizer=optimizer, ema=ema, config=config(batch_size=4))
    free = config(steps=90, log_every=3, eval_every=2, keep_checkpoints=5)
    load_checkpoint(path, task=task, optimizer=optimizer, ema=ema, config=free)


FILES = ["state.json", "config.yaml", "model.safetensors", "optimizer.safetensors", "ema.safetensors"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "missing"])
def test_damage_is_told_and_changes_nothing(tmp_path: Path, name: str, damage: str) -> None:
    path = save(tmp_path, config())
    content = (path / name).read_bytes()
    if damage == "missing":
        (path / name).unlink()
    elif damage == "flipped":
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
        (path / name).write_bytes(flipped)
    else:
        (path / name).write_bytes(content[: 20 if damage == "cut" else 0])
    task, optimizer, ema = trained(config(), steps=0)
    before = {k: v.clone() for k, v in task.state_dict().items()}
    with pytest.raises(DamagedCheckpointError, match=f"{path} is damaged") as error:
        load_checkpoint(path, task=task, optimizer=optimizer, ema=ema, config=config())
    assert "\n" not in str(error.value)
    assert all(torch.equal(v, before[k]) for k, v in task.state_dict().items())


NO_STATES = ["[]", "{}", '{"step": "5", "config": null, "scaler": null}', "[" * 9999, '{"step": NaN}']


@pytest.mark.parametrize("content", NO_STATES)
def test_a_state_that_is_none_is_damage(tmp_path: Path, content: str) -> None:
    path = save(tmp_path, config())
    (path / "state.json").write_text(content)
    task, optimizer, ema = trained(config(), steps=0)
    with pytest.raises(DamagedCheckpointError):
        load_checkpoint(path, task=task, optimizer=optimizer, ema=ema, config=config())


def test_checkpoints_of_version_0_1_are_read(tmp_path: Path) -> None:
    cfg = config()
    task, optimizer, ema = trained(cfg)
    path = save_checkpoint(tmp_path, step=5, task=task, optimizer=optimizer, ema=ema, scaler=None, config=cfg)
    moments = load_file(path / "optimizer.safetensors")
    old = {"|".join(name.removeprefix("state.").rsplit(".", 1)): value for name, value in moments.items()}
    assert "backbone.weight|exp_avg" in old
    save_file(old, path / "optimizer.safetensors")
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({k: state[k] for k in ("step", "scaler", "config")} | {"format": 1}))
    task2, optimizer2, ema2 = trained(cfg, steps=0)
    load_checkpoint(path, task=task2, optimizer=optimizer2, ema=ema2, config=cfg)
    again = save_checkpoint(tmp_path / "b", step=5, task=task2, optimizer=optimizer2, ema=ema2, scaler=None, config=cfg)
    saved = load_file(again / "optimizer.safetensors")
    assert all(torch.equal(saved[name], value) for name, value in moments.items())


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, config())
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | {"format": 99}))
    task, optimizer, ema = trained(config(), steps=0)
    with pytest.raises(ValueError, match="later version of gss"):
        load_checkpoint(path, task=task, optimizer=optimizer, ema=ema, config=config())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("averaged", [False, True])
def test_parameters_that_are_not_finite_are_not_saved(tmp_path: Path, value: float, averaged: bool) -> None:
    task, optimizer, ema = trained(config())
    target = ema.average["head.bias"] if averaged else task.head.bias.detach()
    target[1] = value
    with pytest.raises(ValueError, match="step 5: 1 of 4 values of the parameter head.bias.*lower optim.lr"):
        save_checkpoint(tmp_path, step=5, task=task, optimizer=optimizer, ema=ema, scaler=None, config=config())
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_compared_by_what_they_hold(tmp_path: Path) -> None:
    def source(**facts: str) -> list[Source]:
        return [Source("training images", ("width",), {"images": "12", "ids": "a"} | facts)]

    cfg = config()
    task, optimizer, ema = trained(cfg)
    path = save_checkpoint(
        tmp_path, step=5, task=task, optimizer=optimizer, ema=ema, scaler=None, config=cfg, sources=source()
    )
    moved = dataclasses.replace(cfg, width=7)  # a setting that only says where the images lie
    load_checkpoint(path, task=task, optimizer=optimizer, ema=ema, config=moved, sources=source())
    with pytest.raises(
        ValueError, match=r"training images changed since.*13 images, not 12; other ids\): restore them"
    ):
        load_checkpoint(path, task=task, optimizer=optimizer, ema=ema, config=cfg, sources=source(images="13", ids="b"))
    # A checkpoint of an earlier version knows no inputs: then the spelling counts.
    with pytest.raises(ValueError, match="width is 7 now and was 6"):
        load_checkpoint(path, task=task, optimizer=optimizer, ema=ema, config=moved)


def test_failed_write_leaves_nothing_and_the_old_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, config())
    before = {p.name: p.read_bytes() for p in (tmp_path / "step_000005").iterdir()}

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gss.training.engine.checkpoint.write_json", full_disk)
    for step in (5, 6):
        with pytest.raises(OSError, match="No space"):
            save(tmp_path, config(), step=step)
    assert [p.name for p in tmp_path.iterdir()] == ["step_000005"]
    assert {p.name: p.read_bytes() for p in (tmp_path / "step_000005").iterdir()} == before


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    for name in ("step_000002", "step_1000000", "step_999999", "damaged_step_000003", "damaged_step_999999"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step_000002", "step_999999", "step_1000000"]
    keep_newest(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["damaged_step_000003", "step_1000000", "step_999999"]
    keep_newest(tmp_path / "missing", 2)
    assert list_checkpoints(tmp_path / "missing") == []
