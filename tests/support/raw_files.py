"""Image files that Pillow does not write: TIFF with any tags, EXIF blocks with any entries."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def write_tiff(path: Path, values: np.ndarray, *, photometric: int = 1, bits: int = 0, **tags: int) -> Path:
    """Write an uncompressed TIFF `[H, W]` or `[H, W, C]` of any NumPy type, or with 1, 2 or 4 bits a sample.

    Args:
        path: file to write.
        values: samples.
        photometric: 0 white is zero, 1 black is zero, 2 RGB.
        bits: bits of a sample, where fewer than those of the type.
        tags: further tags as `t339=2`.
    """
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    depth = bits or values.dtype.itemsize * 8
    body = values.astype(values.dtype.newbyteorder("<")).tobytes()
    if bits:
        unpacked = np.unpackbits(values.astype(np.uint8).reshape(height, -1, 1), axis=2)[..., 8 - bits :]
        body = np.packbits(unpacked.reshape(height, -1), axis=1).tobytes()
    entries = {256: (width,), 257: (height,), 258: (depth,) * channels, 259: (1,), 262: (photometric,)}
    entries |= {277: (channels,), 278: (height,), 279: (len(body),)}
    entries |= {int(tag[1:]): (value,) for tag, value in tags.items()}
    count = len(entries) + 1
    extra_at = 8 + 2 + 12 * count + 4
    extra = struct.pack(f"<{channels}H", *entries[258]) if channels > 2 else b""
    entries[273] = (extra_at + len(extra),)
    directory = b""
    for tag, numbers in sorted(entries.items()):
        if len(numbers) > 2:
            directory += struct.pack("<HHII", tag, 3, len(numbers), extra_at)
        elif len(numbers) == 2:
            directory += struct.pack("<HHIHH", tag, 3, 2, *numbers)
        else:
            directory += struct.pack("<HHII", tag, 4, 1, numbers[0])
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, count) + directory + b"\0" * 4 + extra + body)
    return path


def exif_block(*entries: tuple[int, int, int, bytes], count: int | None = None) -> bytes:
    """Return an EXIF block with entries (tag, type, number, data of at most 4 bytes); `count` is what it claims."""
    body = b"".join(struct.pack("<HHI", tag, kind, n) + data.ljust(4, b"\0") for tag, kind, n, data in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries) if count is None else count) + body + b"\0" * 4
