"""Files of weak labels decoded; whatever is wrong with one is an `InputError` that names it."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from gss.core.errors import InputError, shorten
from gss.core.files import read_json, read_text, unique_keys
from gss.core.json_value import LARGEST, JsonValue


def read_json_value(path: Path) -> JsonValue:
    """Return the content of a JSON file; a key given twice is refused."""
    return JsonValue(read_json(path, object_pairs_hook=unique_keys), path)


def read_xml(path: Path) -> ElementTree.Element:
    """Return the root of an XML file.

    Raises:
        InputError: unreadable, or with entity declarations, which label files do not need and which can grow
            without bound.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if b"<!ENTITY" in content:
        raise InputError(f"{path} declares XML entities, which are not allowed; write their text instead")
    try:
        root = ElementTree.fromstring(content)
    # ValueError and LookupError: encodings that ElementTree does not know.
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path} is not valid XML: {shorten(str(error))}") from error
    if root.tag.rpartition("}")[2].lower() == "html":
        raise InputError(f"{path} is a web page, not a file of labels; download it again")
    return root


def xml_number(element: ElementTree.Element, tag: str, path: Path) -> float:
    """Return the number in a child of an XML element.

    Raises:
        InputError: it is missing, or not a finite number.
    """
    text = element.findtext(tag)
    value = to_number(text or "")
    if value is None:
        raise InputError(f"{path}: <{element.tag}> needs a finite number in <{tag}>, got {shorten(repr(text))}")
    return value


def read_csv(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows of a CSV file that are not empty, each with its line number.

    Raises:
        InputError: unreadable, not text, or not CSV.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        return [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from error


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a text file that are not blank, each with its number, counted from 1."""
    return [(number, line) for number, line in enumerate(read_text(path).splitlines(), start=1) if line.strip()]


def read_array(path: Path) -> np.ndarray:
    """Return the numeric array in an `.npy` file.

    Raises:
        InputError: unreadable, or without a plain numeric array. Pickled objects are refused: loading them runs code.
    """
    try:
        # A memory map checks the size that the header states against the file before anything is read.
        values = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    # NumPy parses the header as Python text: SyntaxError, TokenError, UnicodeDecodeError, OverflowError, ... .
    except Exception as error:
        raise InputError(
            f"{path} holds no plain array of numbers: {shorten(str(error) or type(error).__name__)}; pickled Python "
            "objects are refused, because loading them runs code: save a plain array, or CSV or JSON"
        ) from error
    if values.dtype.kind not in "biuf":
        raise InputError(f"{path} holds values of type {values.dtype}; save numbers")
    return values


def to_number(text: str) -> float | None:
    """Return the finite number that a text stands for; None if it stands for none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) <= LARGEST else None
