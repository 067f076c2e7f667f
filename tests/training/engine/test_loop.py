import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loop_checks import SCRIPT, assert_same_training, checkpoint_content
from safetensors.torch import load_file
from tiny_task import Blobs, BlobTask, config, run
from torch import nn

from gss.training.engine.batches import BatchStream, StepSampler, step_samples
from gss.training.engine.log import read_metrics
from gss.training.engine.run_folder import checkpoint_step, list_checkpoints
from gss.training.engine.stop import StopRequest


def test_learns_and_writes_everything(
    tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gss.core.progress._EVERY", 0.0)
    cfg = config(steps=40, log_every=10, eval_every=20, picture_every=20, checkpoint_every=10)
    task = BlobTask(cfg)
    frozen = {k: v.clone() for k, v in task.scale.state_dict().items()}
    assert run(cfg, tmp_path, task=task) == {"accuracy": 1.0}
    lines = read_metrics(tmp_path)
    training = [line for line in lines if "loss" in line]
    assert [line["step"] for line in training] == [10, 20, 30, 40]
    assert training[-1]["loss"] < 0.1 < training[0]["loss"]
    assert training[-1]["epoch"] == pytest.approx(40 * 8 / 22)
    assert {"ce", "lr", "grad_norm", "images_per_second", "data_wait"} <= training[-1].keys()
    assert [line["step"] for line in lines if "val_accuracy" in line] == [20, 40]
    assert [p.name for p in list_checkpoints(tmp_path / "checkpoints")] == ["step_000030", "step_000040"]
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == [
        "step_000020_blob.jpg",
        "step_000040_blob.jpg",
    ]
    assert (tmp_path / "config.yaml").read_text() == (
        tmp_path / "checkpoints" / "step_000040" / "config.yaml"
    ).read_text()
    # The product holds averaged parameters and live buffers; the checkpoint both kinds of parameters.
    product = load_file(tmp_path / "product" / "head.safetensors")
    saved = checkpoint_content(tmp_path, 40)
    assert torch.equal(product["weight"], saved["ema.head.weight"])
    assert not torch.equal(product["weight"], saved["model.head.weight"])
    assert torch.equal(task.head.weight, saved["model.head.weight"])
    assert product["calls"] == 40
    assert not any("scale" in name for name in saved)
    assert all(torch.equal(v, task.scale.state_dict()[k]) for k, v in frozen.items())
    assert "40 of 40 steps" in capfd.readouterr().err
    assert not [p for p in tmp_path.rglob("*") if "tmp" in p.name]


def test_frozen_modules_follow_but_are_no_part() -> None:
    task = BlobTask(config())
    task.train().to(torch.float64)
    assert not task.scale.training
    assert task.scale.weight.dtype == torch.float64
    assert not task.scale.weight.requires_grad
    assert not any("scale" in name for name in (*task.state_dict(), *dict(task.named_modules())))


@pytest.mark.parametrize("workers", [0, 2])
def test_stop_and_resume_in_mid_epoch_is_bit_exact(tmp_path: Path, workers: int) -> None:
    straight = BlobTask(config())
    final = run(config(), tmp_path / "straight", task=straight)
    first = BlobTask(config(), signal_at={3: signal.SIGTERM})
    with pytest.raises(SystemExit) as stop:
        run(config(), tmp_path / "resumed", task=first, workers=workers)
    assert stop.value.code == 143
    assert [p.name for p in list_checkpoints(tmp_path / "resumed" / "checkpoints")] == ["step_000004"]
    assert not (tmp_path / "resumed" / "product").exists()
    second = BlobTask(config(seed=0))
    torch.rand(5)  # the state of the global generator does not matter
    # Validation and pictures in between, which the straight run did not have, do not matter either.
    often = config(eval_every=1, picture_every=1)
    assert run(often, tmp_path / "resumed", task=second, resume=True, workers=workers) == final
    assert_same_training(tmp_path / "straight", tmp_path / "resumed")
    assert first.random + second.random == straight.random
    training = [line for line in read_metrics(tmp_path / "resumed") if "loss" in line]
    assert [line["step"] for line in training] == list(range(1, 8))


def test_resume_after_a_crash_repeats_steps_exactly(tmp_path: Path) -> None:
    run(config(), tmp_path / "straight")
    first = BlobTask(config(checkpoint_every=2))
    forward = first.forward

    def broken(batch: dict, step: int) -> dict:
        if step == 5:
            raise RuntimeError("power cut")
        return forward(batch, step)

    first.forward = broken
    with pytest.raises(RuntimeError, match="power cut"):
        run(config(checkpoint_every=2), tmp_path / "crashed", task=first)
    assert [line["step"] for line in read_metrics(tmp_path / "crashed")][-1] == 5
    with (tmp_path / "crashed" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    run(config(checkpoint_every=2), tmp_path / "crashed", resume=True)
    assert_same_training(tmp_path / "straight", tmp_path / "crashed")
    training = [line for line in read_metrics(tmp_path / "crashed") if "loss" in line]
    assert [line["step"] for line in training] == list(range(1, 8))


def test_ctrl_c_leaves_with_130_and_handlers_are_restored(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stop:
        run(config(), tmp_path, task=BlobTask(config(), signal_at={0: signal.SIGINT}))
    assert stop.value.code == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert "stopped by SIGINT; step 1 is saved" in capfd.readouterr().err


def test_second_ctrl_c_quits_at_once_but_a_repetition_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # the launcher hands the same Ctrl-C on
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 1.5)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert stop.signal_number == signal.SIGINT


def test_finished_run_only_exports_again(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    final = run(config(), tmp_path)
    (tmp_path / "product" / "head.safetensors").unlink()
    (tmp_path / ".product.ab12cd34.tmp").mkdir()
    (tmp_path / ".metrics.ab12cd34.tmp.jsonl").touch()
    (tmp_path / ".product.ab12cd34.old").mkdir()
    lines = read_metrics(tmp_path)
    task = BlobTask(config())
    task.validate = pytest.fail
    assert run(config(), tmp_path, task=task, resume=True) == final
    assert task.random == []
    assert (tmp_path / "product" / "head.safetensors").exists()
    assert read_metrics(tmp_path) == lines
    assert "is finished" in capfd.readouterr().err
    assert not list(tmp_path.glob(".*"))


def test_finished_run_can_be_prolonged(tmp_path: Path) -> None:
    run(config(), tmp_path)
    task = BlobTask(config())
    run(config(steps=9), tmp_path, task=task, resume=True)
    assert len(task.random) == 2


def test_resume_with_other_settings_changes_nothing(tmp_path: Path) -> None:
    run(config(steps=1), tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match="cannot resume .*: width is 7 now and was 6"):
        run(config(width=7), tmp_path, resume=True)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_run_killed_before_its_first_checkpoint_starts_anew(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    run(config(), tmp_path / "straight")
    for name, files in (
        ("empty", []),
        ("data", ["data.json"]),
        ("begun", ["config.yaml", "metrics.jsonl", ".product.0123abcd.tmp"]),
    ):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
        run(config(), tmp_path / name, resume=True)
        assert_same_training(tmp_path / "straight", tmp_path / name)
        assert "has no checkpoint yet: it starts anew" in capfd.readouterr().err
        assert not list((tmp_path / name).glob(".*"))


def test_resume_in_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "holiday.jpg").touch()
    with pytest.raises(ValueError, match="holds 'pictures' and no run to resume"):
        run(config(), tmp_path, resume=True)
    assert (tmp_path / "pictures" / "holiday.jpg").exists()


@pytest.mark.parametrize(
    "name", ["state.json", "config.yaml", "model.safetensors", "optimizer.safetensors", "ema.safetensors"]
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, capfd: pytest.CaptureFixture, name: str
) -> None:
    cfg = config(checkpoint_every=2)
    run(cfg, tmp_path / "straight")
    run(config(steps=7, checkpoint_every=2), tmp_path / "hurt")
    folder = tmp_path / "hurt" / "checkpoints"
    (folder / "step_000007" / name).write_bytes(b"half")
    task = BlobTask(cfg)
    run(cfg, tmp_path / "hurt", task=task, resume=True)
    assert len(task.random) == 1  # from step 6
    assert_same_training(tmp_path / "straight", tmp_path / "hurt")
    told = [line for line in capfd.readouterr().err.splitlines() if "is damaged" in line]
    assert len(told) == 1 and "step_000007" in told[0] and "the one before" in told[0]
    assert [p.name for p in sorted(folder.iterdir())] == ["step_000006", "step_000007"]


def test_only_damaged_checkpoints_are_one_line(tmp_path: Path) -> None:
    run(config(), tmp_path)
    (tmp_path / "checkpoints" / "step_000007" / "model.safetensors").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"step_000007 is damaged .*no earlier one is whole: start anew with --over"
    ) as e:
        run(config(), tmp_path, resume=True)
    assert "\n" not in str(e.value)


def test_a_picture_whose_checkpoint_came_first_is_drawn_again(tmp_path: Path) -> None:
    cfg = config(checkpoint_every=2, picture_every=2)
    run(cfg, tmp_path / "straight")
    run(cfg, tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed" / "checkpoints" / "step_000007")
    (tmp_path / "killed" / "pictures" / "step_000006_blob.jpg").unlink()
    run(cfg, tmp_path / "killed", resume=True)
    names = [sorted(p.name for p in (tmp_path / name / "pictures").iterdir()) for name in ("straight", "killed")]
    assert names[0] == names[1]


@pytest.mark.parametrize("steps", [4, 7])
def test_checkpoints_that_a_kill_kept_from_removal_are_removed(tmp_path: Path, steps: int) -> None:
    run(config(checkpoint_every=2, keep_checkpoints=1), tmp_path / "straight")
    run(config(checkpoint_every=2, keep_checkpoints=9), tmp_path / "killed")
    found = list_checkpoints(tmp_path / "killed" / "checkpoints")
    for checkpoint in found:
        if checkpoint_step(checkpoint) > steps:
            shutil.rmtree(checkpoint)
    run(config(checkpoint_every=2, keep_checkpoints=1), tmp_path / "killed", resume=True)
    assert [path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()] == ["step_000007"]
    assert_same_training(tmp_path / "straight", tmp_path / "killed")


@pytest.mark.parametrize("line", ["[]", "{}", "3", '{"step": "4"}', '{"step": null}', "\xff", "[" * 9999])
def test_lines_that_are_no_metrics_are_passed_over(tmp_path: Path, line: str) -> None:
    run(config(steps=3), tmp_path)
    wanted = read_metrics(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a", encoding="latin-1") as file:
        file.write(line + "\n")
    assert read_metrics(tmp_path) == wanted
    run(config(steps=4), tmp_path, resume=True)
    assert [line["step"] for line in read_metrics(tmp_path) if "loss" in line] == [1, 2, 3, 4]


@pytest.mark.parametrize("where", ["checkpoint", "metrics", "picture", "product"])
def test_a_full_disk_is_one_line_with_the_newest_checkpoint(tmp_path: Path, where: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(SCRIPT), str(tmp_path / "run"), f"full {where}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    name, _, message = done.stdout.strip().partition("|")
    file, step = {
        "checkpoint": ("checkpoints/step_000004", 2),
        "metrics": ("metrics.jsonl", 2),
        "picture": ("pictures/step_000003_noise.jpg", 2),
        "product": ("product", 7),
    }[where]
    assert file in name, done
    assert f"step_{step:06d} is whole, continue with --resume" in message and "\n" not in message
    assert not list((tmp_path / "run").rglob(".*.tmp*"))


def test_a_fresh_start_clears_the_run_before(tmp_path: Path) -> None:
    run(config(steps=9), tmp_path)
    run(config(steps=2), tmp_path)
    assert [p.name for p in list_checkpoints(tmp_path / "checkpoints")] == ["step_000002"]
    assert [line["step"] for line in read_metrics(tmp_path) if "loss" in line] == [1, 2]


def test_accumulation_equals_one_batch(tmp_path: Path) -> None:
    run(config(dropout=0.0), tmp_path / "plain")
    run(config(dropout=0.0, accumulate=4), tmp_path / "accumulated")
    plain, accumulated = (checkpoint_content(tmp_path / n, 7) for n in ("plain", "accumulated"))
    assert accumulated.pop("model.calls") == 4 * plain.pop("model.calls")
    for name, value in plain.items():
        torch.testing.assert_close(accumulated[name], value, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_keeps_weights_and_logs_in_float32(tmp_path: Path, precision: str) -> None:
    cfg = config(precision=precision, checkpoint_every=3)
    seen = []
    task = BlobTask(cfg)
    task.head.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    run(cfg, tmp_path / "whole", task=task)
    assert seen[0] == {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert {v.dtype for v in task.parameters()} == {torch.float32}
    first, *_, last = [line["loss"] for line in read_metrics(tmp_path / "whole") if "loss" in line]
    assert last < first
    # Resumed bit-exactly, with the scale of the gradients.
    run(cfg, tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step_000007")
    run(cfg, tmp_path / "cut", resume=True)
    assert_same_training(tmp_path / "whole", tmp_path / "cut")
    run(config(steps=1), tmp_path / "whole")  # another precision in the same process


def test_non_finite_loss_names_step_term_and_samples(tmp_path: Path) -> None:
    cfg = config(checkpoint_every=1)
    batches = [step_samples(step, size=22, batch_size=8, seed=cfg.train.seed) for step in range(9)]
    step = next(step for step in range(9) if 5 in [index for _, index in batches[step]])
    task = BlobTask(cfg)
    with pytest.raises(ValueError) as error:
        run(config(checkpoint_every=1, keep_checkpoints=9), tmp_path, task=task, data=Blobs(poison=5))
    message = str(error.value)
    assert message.startswith(f"training stopped at step {step}: loss is nan, ce is nan")
    assert "blob5" in message
    assert "\n" not in message
    assert len(list_checkpoints(tmp_path / "checkpoints")) == step
    for folder in list_checkpoints(tmp_path / "checkpoints"):
        assert all(v.isfinite().all() for p in folder.glob("*.safetensors") for v in load_file(p).values())


def test_non_finite_gradient_of_a_finite_loss_stops(tmp_path: Path) -> None:
    task = BlobTask(config())
    task.head.weight.register_hook(lambda grad: grad / 0.0)
    with pytest.raises(ValueError, match=r"step 0: grad_norm is (nan|inf).*no checkpoint was written"):
        run(config(), tmp_path, task=task)


def test_empty_data_and_uneven_batches(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data set is empty"):
        run(config(), tmp_path, data=Blobs(0))
    with pytest.raises(ValueError, match=r"size=8 does not split .*=3; use a multiple of 3 such as 9"):
        run(config(accumulate=3), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_tensorboard_is_told_before_anything_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config(steps=1), tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install tensorboard"):
        run(config(tensorboard=True), tmp_path)
    assert list_checkpoints(tmp_path / "checkpoints")


@given(
    size=st.integers(1, 30),
    count=st.integers(1, 3),
    accumulate=st.integers(1, 3),
    processes=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_every_epoch_uses_every_sample_once_for_any_split(
    size: int, count: int, accumulate: int, processes: int, seed: int
) -> None:
    batch_size = count * accumulate * processes
    steps = 2 * size // batch_size + 2
    batches = [step_samples(step, size=size, batch_size=batch_size, seed=seed) for step in range(steps)]
    stream = [sample for batch in batches for sample in batch]
    assert sorted(stream[: 2 * size]) == [(e, i) for e in range(2) for i in range(size)]
    parts = [
        list(
            StepSampler(
                size=size,
                batch_size=batch_size,
                accumulate=accumulate,
                seed=seed,
                steps=range(1, steps),
                process=process,
                processes=processes,
            )
        )
        for process in range(processes)
    ]
    assert all(len(part) == (steps - 1) * accumulate for part in parts)
    served = [s for micro in zip(*parts, strict=True) for part in micro for s in part]
    assert served == stream[batch_size:]


@pytest.mark.parametrize("workers", [0, 2])
def test_each_sample_is_read_in_its_epoch_also_by_workers(workers: int) -> None:
    def read(workers: int) -> list[torch.Tensor]:
        sampler = StepSampler(size=5, batch_size=4, accumulate=1, seed=1, steps=range(4), process=0, processes=1)
        with closing(BatchStream(Blobs(5), sampler, workers=workers)) as batches:
            return [batch["image"] for batch in batches]

    expected = []
    data = Blobs(5)
    for step in range(4):
        images = []
        for epoch, index in step_samples(step, size=5, batch_size=4, seed=1):
            data.set_epoch(epoch)
            images.append(data[index]["image"])
        expected.append(torch.stack(images))
    state = torch.get_rng_state()
    for found, wanted in zip(read(workers), expected, strict=True):
        assert torch.equal(found, wanted)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("workers", [0, 1])
def test_error_about_a_file_is_one_line_also_from_a_worker(workers: int) -> None:
    class Corrupt(Blobs):
        def __getitem__(self, index: int) -> dict:
            raise ValueError("images/a.png: cannot be read; replace it")

    sampler = StepSampler(size=5, batch_size=1, accumulate=1, seed=1, steps=range(4), process=0, processes=1)
    batches = BatchStream(Corrupt(5), sampler, workers=workers)
    with closing(batches), pytest.raises(ValueError) as error:
        next(batches)
    assert str(error.value) == "images/a.png: cannot be read; replace it"


def test_unnormalised_metrics_stay_valid_json(tmp_path: Path) -> None:
    task = BlobTask(config())
    task.validate = lambda: {"accuracy": float("nan"), "miou": 0.5}
    assert run(config(), tmp_path, task=task)["miou"] == 0.5
    text = (tmp_path / "metrics.jsonl").read_text().splitlines()[-1]
    assert json.loads(text) == {"step": 7, "val_accuracy": None, "val_miou": 0.5}
    again = run(config(), tmp_path, task=task, resume=True)
    assert again["miou"] == 0.5
    assert again["accuracy"] != again["accuracy"]


def test_batch_norm_and_unused_parameters_are_no_trouble(tmp_path: Path) -> None:
    task = BlobTask(config(checkpoint_every=3))
    task.norm = nn.Sequential(task.norm, nn.BatchNorm1d(6 * 8 * 12))
    before = task.unused.weight.clone()
    run(config(checkpoint_every=3), tmp_path, task=task)
    assert torch.equal(task.unused.weight, before)
    saved = checkpoint_content(tmp_path, 7)
    assert saved["model.norm.1.num_batches_tracked"] == 7


def test_killed_while_saving_and_terminated_in_processes_of_their_own(tmp_path: Path) -> None:
    def start(scenario: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), str(tmp_path / scenario), scenario],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    killed, terminated = start("kill"), start("term")
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    folder = tmp_path / "kill" / "checkpoints"
    assert [p.name for p in list_checkpoints(folder)] == ["step_000002"]
    assert len(list(folder.iterdir())) == 2  # with what the kill left behind
    run(config(), tmp_path / "straight")
    run(config(checkpoint_every=2), tmp_path / "kill", resume=True)
    assert_same_training(tmp_path / "straight", tmp_path / "kill")
    assert [p.name for p in sorted(folder.iterdir())] == ["step_000006", "step_000007"]

    metrics = tmp_path / "term" / "metrics.jsonl"
    until = time.monotonic() + 100
    while not (metrics.exists() and metrics.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(terminated.pid, signal.SIGTERM)  # reaches the loader's worker as well
    _, errors = terminated.communicate(timeout=60)
    assert terminated.returncode == 143, errors
    (saved,) = list_checkpoints(tmp_path / "term" / "checkpoints")
    assert f"stopped by SIGTERM; step {int(saved.name[5:])} is saved" in errors
