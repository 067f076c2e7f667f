"""The run lengths of Label Studio's brush."""

from __future__ import annotations

import numpy as np

from gss.core.json_value import JsonValue


class _Bits:
    """Reader of whole numbers from bytes, highest bit first."""

    def __init__(self, values: np.ndarray) -> None:
        self._bits = np.unpackbits(values)
        self._at = 0

    def read(self, count: int) -> int:
        """Return the number in the next bits; IndexError at the end."""
        bits = self._bits[self._at : self._at + count]
        if len(bits) < count:
            raise IndexError
        self._at += count
        return int("".join(map(str, bits.tolist())), 2)


def decode_brush(value: JsonValue, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels of a brush mask, bool `[H, W]`.

    The bytes hold RGBA pixels, of which alpha is the mask: 32 bits with the count of values, 5 with the bits of a
    value less 1, four times 4 with the bits of a length less 1; then runs, each with a bit that tells repeated values
    from listed ones, 2 bits that choose how long the length is, and the length less 1.

    Args:
        value: list of bytes.
        size: (H, W) of the image.

    Raises:
        InputError: damaged, or of another size; names file and place.
    """
    numbers = value.numbers()
    if not numbers or min(numbers) < 0 or max(numbers) > 255:
        raise value.wrong("a list of bytes")
    count = size[0] * size[1] * 4
    values = np.zeros(count, np.uint8)
    bits = _Bits(np.array(numbers, np.uint8))
    try:
        stated = bits.read(32)
        if stated != count:
            raise value.error(f"is a brush mask of {stated // 4} pixels; the image has {size[1]}x{size[0]}")
        word = bits.read(5) + 1
        lengths = [bits.read(4) + 1 for _ in range(4)]
        at = 0
        while at < count:
            repeated = bits.read(1)
            end = at + 1 + bits.read(lengths[bits.read(2)])
            if end > count:
                raise IndexError
            if repeated:
                values[at:end] = bits.read(word) & 255
            else:
                for place in range(at, end):
                    values[place] = bits.read(word) & 255
            at = end
    except IndexError:
        raise value.error("is a damaged brush mask") from None
    return values.reshape(*size, 4)[..., 3] > 0
