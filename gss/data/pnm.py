"""Stored numbers of PBM, PGM and PPM files; Pillow scales them to 0..255 or 0..65535."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from gss.core.errors import InputError

_NUMBER = re.compile(rb"(?:\s|#[^\r\n]*(?:[\r\n]|$))*(\d+)")


def read_pnm(path: Path) -> tuple[np.ndarray, int]:
    """Read the stored numbers of a PBM, PGM or PPM file, binary or ASCII.

    Returns:
        uint8 or uint16 `[H, W]`, or `[H, W, 3]` of a PPM, and the largest value that the header allows.

    Raises:
        InputError: truncated, or a number above that of the header; names the file.
    """
    content = path.read_bytes()
    magic, place, header = content[:2], 2, []
    bitmap, plain = magic in (b"P1", b"P4"), magic in (b"P1", b"P2", b"P3")
    for _ in range(2 if bitmap else 3):
        match = _NUMBER.match(content, place)
        if match is None:
            raise InputError(f"mask {path} has a damaged header")
        header.append(int(match[1]))
        place = match.end()
    width, height = header[:2]
    largest = 1 if bitmap else header[2]
    channels = 3 if magic in (b"P3", b"P6") else 1
    count = width * height * channels
    if plain:
        values = _plain_numbers(content[place:], bitmap)
    else:
        body = content[place + 1 :]
        if bitmap:
            rows = np.frombuffer(body, np.uint8, min(len(body), height * -(-width // 8)))
            values = np.unpackbits(rows).reshape(-1, -(-width // 8) * 8)[:, :width].ravel()
        else:
            kind = np.dtype(np.uint8 if largest < 256 else ">u2")
            values = np.frombuffer(body, kind, min(len(body) // kind.itemsize, count))
    if len(values) < count:
        raise InputError(f"mask {path} is truncated: {len(values)} of {count} numbers")
    values = values[:count].reshape((height, width, 3) if channels == 3 else (height, width))
    if values.size and values.max() > largest:
        raise InputError(f"mask {path} holds {values.max()}, but its header says at most {largest}; save it as PNG")
    return values.astype(np.uint8 if largest < 256 else np.uint16), largest


def _plain_numbers(text: bytes, bitmap: bool) -> np.ndarray:
    """Return the numbers of an ASCII file; those of a bitmap need no blanks between them."""
    text = re.sub(rb"#[^\r\n]*", b" ", text)
    if bitmap:
        return np.frombuffer(re.sub(rb"\s", b"", text), np.uint8) - ord("0")
    return np.array([min(int(number), 0x10000) for number in text.split()], np.int64)
