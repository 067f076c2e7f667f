import pytest

from gss.core.errors import InputError
from gss.core.yaml import read_yaml


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_mark_is_not_content(tmp_path, encoding):
    path = tmp_path / "a.yaml"
    path.write_text("name: Straße\nsplits: [train]\n", encoding=encoding)
    assert read_yaml(path) == {"name": "Straße", "splits": ["train"]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: 1\na: 2\n", "'a' is given twice"),
        (b"a: [", "not valid YAML"),
        (b"[" * 5000, "nested too deeply"),
        (b"- " * 5000, "nested too deeply"),
        (b"a: \xff", "is not UTF-8 text"),
        (b"a: 2001-99-99", "not valid YAML"),
        (b"a: !!int x", "not valid YAML"),
        (b"a: !!bool x", "not valid YAML"),
        (b"a: !!timestamp x", "not valid YAML"),
        (b"a: " + b"9" * 5000, "line 1: number .* does not fit into 64 bits"),
        (b"? [a]\n: 1", "not valid YAML"),
        (b"? {a: 1}\n: 1", "not valid YAML"),
        (b"a: \x01", "not valid YAML"),
        (b"a: !!python/object:os.system x", "not valid YAML"),
    ],
)
def test_what_is_not_yaml_is_an_input_error(tmp_path, content, reason):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_yaml(path)


WORDS = ["yes", "No", "on", "OFF", "true", "null", "~", "2020-01-01", "1_000", "0x1F", "010", "1.0e+3", ".5", "1:30"]
PLACES = {"names": ("classes",), "tables": ("maps.*",), "values": ("label_map",)}


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    "text",
    [
        "classes:\n- sky\n- {}\n",
        "classes:\n  sky: [1, 2, 3]\n  {}: [4, 5, 6]\n",
        "label_map:\n  0: sky\n  1: {}\n",
        "maps:\n  other:\n    {}: sky\n",
        "maps:\n  other:\n    sky: [road, {}]\n",
        "maps:\n  other:\n    sky: {{{}: 0.5, road: .5}}\n",
    ],
)
def test_names_that_yaml_reads_as_something_else_are_refused_with_quotes(tmp_path, text, word):
    path = tmp_path / "a.yaml"
    path.write_text(text.format(word))
    with pytest.raises(InputError, match=r"line \d: YAML reads the name .* put it in quotes: '") as raised:
        read_yaml(path, **PLACES)
    assert f"'{word}'" in str(raised.value)
    path.write_text(text.format(f"'{word}'"))
    assert word in str(read_yaml(path, **PLACES))


def test_names_that_stay_what_they_are(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("classes: [sky, 5, 1e3, -]\nlabel_map: {0x10: sky}\nmaps: {x: {sky: null, road: {a: .5}}}\n")
    data = read_yaml(path, **PLACES)
    assert data["classes"] == ["sky", 5, "1e3", "-"] and data["label_map"] == {16: "sky"}


def test_empty_names_are_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("classes:\n- sky\n-\n")
    with pytest.raises(InputError, match="line 3: a name is empty"):
        read_yaml(path, **PLACES)
