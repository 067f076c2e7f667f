"""Commands end with what they wrote and with the next command, its paths filled in."""

import shlex

import pytest

from gss import cli
from gss.cli.endings import train_ending
from gss.config.io import load_config
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
