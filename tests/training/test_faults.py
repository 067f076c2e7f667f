"""What goes wrong in a run and how it ends: the same for every stage that it can happen to."""

import json
import shutil
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from stage_toys import STAGES, config, relabel, settings, write

from gss.cli import main
from gss.config.io import save_config
from gss.core.errors import InputError
from gss.core.outputs import LOCK_NAME
from gss.training.engine.log import read_metrics
from gss.training.engine.run_folder import DATA_FILE, list_checkpoints
from gss.training.engine.task import Task
from gss.training.run import train
from gss.training.stages import STAGES as ALL

EACH = pytest.mark.parametrize("stage", STAGES)
# Faults that the loop answers for every stage alike.
SOME = pytest.mark.parametrize("stage", ["posterior", "weak-tags"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("stages"))


@pytest.fixture
def root(whole, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(whole, tmp_path / "stages")
    return tmp_path / "stages"


@pytest.fixture(scope="module")
def finished(whole, tmp_path_factory):
    """Give a copy of a run of three steps with checkpoints after two and three; each stage is trained once."""
    folder = tmp_path_factory.mktemp("finished")

    def copy(stage, target):
        if not (folder / stage).exists():
            train(stage, config(whole, stage), folder / stage)
        shutil.copytree(folder / stage, target)
        return target

    return copy


def weights(out, step=3):
    path = out / "checkpoints" / f"step_{step:06d}" / "model.safetensors"
    return {name: value.clone() for name, value in load_file(path).items()}  # not mapped: the file may be changed


def losses(out):
    return [line["loss"] for line in read_metrics(out) if "loss" in line]


def one_line(capsys):
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gss: ")]
    return line


@EACH
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains(whole, finished, tmp_path, stage, precision):
    out = tmp_path / "run"
    train(stage, config(whole, stage, f"train.precision={precision}"), out)
    assert len(losses(out)) == 3 and np.isfinite(losses(out)).all()
    saved = [value for value in weights(out).values() if value.is_floating_point()]
    assert {value.dtype for value in saved} <= {torch.float32, torch.float64}
    assert all(value.isfinite().all() for value in saved)
    # The same computation, less exactly.
    exact = finished(stage, tmp_path / "exact")
    assert losses(out)[0] == pytest.approx(losses(exact)[0], rel=0.05)


@EACH
def test_a_moved_data_set_resumes_and_a_changed_one_does_not(root, finished, tmp_path, stage):
    run = finished(stage, tmp_path / "run")
    wanted = weights(run)
    shutil.rmtree(run / "checkpoints" / "step_000003")
    moved = root.rename(tmp_path / "moved")
    train(stage, config(moved, stage), run, resume=True)
    assert all(torch.equal(value, wanted[name]) for name, value in weights(run).items())
    relabel(moved, lambda mask: np.roll(mask, 1, axis=1))
    with pytest.raises(ValueError, match=r"training images changed since the run began \(other contents\): restore"):
        train(stage, config(moved, stage), run, resume=True)
    for kind in ("images", "masks"):
        shutil.copy(moved / "data" / kind / "train" / "0.png", moved / "data" / kind / "train" / "9.png")
    with pytest.raises(ValueError, match="7 images, not 6"):
        train(stage, config(moved, stage), run, resume=True)


@pytest.mark.parametrize("stage, paste", [("density", True), ("density", False), ("residual", True)])
def test_moved_outliers_resume_and_changed_ones_do_not(root, tmp_path, stage, paste):
    def more(folder):
        options = [f"outliers.spec={folder}", f"outliers.paste={str(paste).lower()}", "outliers.split=all"]
        return [f"outliers.objects={folder}"] if stage == "residual" else options

    objects, out = root / "objects", tmp_path / "run"
    train(stage, config(root, stage, *more(objects)), out)
    wanted = weights(out)
    shutil.rmtree(out / "checkpoints" / "step_000003")
    objects = objects.rename(root / "moved")
    train(stage, config(root, stage, *more(objects)), out, resume=True)
    assert all(torch.equal(value, wanted[name]) for name, value in weights(out).items())
    for path in (objects / "images").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    with pytest.raises(ValueError, match=r"(outliers|training objects) changed since the run began \(other contents"):
        train(stage, config(root, stage, *more(objects)), out, resume=True)


@SOME
def test_the_account_of_files_is_written_again_where_a_kill_came_before_it(whole, finished, tmp_path, stage):
    run = finished(stage, tmp_path / "run")
    wanted = (run / DATA_FILE).read_bytes()
    (run / DATA_FILE).unlink()
    train(stage, config(whole, stage), run, resume=True)
    assert (run / DATA_FILE).read_bytes() == wanted


@pytest.mark.parametrize("stage, folder", [("prior", "posterior"), ("density", "pipeline"), ("residual", "pipeline")])
def test_other_weights_at_the_same_place_are_refused(root, finished, tmp_path, stage, folder):
    run = finished(stage, tmp_path / "run")
    (path,) = (root / folder / "vqvae").glob("*.safetensors")
    tensors = load_file(path)
    name = next(name for name in tensors if name.startswith("decoder"))
    save_file(tensors | {name: tensors[name] + 1}, path)
    with pytest.raises(ValueError, match=f"the {folder} changed since the run began"):
        train(stage, config(root, stage), run, resume=True)


@EACH
def test_no_labelled_pixel_is_told_before_training(root, tmp_path, capsys, stage):
    relabel(root, lambda mask: np.full_like(mask, 255))
    out = tmp_path / "run"
    assert main(["train", stage, *settings(root, stage), "--out", str(out)]) == 2
    message = one_line(capsys)
    assert "has a label" in message or "has the tag" in message
    assert not out.exists()


@pytest.mark.parametrize("stage", ["posterior", "prior", "twin"])
def test_a_class_without_training_pixels_stops_training(root, tmp_path, stage):
    relabel(root, lambda mask: np.where(mask == 4, 255, mask))
    with pytest.raises(InputError, match=r"no pixel of split 'train' .* is labelled pole.*weak\.allow_missing=true"):
        train(stage, config(root, stage, "train.steps=1"), tmp_path / "run")


@pytest.mark.parametrize("stage", ["density", "residual"])
def test_a_class_without_training_pixels_is_a_warning(root, tmp_path, stage):
    relabel(root, lambda mask: np.where(mask == 4, 255, mask))
    with pytest.warns(UserWarning, match="no pixel of split 'train' .* is labelled pole: these classes will not"):
        train(stage, config(root, stage, "train.steps=1"), tmp_path / "run")


@pytest.mark.parametrize("stage", ["weak-agmm", "weak-tags"])
def test_weak_labels_without_some_class_are_refused(root, tmp_path, stage):
    relabel(root, lambda mask: np.where(mask == 4, 255, mask))
    with pytest.raises(ValueError, match="pole"):
        train(stage, config(root, stage), tmp_path / "run")


@SOME
def test_killed_before_the_first_checkpoint_starts_anew(whole, tmp_path, capsys, stage):
    out = tmp_path / "run"
    (out / "pictures").mkdir(parents=True)
    save_config(config(whole, stage), out / "config.yaml")
    (out / f".{ALL[stage].product}.0123abcd.tmp").mkdir()
    (out / "pictures" / ".step_000002_a.0123abcd.tmp.jpg").touch()
    assert main(["train", stage, *settings(whole, stage), "--out", str(out), "--resume"]) == 0
    assert "has no checkpoint yet: it starts anew" in capsys.readouterr().err
    assert (out / ALL[stage].product).is_dir()
    assert not list(out.rglob(".*"))


@EACH
def test_stopped_while_exporting_names_the_newest_checkpoint(whole, finished, tmp_path, capsys, monkeypatch, stage):
    out = finished(stage, tmp_path / "run")
    command = ["train", stage, *settings(whole, stage), "--out", str(out), "--resume"]

    def subclasses(cls):
        return [cls, *(below for child in cls.__subclasses__() for below in subclasses(child))]

    for cls in subclasses(Task):
        monkeypatch.setattr(cls, "export", lambda self, folder: signal.raise_signal(signal.SIGTERM))
    assert main(command) == 143
    newest = out / "checkpoints" / "step_000003"
    assert one_line(capsys) == f"gss: stopped by SIGTERM; {newest} is whole, continue with --resume"
    assert (out / ALL[stage].product).is_dir()  # of before
    monkeypatch.undo()
    assert main(command) == 0
    assert not list(out.rglob(".*"))


@SOME
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_starting_names_the_newest_checkpoint(
    whole, finished, tmp_path, capsys, monkeypatch, stage, number
):
    out = finished(stage, tmp_path / "run")
    monkeypatch.setattr("gss.training.engine.stage.fit", lambda *args, **options: signal.raise_signal(number))
    assert main(["train", stage, *settings(whole, stage), "--out", str(out), "--resume"]) == 128 + number
    what = "interrupted" if number == signal.SIGINT else "stopped by SIGTERM"
    newest = out / "checkpoints" / "step_000003"
    assert one_line(capsys) == f"gss: {what}; {newest} is whole, continue with --resume"
    assert not (out / LOCK_NAME).exists()


@SOME
def test_a_folder_in_use_is_refused(whole, tmp_path, capsys, stage):
    out = tmp_path / "run"
    out.mkdir()
    holder = {"pid": 1, "host": "elsewhere", "started": "x", "since": "2026-01-02 03:04:05", "command": "gss train"}
    (out / LOCK_NAME).write_text(json.dumps(holder))
    for flag in ([], ["--resume"], ["--overwrite"]):
        assert main(["train", stage, *settings(whole, stage), "--out", str(out), *flag]) == 2
        message = one_line(capsys)
        assert "process 1 on elsewhere since 2026-01-02 03:04:05" in message and "--force" in message
    assert [path.name for path in out.iterdir()] == [LOCK_NAME]
    assert main(["train", stage, *settings(whole, stage), "--out", str(out), "--force"]) == 0
    assert not (out / LOCK_NAME).exists()


@SOME
def test_a_damaged_checkpoint_gives_way_to_the_one_before(whole, finished, tmp_path, capsys, stage):
    out = finished(stage, tmp_path / "run")
    wanted = weights(out)
    path = out / "checkpoints" / "step_000003" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    train(stage, config(whole, stage), out, resume=True)
    told = [line for line in capsys.readouterr().err.splitlines() if "is damaged" in line]
    assert len(told) == 1 and "step_000003" in told[0] and "the one before is taken" in told[0]
    assert all(torch.equal(value, wanted[name]) for name, value in weights(out).items())
    assert len(list_checkpoints(out / "checkpoints")) == 2


@pytest.mark.parametrize("stage", ["twin", "prior", "weak-agmm"])
def test_one_image_and_a_small_crop_name_the_settings(whole, tmp_path, stage):
    resnet = (
        "model.backbone_config={model_type: resnet, embedding_size: 16, hidden_sizes: [16, 16, 16, 16], "
        "depths: [1, 1, 1, 1], layer_type: basic}"
    )
    more = [resnet, "data.crop=[16,16]", "train.batch_size=1", "train.steps=1"]
    with pytest.raises(ValueError, match=r"train.batch_size .* 1 image, and data.crop .*freeze_batch_norm=true"):
        train(stage, config(whole, stage, *more), tmp_path / "run")
    train(stage, config(whole, stage, *more, "model.freeze_batch_norm=true"), tmp_path / "other")


@pytest.mark.parametrize("stage", ["posterior", "prior", "twin", "weak-agmm"])
def test_nothing_to_measure_is_null(root, tmp_path, stage):
    relabel(root, lambda mask: np.full_like(mask, 255), split="val")
    said = []
    figures = train(stage, config(root, stage, "train.steps=1"), tmp_path / "run", say=said.append)
    names = [name for name in figures if name.endswith(("miou", "boundary_f"))]
    assert names and all(np.isnan(figures[name]) for name in names)
    (recorded,) = [line for line in read_metrics(tmp_path / "run") if any(key.startswith("val_") for key in line)]
    assert {recorded[key] for key in recorded if key.endswith(("miou", "boundary_f"))} == {None}
    assert "0.0000" not in "".join(said) and "nan" not in "".join(said)


def test_results_do_not_replace_what_is_read(root, tmp_path, capsys):
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert main(["train", "twin", *settings(root, "twin"), "--out", str(root / "data"), "--overwrite"]) == 2
    assert "is the data set itself" in one_line(capsys)
    assert main(["train", "density", *settings(root, "density"), "--out", str(root), "--overwrite"]) == 2
    assert f"pipeline={root / 'pipeline'}, which is read" in one_line(capsys)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
