"""Commands end with what they wrote and with the next command, its paths filled in."""

import shlex

import pytest

from gss import cli
from gss.cli.endings import train_ending
from gss.config.io import load_config, save_config
from gss.training.stages import STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_training_ends_with_its_files_and_a_command_that_can_be_typed(stage, tmp_path):
    out = tmp_path / "my run"
    (out / STAGES[stage].product).mkdir(parents=True)
    cfg = load_config(STAGES[stage].config_class(), [], ["data.spec=some data"])
    lines = train_ending(stage, cfg, out).splitlines()
    assert lines[0] == f"wrote {out}:" and STAGES[stage].product in lines[1]
    following = [line.partition(": ")[2] for line in lines if line.startswith(("next: ", "then: "))]
    assert following
    for line in following:
        program, *argv = shlex.split(line)
        args = cli.build_parser().parse(argv)
        assert program == "gss" and str(out) in " ".join(argv)
        assert "some data" in " ".join(argv) or args.module == "gss.cli.use.predict"


def test_a_folder_given_as_data_root_is_the_data_of_the_next_command(tmp_path):
    cfg = load_config(STAGES["prior"].config_class(), [], ["data.root=photos"])
    assert "--data photos --html" in train_ending("prior", cfg, tmp_path)


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("quickstart/posterior.yaml", "quickstart/prior.yaml"),
        ("configs/camvid/posterior.yaml", "configs/camvid/prior.yaml"),
        ("mine/posterior.yaml", ""),
    ],
)
def test_the_next_stage_keeps_the_config_files_of_its_data(word, other, tmp_path):
    cfg = load_config(STAGES["posterior"].config_class(), [], [])
    line = train_ending("posterior", cfg, tmp_path, [word, "train.steps=3"]).splitlines()[-1]
    words = shlex.split(line.removeprefix("next: "))
    assert words[3:4] == ([other] if other else ["data.spec=scenes"])
    if other:
        load_config(STAGES["prior"].config_class(), [other], [word for word in words if "=" in word])


def test_an_out_with_a_run_of_other_settings_names_them_and_a_free_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "runs/first"
    (out / "posterior").mkdir(parents=True)
    save_config(load_config(STAGES["posterior"].config_class(), [], ["data.spec=scenes"]), out / "config.yaml")
    train = ["train", "posterior", "data.spec=scenes", "--out", "runs/first"]
    assert cli.main([*train, "train.seed=1"]) == 2
    error = capsys.readouterr().err
    assert "runs/first already holds a finished run with other settings (train.seed=0 there and 1 here)" in error
    assert "choose another --out, such as runs/first_seed1, or pass --overwrite" in error and error.count("\n") == 1
    assert cli.main([*train, "data.crop=[48, 64]", "train.steps=7"]) == 2
    assert "such as runs/first_2, or pass --overwrite" in capsys.readouterr().err
    assert cli.main(train) == 2
    assert "already holds 'config.yaml' and more: pass --overwrite" in capsys.readouterr().err
