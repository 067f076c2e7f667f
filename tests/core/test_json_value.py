"""Values of JSON files: what is allowed is returned, everything else names the file and the place."""

from pathlib import Path

import pytest

from gss.core.errors import InputError
from gss.core.json_value import JsonValue

FILE = Path("folder/file.json")


def value(content):
    return JsonValue(content, FILE)


def test_values_of_every_kind():
    content = value({"size": [2, 3.5], "items": [{"id": 7, "name": "a", "on": 1}], "none": None})
    assert content["size"].numbers(2) == [2.0, 3.5] and content.get("none") is None and content.get("other") is None
    (item,) = content["items"]
    assert (item["id"].integer(), item["name"].name(), item["name"].text(), item["on"].flag()) == (7, "a", "a", True)
    assert [key for key, _ in content.items()] == ["size", "items", "none"]
    assert value("12").integer() == 12 and value(3.0).integer() == 3 and value(7).name() == 7


@pytest.mark.parametrize(
    ("access", "content", "message"),
    [
        (lambda v: v["a"], {}, "folder/file.json has no 'a'"),
        (lambda v: v["a"], {"a": None}, "folder/file.json has null as 'a'"),
        (lambda v: v["a"], [1], r"folder/file.json must be a mapping, but is \[1\]"),
        (lambda v: list(v["a"]), {"a": 3}, "folder/file.json: a must be a list, but is 3"),
        (lambda v: list(v["a b"]), {"a b": 3}, r"folder/file.json: \['a b'\] must be a list"),
        (lambda v: next(iter(v))["n"], [{"id": 9}], r"folder/file.json: \[0\] \(id 9\) has no 'n'"),
        (lambda v: next(iter(v["x"]))["n"].number(), {"x": [{"n": "1"}]}, r"x\[0\]\.n must be a finite number"),
        (lambda v: v.number(), True, "a finite number, but is True"),
        (lambda v: v.number(), float("nan"), "a finite number"),
        (lambda v: v.number(), 10**400, "a finite number"),
        (lambda v: v.numbers(), [1, None], "a list of finite numbers"),
        (lambda v: v.numbers(2), [1], "a list of 2 finite numbers"),
        (lambda v: v.integer(), 2.5, "a whole number"),
        (lambda v: v.integer(), float("inf"), "a whole number"),
        (lambda v: v.integer(), "9" * 30, "a whole number"),
        (lambda v: v.integer(), "\u0663", "a whole number"),
        (lambda v: v.text(), 3, "must be text"),
        (lambda v: v.name(), True, "text or a whole number"),
        (lambda v: v.flag(), "yes", "true, false, 0 or 1"),
    ],
)
def test_what_is_not_allowed(access, content, message):
    with pytest.raises(InputError, match=message):
        access(value(content))


def test_messages_are_short():
    deep = []
    for _ in range(500):
        deep = [deep]
    for content in (["x" * 10**6] * 100, {"a" * 10**6: 1}, deep, "line\nbreak" * 1000):
        with pytest.raises(InputError) as error:
            value(content).number()
        assert len(str(error.value)) < 400 and "\n" not in str(error.value)
    with pytest.raises(InputError) as error:
        value({"k\n" * 1000: 1})["k\n" * 1000].text()
    assert len(str(error.value)) < 200 and "\n" not in str(error.value)


def test_numbers_of_a_huge_integer_do_not_overflow():
    with pytest.raises(InputError, match="finite"):
        value([10**400]).numbers()
