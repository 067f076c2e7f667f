"""The map of all commands, and the examples in the help of each."""

import shlex

import pytest

from gss import cli
from gss.cli.overview import EXAMPLES, SECTIONS, STAGE_HELP, overview
from gss.training.stages import STAGES

HELPS = dict(cli._helps(cli.COMMANDS))


def printed(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_map_has_every_command_and_stage(capsys):
    text = printed([], capsys)
    assert text == printed(["--help"], capsys) == overview(HELPS)
    for name in HELPS:
        assert f"  gss {name} " in text
    for stage, words in STAGE_HELP.items():
        assert f"    {stage} " in text and words.split()[0] in text
    assert set(STAGE_HELP) == set(STAGES)
    placed = [name for names in SECTIONS.values() for name in names]
    assert len(placed) == len(set(placed)) and set(placed) <= set(HELPS)
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", [name for names in SECTIONS.values() for name in names])
def test_the_help_of_a_command_has_three_examples_that_can_be_typed(name, capsys):
    text = printed([*name.split(), "--help"], capsys)
    assert len(EXAMPLES[name]) == 3
    for words, line in EXAMPLES[name]:
        assert words in text and line in text
        program, *argv = shlex.split(line.partition(" > ")[0])
        assert program == "gss" and " ".join(argv).startswith(name)
        assert cli.build_parser().parse(argv).prog == f"gss {name}"


@pytest.mark.parametrize("group", ["data", "weak"])
def test_a_group_alone_prints_its_commands(group, capsys):
    assert "ACTION" in printed([group], capsys)
