"""Values in messages are shown as they are, and shortened where they are long."""

import json

import pytest
from image_folders import write_folder

from gss.cli import main
from gss.core.errors import quoted, shorten, shorten_words

LONG = "7" * 5000


@pytest.mark.parametrize("value", ["a", "it's", 3, None, [1, 2.5], {"a": [1]}, "x" * 190])
def test_short_values_are_shown_whole(value):
    assert quoted(value) == repr(value)


@pytest.mark.parametrize(
    "value",
    [LONG, 10**5000, [LONG] * 9, {LONG: LONG}, list(range(10**5)), {"a": {"b": {"c": list(range(999))}}}],
    ids=["text", "number", "list", "mapping", "many", "nested"],
)
def test_long_values_are_shortened(value):
    assert len(quoted(value)) < 700 and "\n" not in quoted(value)


def test_texts_and_words():
    assert shorten("two\n  lines") == "two lines" and len(shorten("word " * 999)) < 210
    path = "/".join(["x" * 240] * 4)
    message = f"{path}: bad"
    assert shorten_words(message) == message
    assert len(shorten_words(f"{path}: {LONG} is bad")) < 1100


SPEC = "image: images/{id}.png\nmask: m/{id}.png\n"
PLACES = {
    "class key": ("classes.json", json.dumps({"classes": {LONG: "a"}})),
    "class name": ("classes.json", json.dumps({"classes": {"0": [LONG]}})),
    "turned round": ("classes.json", json.dumps({"classes": {LONG: 3}})),
    "ignore index": ("classes.json", json.dumps({"classes": {"0": "a"}, "ignore_index": LONG})),
    "twice": ("classes.json", f'{{"classes": {{"{LONG}": "a", "{LONG}": "b"}}}}'),
    "number": ("classes.json", f'{{"classes": {{"0": {LONG}}}}}'),
    "list": ("val.txt", f"{LONG}\n"),
    "list with masks": ("val.txt", f"val_0 {LONG}.png\n"),
    "spec key": ("data.yaml", f"image: a/{{id}}\n'{LONG}': 3\n"),
    "spec value": ("data.yaml", f"image: '{LONG}'\nmask: m/{{id}}.png\nclasses: [a, b]\n"),
    "spec number": ("data.yaml", SPEC + f"classes: [a]\nignore: 0x{LONG}\n"),
    "spec class": ("data.yaml", SPEC + f"classes: [{LONG}]\n"),
    "spec colour": ("data.yaml", SPEC + f"classes: {{a: '{LONG}'}}\n"),
    "spec map": (
        "data.yaml",
        SPEC + f"classes: [a]\nlabel_map: {{'{LONG}': a}}\n",
    ),
    "spec splits": ("data.yaml", SPEC + f"classes: [a]\nsplits: [{LONG}]\n"),
    "spec weak": (
        "data.yaml",
        SPEC + f"classes: [a]\nweak: {{format: '{LONG}', folder: .}}\n",
    ),
    "spec domains": ("data.yaml", f"domains: {{'{LONG} ': camvid}}\nclasses: [a]\n"),
    "root": ("data.yaml", f"root: '{LONG}'\nimage: images/{{id}}.png\nmask: m/{{id}}.png\nclasses: [a]\n"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_long_value_of_a_file_is_not_repeated_whole(tmp_path, capsys, place):
    folder = write_folder(tmp_path / "street")
    name, content = PLACES[place]
    (folder / name).write_text(content)
    assert main(["data", "check", str(folder)]) in (1, 2)
    output = capsys.readouterr()
    lines = (output.out + output.err).splitlines()
    assert max(map(len, lines)) < 1500


@pytest.mark.parametrize(
    "words",
    [
        ["train", "prior", f"data.spec={LONG}"],
        ["train", "prior", f"{LONG}=3"],
        ["train", "prior", f"train.steps={LONG}"],
        ["train", "prior", f"train.steps=a{LONG}"],
        ["train", LONG],
        ["data", "check", LONG],
        ["evaluate", LONG, "--data", "camvid"],
        ["evaluate", "x", "--data", "camvid", "--size", LONG],
        ["evaluate", "x", "--data", "camvid", "--dtype", LONG],
        ["predict", "x", LONG, "--out", "/nowhere/at/all"],
        ["cross-domain", "--pipelines", LONG, "--data", "camvid"],
        ["weak", "make", "camvid", "--form", LONG, "--out", "x"],
        ["palette", LONG],
    ],
    ids=lambda words: "-".join(word[:9] for word in words),
)
def test_a_long_argument_is_not_repeated_whole(capsys, monkeypatch, tmp_path, words):
    monkeypatch.chdir(tmp_path)
    try:
        code = main([*words, *(["--out", "out"] if words[0] == "train" else [])])
    except SystemExit as stop:  # argparse
        code = stop.code
    assert code == 2
    assert max(map(len, capsys.readouterr().err.splitlines())) < 1500
