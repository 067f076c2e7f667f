import dataclasses
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from gss.core.errors import InputError
from gss.core.files import atomic_path, is_temporary, read_json, restore_or_remove, write_json


def test_file_appears_only_at_the_end(tmp_path):
    target = tmp_path / "new" / "mask.png"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".png"
        temporary.write_text("done")
        assert not target.exists()
    assert target.read_text() == "done"
    assert os.listdir(target.parent) == ["mask.png"]


def test_error_leaves_old_file_and_no_rubbish(tmp_path):
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "model"
    for content in ("one", "two"):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert os.listdir(target) == ["two"]
    assert os.listdir(tmp_path) == ["model"]


def test_error_leaves_old_folder(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "weights").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("half")
        raise KeyboardInterrupt
    assert (target / "weights").read_text() == "old"
    assert os.listdir(tmp_path) == ["model"]


def test_folder_comes_back_when_its_successor_is_missing(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    with pytest.raises(OSError), atomic_path(target):
        pass  # nothing was written
    assert os.listdir(tmp_path) == ["model"]


@dataclasses.dataclass
class Result:
    miou: float
    per_class: np.ndarray
    where: Path


def test_write_json_converts_and_drops_nan(tmp_path):
    result = Result(float("nan"), np.array([0.5, np.nan], dtype=np.float32), Path("a/b"))
    write_json(tmp_path / "r.json", {"r": result, 3: torch.tensor([1, 2]), "n": np.int64(7), "t": (True, None)})
    expected = {
        "r": {"miou": None, "per_class": [0.5, None], "where": "a/b"},
        "3": [1, 2],
        "n": 7,
        "t": [True, None],
    }
    assert json.loads((tmp_path / "r.json").read_text()) == expected


def test_write_json_refuses_the_unknown_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="cannot write a object as JSON"):
        write_json(path, {"a": object()})
    assert path.read_text() == "old"


def test_a_file_never_replaces_a_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("mine")
    with pytest.raises(ValueError, match="is a folder"), atomic_path(tmp_path / "out") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "out" / "kept").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read_with_and_without_a_byte_order_mark(tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_text('{"name": "Straße", "area": 1.5e3, "id": 9007199254740993}', encoding=encoding)
    assert read_json(path) == {"name": "Straße", "area": 1500.0, "id": 9007199254740993}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not valid JSON"),
        (b"{'a': 1}", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'"\xff"', "not UTF-8 text"),
        (b"[NaN]", "NaN is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b"[1e999]", "1e999 is too large"),
        (b"[" + b"9" * 400 + b".0]", "is too large"),
        (b"[" + b"9" * 5000 + b"]", "does not fit into 64 bits"),
        (b"[-9223372036854775809]", "does not fit into 64 bits"),
    ],
)
def test_what_is_not_json_is_an_input_error_with_the_file(tmp_path, content, reason):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"a.json.*{reason}"):
        read_json(path)


def test_missing_json_is_an_input_error_with_the_file(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*a\.json: No such file"):
        read_json(tmp_path / "a.json")


def test_names_as_long_as_a_file_system_takes(tmp_path):
    for name in ("z" * 251 + ".png", "x" * 255, "\u4e2d" * 80 + ".json"):
        with atomic_path(tmp_path / name) as temporary:
            temporary.write_text("whole")
        assert (tmp_path / name).read_text() == "whole"


def test_names_that_are_not_utf8_become_escapes(tmp_path):
    write_json(tmp_path / "names.json", {"image": "caf\udce9.jpg"})
    assert json.loads((tmp_path / "names.json").read_text()) == {"image": "caf\udce9.jpg"}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("disk full")])
def test_errors_of_writing_name_the_file(tmp_path, error):
    with pytest.raises(OSError) as raised, atomic_path(tmp_path / "model.safetensors"):
        raise error
    assert raised.value.filename == str(tmp_path / "model.safetensors")
    assert os.listdir(tmp_path) == []


def leftovers(target):
    """Names that `atomic_path` gives to its new file and to the folder that steps aside."""
    with atomic_path(target) as temporary:
        temporary.mkdir()
    stem, token = temporary.name.split(".tmp")[0].rsplit(".", 1)
    return temporary, target.with_name(f"{stem}.{token}.old")


def test_leftovers_of_a_kill_are_cleared(tmp_path):
    target = tmp_path / "model"
    temporary, aside = leftovers(target)
    assert is_temporary(temporary.name) and is_temporary(aside.name)
    assert not any(map(is_temporary, ("model", ".model", ".model.tmp", "model.0123abcd.tmp", ".a.0123abcd.tmp.b.c")))
    # Killed between the two renames: the earlier folder comes back.
    target.rename(aside)
    temporary.mkdir()
    restore_or_remove(aside)
    restore_or_remove(temporary)
    assert os.listdir(tmp_path) == ["model"]
    # Killed after them: it is removed.
    aside.mkdir()
    restore_or_remove(aside)
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    ("text", "huge"),
    [
        ("[18446744073709551615, -9223372036854775808, 1.7976931348623157e308]", False),
        ("[0.00012345678901234567890123456789, 1.5E-400, 1234.00000000000000000000]", False),
        ("[18446744073709551616]", True),
        ("[0.00012345678901234567890, 99999999999999999999999]", True),
        ("[-9223372036854775809]", True),
        ("[1e309]", True),
        ("[1.0E+0400]", True),
        ("[12345678901234567890123e300]", True),
        ('["a 99999999999999999999999", "\\u00e9", "1e999"]', False),
    ],
)
def test_numbers_beyond_64_bits_are_refused_and_others_read(tmp_path, text, huge):
    path = tmp_path / "a.json"
    path.write_text(text)
    if not huge:
        assert read_json(path) == json.loads(text)
        return
    with pytest.raises(InputError, match="does not fit into 64 bits|is too large"):
        read_json(path)
