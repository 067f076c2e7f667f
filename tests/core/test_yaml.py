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
        (b"a: " + b"9" * 5000, "not valid YAML"),
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
