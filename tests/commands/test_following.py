"""What commands say comes next: command lines that the parser takes, with the paths of the command itself."""

import json
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
    (line,) = ending("gss recon runs/p --data camvid")
    assert line.startswith("next: gss train prior camvid/prior.yaml data.spec=camvid posterior=runs/p ")
    assert ending("gss evaluate runs/p --data photos --html r.html") == [
        "next: gss predict runs/p PHOTO.jpg --out masks"
    ]
    assert ending("gss evaluate runs/p --data photos")[0].endswith("--split val --html report.html")
    assert ending("gss data map camvid photos --out map.yaml") == [
        "next: gss cross-domain --pipelines PIPELINE --data photos --map map.yaml"
    ]
    onnx = "gss predict runs/p a.jpg --backend onnx --onnx 'my model.onnx' --out masks"
    demo = "then: gss demo runs/p --onnx 'my model.onnx' --out page"
    assert ending(onnx) == ["next: open the pictures in masks", demo]
    made = ending("gss weak make photos --form points --out weak/points")
    assert made == ["next: gss weak run weak/points --out weak/weak_run"]


def test_after_a_prediction_its_first_overlay_is_opened(tmp_path):
    line = f"gss predict runs/p a.jpg --out {shlex.quote(str(tmp_path))}"
    args = build_parser().parse(shlex.split(line)[1:])
    assert following(args.prog, args) == f"next: open the pictures in {tmp_path}"
    files = {"mask": "a_mask.png", "overlay": "a_overlay.jpg"}
    (tmp_path / "predictions.json").write_text(json.dumps({"images": [{"files": files}]}))
    assert following(args.prog, args) == f"next: open {tmp_path / 'a_overlay.jpg'}"
    (tmp_path / "predictions.json").write_text(json.dumps({"images": [{"files": {"mask": "a_mask.png"}}]}))
    assert following(args.prog, args) == f"next: open {tmp_path / 'a_mask.png'}"
    (tmp_path / "predictions.json").write_text(json.dumps({"images": []}))
    assert "demo" not in following(args.prog, args)
