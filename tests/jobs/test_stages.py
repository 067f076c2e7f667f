"""Jobs of several stages: what is finished is not repeated, what was interrupted continues, changes are refused."""

import shutil

import pytest

from gss.config.io import load_config
from gss.config.posterior import PosteriorConfig
from gss.core.errors import InputError
from gss.core.interrupt import Interrupted
from gss.jobs.stages import Stage, prepare_job, read_records, run_stages, training_stage
from gss.training.engine.run_folder import list_checkpoints


class Job:
    """Three stages that record how they are called, and one of which can be stopped."""

    def __init__(self, folder, **after):
        self.folder, self.after, self.calls, self.stop = folder, after, [], ""

    def run(self, chosen=(), redo=(), **settings):
        def work(name):
            def do(fresh):
                self.calls.append((name, fresh))
                if self.stop == name:
                    raise RuntimeError("stopped")
                return {"of": name}

            return do

        stages = [Stage(n, {"x": settings.get(n, 0)}, [], work(n), self.after.get(n)) for n in "abc"]
        self.calls = []
        return run_stages(stages, self.folder, chosen=chosen, redo=redo)

    @property
    def names(self):
        return [name for name, _ in self.calls]


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


def test_an_interrupted_stage_may_continue_its_own_run(job, tmp_path):
    job.stop = "b"
    with pytest.raises(RuntimeError):
        job.run()
    assert job.calls == [("a", True), ("b", True)]
    with pytest.raises(RuntimeError):
        job.run()
    assert job.calls == [("b", False)]
    job.stop = ""
    assert job.run(b=1)["c"].result == {"of": "c"}
    assert job.calls == [("b", True), ("c", True)]  # other settings than those of the interrupted run
    job.stop = "c"
    with pytest.raises(RuntimeError):
        job.run(b=1, c=2, redo="c")
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(tmp_path / "stages.json", moved)
    job.stop, job.folder = "", moved
    job.run(b=1, c=2)
    assert job.calls == [("c", True)]  # a checkpoint of it would name files by their old paths


def test_what_builds_on_a_repeated_stage_is_repeated(job):
    job.run()
    job.run()
    assert job.calls == []
    job.run(chosen="a", redo="a")
    assert job.names == ["a"]
    job.run(chosen="b")
    assert job.names == ["b"]
    with pytest.raises(InputError, match="needs 'b'"):
        job.run(chosen="c", redo="b")
    job.run()
    assert job.names == ["c"]


def test_stages_that_do_not_build_on_each_other(tmp_path):
    job = Job(tmp_path, b=["a"], c=["a"])
    job.run()
    job.run(redo="b")
    assert job.names == ["b"]
    job.run(redo="a")
    assert job.names == ["a", "b", "c"]
    with pytest.raises(InputError, match="needs 'a'"):
        job.run(chosen="c", redo="a")
    job.run(chosen="c", redo="b")
    assert job.names == []


def test_changes_and_unknown_names_are_refused(job):
    job.run()
    with pytest.raises(InputError, match=r"stage 'c' .* x = 0, which is 1 now: pass --redo c"):
        job.run(c=1)
    with pytest.raises(InputError, match="unknown stage 'd'"):
        job.run(chosen="d")


def test_records_are_checked(tmp_path):
    prepare_job(tmp_path, overwrite=False)
    assert read_records(tmp_path) == {}
    for text in ("{", "[1]", '{"a": 3}', '{"a": {}}'):
        (tmp_path / "stages.json").write_text(text)
        with pytest.raises(InputError, match="remove it to run all stages again"):
            read_records(tmp_path)


def test_an_interrupted_training_continues(tmp_path, capsys, monkeypatch):
    text = "name: tiny\ngenerator: scenes\nlength: {train: 2, val: 1}\nimage_size: [32, 32]\n"
    (tmp_path / "tiny.yaml").write_text(text)
    short = ["data.crop=[32,32]", "train.batch_size=2", "train.steps=2", "vq.hidden_dim=16", "vq.codebook_size=16"]
    short += [f"data.spec={tmp_path / 'tiny.yaml'}", "loss.repaint_steps=1", "loss.cells=50", "data.workers=0"]
    cfg = load_config(PosteriorConfig, [], [*short, "weak.allow_missing=true"])
    stage = training_stage("first", "posterior", cfg, tmp_path)
    assert 0 <= stage.work(True)["encoder_miou"] <= 1
    assert [path.name for path in list_checkpoints(tmp_path / "first" / "checkpoints")] == ["step_000002"]
    capsys.readouterr()
    stage.work(False)
    assert "is finished; exporting it again at step 2" in capsys.readouterr().err
    # A job has no --resume: the same command continues, and --redo starts a stage anew.
    with monkeypatch.context() as patch, pytest.raises(Interrupted) as stop:
        patch.setattr("gss.training.engine.loop._Run._finish", interrupt)
        run_stages([stage], tmp_path)
    assert "step_000002 is whole, the same command continues" in str(stop.value) and "--resume" not in str(stop.value)
    (tmp_path / "first" / "checkpoints" / "step_000002" / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="is damaged .*start anew with --redo first") as error:
        stage.work(False)
    assert "--resume" not in str(error.value) and "--overwrite" not in str(error.value)


def test_a_job_that_is_stopped_says_how_it_goes_on(tmp_path):
    with pytest.raises(Interrupted, match="interrupted; the same command continues") as stop:
        run_stages([Stage("slow", {}, [], interrupt)], tmp_path)
    assert stop.value.exit_code == 130


def interrupt(*_):
    raise KeyboardInterrupt
