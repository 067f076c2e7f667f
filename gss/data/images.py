"""Read image and mask files exactly: orientation, bit depth, palettes, alpha; errors name the file."""

from __future__ import annotations

import os
import re
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from gss.core.errors import InputError
from gss.data.pnm import read_pnm

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".gif")
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp")
"""Endings of files whose compression changes values."""

_MASK_FORMATS = ("PNG", "BMP", "DIB", "TIFF", "PPM", "GIF")
_LOSSLESS_TIFF = frozenset(
    ("raw", "tiff_raw_16", "tiff_ccitt", "group3", "group4", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate")
    + ("packbits", "tiff_thunderscan", "lzma", "zstd")
)
# Pillow stretches 2- and 4-bit grey samples to 0..255; a mask needs the stored numbers back.
_STRETCH = {"2": 85, "4": 17}
_COLOR_MODES = ("RGB", "RGBA", "RGBX", "P", "PA", "L", "LA", "1")
_ORIENTATION_TAG = 0x0112
# Where Pillow keeps metadata that may hold an orientation.
_METADATA = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(path: str | os.PathLike[str]) -> Image.Image:
    """Read any image file as upright 8-bit RGB.

    EXIF orientation is applied; grey and palette images become RGB; transparent pixels are laid over black;
    16-bit grey is scaled from 0..65535 to 0..255.

    Returns:
        PIL image in mode RGB, fully decoded (the file is closed).

    Raises:
        InputError: missing, truncated or corrupt file, or a pixel type without a fixed range; names the file.
    """
    try:
        return image_from_pil(decode(path, "image").image)
    except _PixelError as error:
        raise InputError(f"image {path}: {error}") from error


def image_from_bytes(data: bytes, name: str) -> Image.Image:
    """Read an encoded image from memory as `load_image` does.

    Args:
        data: content of an image file.
        name: what errors call it.

    Raises:
        InputError: see `load_image`.
    """
    return load_image(cast(Any, _NamedBytes(data, name)))


class _NamedBytes(BytesIO):
    """Content of a file with the name that errors give."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.label = name

    def __str__(self) -> str:
        return self.label

    def __repr__(self) -> str:
        return repr(self.label)  # as Pillow names a file


class _PixelError(InputError):
    """A pixel type that cannot become 8-bit RGB."""


def image_from_pil(image: Image.Image) -> Image.Image:
    """Convert a PIL image of any mode to upright 8-bit RGB as `load_image` does.

    Raises:
        InputError: floating-point pixels, whose range is unknown.
    """
    image = upright(image)
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise _PixelError("floating-point pixels have no fixed range; save the image with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise _PixelError("32-bit pixels outside 0..65535; save the image with 8 or 16 bits")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if has_alpha(image):
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, rgba).convert("RGB")
    return image.convert("RGB")


def has_alpha(image: Image.Image) -> bool:
    """Return True for images with an alpha channel or a transparent colour."""
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def load_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a single-channel mask exactly as stored: palette indices and grey values are the labels.

    Args:
        path: lossless mask file with 1 to 16 bits per pixel. EXIF orientation is applied, as for the image.

    Returns:
        uint8 or uint16 `[H, W]` of raw values (1-bit masks give 0 and 1).

    Raises:
        InputError: missing or corrupt file, lossy compression, several channels, floating-point values, or values
            outside 0..65535; names the file and the fix.
    """
    decoded = decode(path, "mask")
    image = decoded.image
    _require_lossless(path, image)
    if image.mode == "F":
        raise InputError(f"mask {path} holds floating-point values; save class numbers as 8- or 16-bit grey PNG")
    if image.format == "PPM":
        values, _ = read_pnm(Path(path))
        if values.ndim == 2:
            return values
    elif image.mode in ("1", "L", "P"):
        return _stored(np.asarray(upright(image)).astype(np.uint8), decoded, path)
    elif image.mode.startswith("I"):
        wide = np.asarray(upright(image))
        if wide.min() < 0 or wide.max() > 65535:
            raise InputError(f"mask {path} holds values outside 0..65535; save class numbers with 8 or 16 bits")
        return wide.astype(np.uint16)
    raise InputError(
        f"mask {path} has {len(image.getbands())} channels (mode {image.mode}), not one class number for each pixel; "
        "save a grey or palette PNG, or set color_coded: true in the spec if colours are the classes"
    )


def _stored(values: np.ndarray, decoded: Decoded, path: str | os.PathLike[str]) -> np.ndarray:
    """Return the stored numbers of a 1- to 8-bit grey or palette image, which Pillow reads as brightness."""
    if decoded.signed and (values > 127).any():
        raise InputError(f"mask {path} holds negative values; save class numbers as unsigned 8- or 16-bit grey PNG")
    match = re.fullmatch(r"(1|L);?([24]?)(I?)R?", decoded.rawmode)
    if match is None or decoded.image.mode == "P":
        return values
    largest = 1 if match[1] == "1" else 255
    if match[3]:  # white is zero
        values = largest - values
    return values // _STRETCH[match[2]] if match[2] else values


def load_color_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a mask whose colours are the classes.

    Returns:
        uint8 `[H, W, 3]` RGB as stored; alpha is dropped, palette images give their palette colours.

    Raises:
        InputError: missing or corrupt file, lossy compression, another colour space than RGB, or not 8 bits per
            channel; names the file.
    """
    decoded = decode(path, "mask")
    image = decoded.image
    _require_lossless(path, image)
    if image.mode not in _COLOR_MODES or re.search(r";.*(1[0-9]|[356]|32)", decoded.rawmode):
        layout = decoded.rawmode if decoded.rawmode and image.mode in _COLOR_MODES else image.mode
        raise InputError(f"mask {path} has mode {layout} but color_coded: true needs 8-bit RGB colours")
    if image.format == "PPM":
        values, largest = read_pnm(Path(path))
        if largest > 255:
            raise InputError(f"mask {path} has colours up to {largest} but color_coded: true needs 8-bit RGB colours")
        return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
    return np.array(upright(image).convert("RGB"))


def _require_lossless(path: str | os.PathLike[str], image: Image.Image) -> None:
    kind = "JPEG" if image.format == "MPO" else image.format
    compression = str(image.info.get("compression", "raw"))
    if kind == "TIFF" and compression not in _LOSSLESS_TIFF:
        raise InputError(
            f"mask {path} is a TIFF with {compression} compression, which changes label values; save masks as PNG"
        )
    if kind not in _MASK_FORMATS:
        raise InputError(f"mask {path} is a {kind}, whose compression changes label values; save masks as PNG")


def lossy_masks(first: Path, count: int = 1, total: int = 1) -> str:
    """Return the message about masks whose compression changes values."""
    kind = "WebP" if first.suffix.lower() == ".webp" else "JPEG"
    many = (
        f"{count} of {total} masks are {kind} files, first: {first}" if total > 1 else f"mask {first} is a {kind} file"
    )
    return (
        f"{many}. {kind} compression blurs the numbers or colours that stand for classes, so that the masks cannot be "
        "read back exactly; export them again as PNG from the program that drew them (saving the "
        f"{kind} as PNG keeps the damage)"
    )


def upright(image: Image.Image) -> Image.Image:
    """Return the image turned and mirrored as its orientation asks; the same object if it is upright."""
    method = _UPRIGHT.get(orientation(image))
    if method is None:
        return image
    turned = image.transpose(method)
    for key in _METADATA:  # who reads the orientation of the result must not turn it again
        turned.info.pop(key, None)
    return turned


def orientation(image: Image.Image) -> int:
    """Return the orientation of EXIF or XMP metadata, 1..8; 1 if there is none or it cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # Pillow's parsers of metadata raise anything; damaged metadata leaves the pixels as they are
        value = _exif_orientation(image.info.get("exif"))
    return value if isinstance(value, int) and value in _UPRIGHT else 1


def _exif_orientation(block: object) -> int:
    """Return the orientation in the first directory of an EXIF block, up to where it is damaged; 1 if none."""
    if not isinstance(block, bytes):
        return 1
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(block[:4])
    if order is None:
        return 1
    start = int.from_bytes(block[4:8], order)  # type: ignore[arg-type]
    count = int.from_bytes(block[start : start + 2], order)  # type: ignore[arg-type]
    for place in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        tag, kind = (int.from_bytes(block[place + k : place + k + 2], order) for k in (0, 2))  # type: ignore[arg-type]
        if tag == _ORIENTATION_TAG and kind == 3:
            return int.from_bytes(block[place + 8 : place + 10], order)  # type: ignore[arg-type]
    return 1


def is_rotated(path: str | os.PathLike[str]) -> bool:
    """Return True if the file asks viewers to turn or mirror it (EXIF orientation other than 1)."""
    with _open(path, "image") as image:
        return orientation(image) != 1


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return (H, W) of an upright image, without decoding its pixels.

    Raises:
        InputError: missing file, or not an image; names it.
    """
    with _open(path, "image") as image:
        # Pillow gives the size of a TIFF as upright, that of others as stored.
        turned = orientation(image) >= 5 and image.format != "TIFF"
        return (image.width, image.height) if turned else (image.height, image.width)


class Decoded(NamedTuple):
    """Decoded image with properties that Pillow forgets.

    Attributes:
        image: PIL image as stored; its file is closed.
        rawmode: Pillow's name of the layout of stored samples; empty if unknown.
        orientation: orientation that the file asks for.
        signed: True for TIFF samples with a sign.
        pages: number of pages or frames, if counted.
    """

    image: Image.Image
    rawmode: str
    orientation: int
    signed: bool
    pages: int


def decode(path: str | os.PathLike[str], kind: str, *, count_pages: bool = False) -> Decoded:
    """Decode a file completely, so that truncation shows here."""
    image = _open(path, kind)
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else None
    rawmode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    asked = orientation(image) if image.format == "TIFF" else 0  # Pillow turns a TIFF when it loads it
    if asked >= 5:
        # Pillow maps the file of an uncompressed image into memory with rows and columns exchanged.
        with image, _binary(path) as file:
            image = _open(BytesIO(file.read()), kind)
    if image.format in ("BMP", "DIB") and image.mode in ("1", "L"):
        _check_bmp(path, kind, image)
    signed = image.format == "TIFF" and 2 in np.atleast_1d(getattr(image, "tag_v2", {}).get(339, 1))
    try:
        counted = count_pages and image.format in ("TIFF", "GIF", "PNG", "WEBP")
        pages = getattr(image, "n_frames", 1) if counted else 1
        with image:
            image.load()
    except Exception as error:
        raise _unreadable(path, kind, error) from error
    return Decoded(image, rawmode if isinstance(rawmode, str) else "", asked or orientation(image), signed, pages)


def _check_bmp(path: str | os.PathLike[str], kind: str, image: Image.Image) -> None:
    """Refuse a BMP whose grey palette is shorter than its bits allow; Pillow reads it with fewer bits."""
    with _binary(path) as file:
        header = file.read(30)
    at = 14 if image.format == "BMP" else 0
    at += 10 if header[at] == 12 else 14
    bits = int.from_bytes(header[at : at + 2], "little")
    if bits != (1 if image.mode == "1" else 8):
        raise InputError(
            f"cannot read {kind} {path}: BMP with {bits} bits and a short palette of greys; save it as PNG"
        )


def _open(path: str | os.PathLike[str] | BytesIO, kind: str) -> Image.Image:
    try:
        return Image.open(path)
    except Exception as error:
        raise _unreadable(path, kind, error) from error


def _binary(path: str | os.PathLike[str] | BytesIO) -> BinaryIO:
    """Open a file, or content in memory, from its beginning."""
    return BytesIO(path.getvalue()) if isinstance(path, BytesIO) else open(path, "rb")


def _unreadable(path: str | os.PathLike[str] | BytesIO, kind: str, error: Exception) -> InputError:
    """Return the error of a file that Pillow cannot decode.

    Pillow reports damage as OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError and others.
    """
    if isinstance(error, FileNotFoundError):
        return InputError(f"{kind} file not found: {path}")
    if isinstance(error, Image.DecompressionBombError):
        return InputError(f"{kind} {path} is too large to decode: {error}; cut it into smaller files")
    if isinstance(error, OSError) and error.errno is not None:
        return InputError(f"cannot read {kind} {path}: {error.strerror}")
    layout = _tiff_layout(path)
    if layout:
        channels = "1 band" if kind == "mask" else "1, 3 or 4 bands"
        return InputError(f"cannot read {kind} {path}: TIFF with {layout}; save it with {channels} of 8 or 16 bits")
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"cannot read {kind} {path}: {reason}; the file is damaged or not an image")


def _tiff_layout(path: str | os.PathLike[str] | BytesIO) -> str:
    """Return bands, bits and type of the samples of a TIFF in words, if Pillow knows no mode for them; else empty."""
    try:
        with _binary(path) as file:
            header = file.read(8)
            if header[:2] not in (b"II", b"MM"):
                return ""
            if header[2] == 43 or header[3] == 43:
                header += file.read(8)
            tags = ImageFileDirectory_v2(header)
            file.seek(tags.next)
            tags.load(file)
        bits = tuple(np.atleast_1d(tags.get(258, 1)).tolist())
        kinds = set(np.atleast_1d(tags.get(339, 1)).tolist())
        bands = int(tags.get(277, len(bits)))
        known = bands in (1, 3, 4) and max(bits) <= 16 and kinds <= {1}
    except Exception:  # a damaged TIFF, see `_unreadable`
        return ""
    if known:
        return ""
    words = {1: "unsigned", 2: "signed", 3: "floating-point"}
    sizes = "/".join(map(str, sorted(set(bits))))
    return f"{bands} bands of {sizes} bits ({'/'.join(words.get(kind, 'other') for kind in sorted(kinds))})"
