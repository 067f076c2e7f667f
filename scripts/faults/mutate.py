"""Damaged files: random changes of bytes, and odd values in place of every value of a JSON, XML or CSV file."""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 10**20, 1e308, float("nan"), float("inf")),
    *("", "nan", "x" * 300, "\u202e<b>\n", "\ud83d\ude00", [], [None], [[[]]], {}, {"id": []}),
)
"""Values that JSON can hold (NaN and infinity as Python writes them) and that are rarely meant."""

ODD_TEXTS = ("", " ", "nan", "inf", "-1", "1e999", "0x10", "1_0", "x" * 300, "\u202e", "&lt;b&gt;", "9" * 30, "\n")
"""Texts in place of a number or a name."""

_TOKENS = (b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"nan", b"1e999", b"null", b"-", b'"', b"<", b"]", b"{", b",", b"\n")


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a copy of a file with one to four random changes of its bytes."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        size = len(changed)
        start = int(rng.integers(size + 1))
        stop = min(size, start + int(rng.geometric(0.1)))
        kind = int(rng.integers(7))
        if kind == 0 and size:
            changed[min(start, size - 1)] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del changed[start:stop]
        elif kind == 2:
            changed[start:start] = changed[start:stop] * int(rng.integers(1, 4))
        elif kind == 3:
            del changed[start:]
        elif kind == 4:
            changed[start:stop] = rng.bytes(int(rng.integers(1, 9)))
        elif kind == 5:
            changed[start:stop] = bytes([0 if rng.random() < 0.5 else 255]) * (stop - start)
        else:
            changed[start:start] = _TOKENS[int(rng.integers(len(_TOKENS)))]
    return bytes(changed)


def json_variants(content: bytes) -> Iterator[bytes]:
    """Yield a JSON file with every value in turn missing or replaced by each of `ODD_VALUES`."""
    whole = json.loads(content)
    for place in _places(whole, []):
        for odd in (KeyError, *ODD_VALUES):
            changed = copy.deepcopy(whole)
            if place:
                inner = changed
                for key in place[:-1]:
                    inner = inner[key]
                if odd is KeyError:
                    del inner[place[-1]]
                else:
                    inner[place[-1]] = odd
            elif odd is not KeyError:
                changed = odd
            yield json.dumps(changed).encode("utf-8", "surrogatepass")


def _places(value: Any, place: list[Any]) -> Iterator[list[Any]]:
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, [*place, key])


def xml_variants(content: bytes) -> Iterator[bytes]:
    """Yield an XML file with every element in turn removed, emptied, doubled, or with each of `ODD_TEXTS`."""
    count = sum(1 for _ in ElementTree.fromstring(content).iter())
    for number in range(count):
        for change in ("remove", "double", *ODD_TEXTS):
            root = ElementTree.fromstring(content)
            element = list(root.iter())[number]
            above = next((parent for parent in root.iter() if element in list(parent)), None)
            if change == "remove" and above is not None:
                above.remove(element)
            elif change == "double" and above is not None:
                above.append(element)
            elif change not in ("remove", "double"):
                element.text = change
            yield ElementTree.tostring(root)


def csv_variants(content: bytes) -> Iterator[bytes]:
    """Yield a CSV file with every cell in turn missing or replaced by each of `ODD_TEXTS`."""
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    for i, row in enumerate(rows):
        for j in range(len(row)):
            for odd in (None, *ODD_TEXTS):
                cells = [*row[:j], *([] if odd is None else [odd]), *row[j + 1 :]]
                out = io.StringIO(newline="")
                csv.writer(out).writerows([*rows[:i], cells, *rows[i + 1 :]])
                yield out.getvalue().encode()


def line_variants(content: bytes) -> Iterator[bytes]:
    """Yield a text file with every word in turn missing or replaced by each of `ODD_TEXTS`."""
    lines = [line.split(" ") for line in content.decode().splitlines()]
    for i, words in enumerate(lines):
        for j in range(len(words)):
            for odd in (None, *ODD_TEXTS):
                changed = [*words[:j], *([] if odd is None else [odd]), *words[j + 1 :]]
                yield "\n".join(" ".join(line) for line in [*lines[:i], changed, *lines[i + 1 :]]).encode()


def variants(suffix: str, content: bytes) -> Iterator[bytes]:
    """Yield the systematic variants of a file by its suffix; none for images and arrays."""
    kinds = {".json": json_variants, ".xml": xml_variants, ".csv": csv_variants, ".txt": line_variants}
    if suffix in kinds:
        yield from kinds[suffix](content)


def hostile(suffix: str, content: bytes) -> dict[str, bytes]:
    """Return files of the well-known kinds of damage, by name; most of them cannot be read."""
    files = {
        "empty": b"",
        "half": content[: len(content) // 2],
        "zeros": bytes(len(content)),
        "not UTF-8": content[:5] + b"\xe9\xff\xc3" + content[5:],
        "lone surrogate": content[:5] + b"\xed\xa0\x80" + content[5:],
        "page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "pickle": b"\x80\x04\x95\x15\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",
        "zip": b"PK\x03\x04" + content[:40],
    }
    if suffix == ".json":
        files |= {
            "deep list": b"[" * 200_000,
            "deep mapping": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
            "long number": content.replace(b"1", b"1" * 5000, 1),
            "NaN": content.replace(b"1", b"NaN", 1),
        }
    if suffix == ".xml":
        entities = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10 if n else b"x") for n in range(12))
        body = content.partition(b"?>")[2] or content
        files |= {
            "deep": b"<a>" * 100_000 + b"</a>" * 100_000,
            "entity bomb": b"<!DOCTYPE a [" + entities + b"]>" + body.replace(b">", b">&e11;", 1),
            "external entity": b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
            + body.replace(b">", b">&e;", 1),
            "unknown encoding": b'<?xml version="1.0" encoding="klingon"?>' + body,
            "several-byte encoding": b'<?xml version="1.0" encoding="shift_jis"?>' + body,
        }
    if suffix == ".csv":
        files |= {
            "quote": content.replace(b",", b',"', 1),
            "long cell": content.replace(b",", b"," + b"x" * 200_000, 1),
        }
    if suffix == ".npy":
        head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }"
        for name, shape in (
            ("huge", b"10**18, 3"),
            ("large", b"1000000000000, 3"),
            ("negative", b"-1, 3"),
            ("open", b"3, ("),
        ):
            text = (head % shape).ljust(117) + b"\n"
            files[name] = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(36)
        for name, array in (
            ("objects", np.array([None, {}], dtype=object)),
            ("text", np.array(["a", "b"])),
            ("records", np.zeros(3, [("a", "f4")])),
            ("complex", np.zeros((3, 3), complex)),
            ("no axis", np.float32(3)),
            ("NaN", np.full((3, 3), np.nan)),
        ):
            out = io.BytesIO()
            np.save(out, array, allow_pickle=True)
            files[name] = out.getvalue()
    return files
