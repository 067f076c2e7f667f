"""What commands say comes next: command lines that the parser takes, with the paths of the command itself."""

import shlex
from collections.abc import Mapping

import pytest

from gss.cli import COMMANDS, build_parser
from gss.cli.following import FOLLOWING, following
from gss.cli.overview import EXAMPLES

# These say it themselves, in the middle of their last lines, or end with a page to look at.
OWN_ENDING = {"quickstart", "train", "config", "palette", "zoo", "demo", "data init", "data check"}


def commands(table=COMMANDS, before=""):
    for name, entry in table.items():
        if isinstance(entry, Mapping):
            yield from commands(entry, f"{name} ")
        else:
            yield f"{before}{name}"


def test_every_command_has_an_ending():
    assert set(FOLLOWING) | OWN_ENDING == set(commands())
    assert not set(FOLLOWING) & OWN_ENDING


@pytest.mark.parametrize("name", sorted(FOLLOWING))
def test_what_follows_is_a_command(name):
    parser = build_parser()
    for _, line in EXAMPLES[name]:
        args = parser.parse(shlex.split(line)[1:])
        assert args.prog == f"gss {name}"
        for ending in following(args.prog, args).splitlines():
            word, _, command = ending.partition(" ")
            assert word in ("next:", "then:")
            if command.startswith("gss "):
                parser.parse(shlex.split(command)[1:])  # exits with 2 where it is none
            else:
                assert "open" in command


def test_paths_are_those_of_the_command():
    parser = build_parser()

    def ending(line):
        args = parser.parse(shlex.split(line)[1:])
        return following(args.prog, args).splitlines()

    assert ending("gss recon runs/my posterior --data photos --root 'a b'") != []
    lines = ending("gss recon 'runs/my posterior' --data photos --root 'a b'")
    assert lines == [
        "next: gss train prior data.spec=photos 'data.root=a b' 'posterior=runs/my posterior' --out runs/prior"
    ]
    assert ending("gss evaluate runs/p --data photos --html r.html") == [
        "next: gss predict runs/p PHOTO.jpg --out masks"
    ]
    assert ending("gss evaluate runs/p --data photos")[0].endswith("--split val --html report.html")
    assert ending("gss data map camvid photos --out map.yaml") == [
        "next: gss cross-domain --pipelines PIPELINE --data photos --map map.yaml"
    ]
    made = ending("gss weak make photos --form points --out weak/points")
    assert made == ["next: gss weak run weak/points --out weak/weak_run"]
