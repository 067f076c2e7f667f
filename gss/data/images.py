"""Read image and mask files exactly: orientation, bit depth, palettes, alpha; errors name the file."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image, ImageOps

from gss.core.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".gif")

# Pillow stretches 2- and 4-bit grey PNG samples to 0..255; a mask needs the stored numbers back.
_STRETCHED_GREY = {"L;2": 85, "L;4": 17}
_ORIENTATION_TAG = 0x0112


def load_image(path: str | os.PathLike[str]) -> Image.Image:
    """Read any image file as 8-bit RGB, turned upright.

    EXIF orientation is applied; grey and palette images become RGB; transparent pixels are laid over black;
    16-bit grey is scaled from 0..65535 to 0..255.

    Args:
        path: image file.

    Returns:
        PIL image in mode RGB, fully decoded (the file is closed).

    Raises:
        ValueError: missing, truncated or corrupt file, or a pixel type without a fixed range; names the file.
    """
    image, _ = _decode(path, "image")
    try:
        return image_from_pil(image)
    except ValueError as error:
        raise InputError(f"image {path}: {error}") from error


def image_from_pil(image: Image.Image) -> Image.Image:
    """Convert a PIL image of any mode to upright 8-bit RGB as `load_image` does.

    Raises:
        ValueError: floating-point pixels, whose range is unknown.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise InputError("floating-point pixels have no fixed range; save the image with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InputError("32-bit pixels outside 0..65535; save the image with 8 or 16 bits")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, rgba).convert("RGB")
    return image.convert("RGB")


def load_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a single-channel mask exactly as stored: palette indices and grey values are the labels.

    Args:
        path: lossless mask file with 1 to 16 bits per pixel. EXIF orientation is applied, as for the image.

    Returns:
        uint8 or uint16 `[H, W]` of raw values (1-bit masks give 0 and 1).

    Raises:
        ValueError: missing or corrupt file, lossy JPEG, several channels, or values above 65535; names the
            file and the fix.
    """
    image, rawmode = _decode(path, "mask")
    if image.format == "JPEG":
        raise InputError(f"mask {path} is a JPEG, whose compression changes label values; save masks as PNG")
    image = ImageOps.exif_transpose(image)
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode in ("L", "P"):
        values = np.array(image)
        return values // _STRETCHED_GREY[rawmode] if rawmode in _STRETCHED_GREY else values
    if image.mode.startswith("I"):
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > 65535:
            raise InputError(f"mask {path} holds values outside 0..65535; save class numbers with 8 or 16 bits")
        return wide.astype(np.uint16)
    raise InputError(
        f"mask {path} has {len(image.getbands())} channels (mode {image.mode}), not a class number a pixel; "
        "save a grey or palette PNG, or set color_coded: true in the spec if colours are the classes"
    )


def load_color_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a mask whose colours are the classes.

    Returns:
        uint8 `[H, W, 3]` RGB as stored; alpha is dropped, palette images give their palette colours.

    Raises:
        ValueError: missing or corrupt file, lossy JPEG, or more than 8 bits per channel; names the file.
    """
    image, _ = _decode(path, "mask")
    if image.format == "JPEG":
        raise InputError(f"mask {path} is a JPEG, whose compression changes label colours; save masks as PNG")
    if image.mode == "F" or image.mode.startswith("I"):
        raise InputError(f"mask {path} has mode {image.mode} but color_coded: true needs 8-bit RGB colours")
    return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def is_rotated(path: str | os.PathLike[str]) -> bool:
    """Whether the file asks viewers to turn or mirror it (EXIF orientation other than 1)."""
    with Image.open(path) as image:
        return image.getexif().get(_ORIENTATION_TAG, 1) != 1


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(H, W) of an image turned upright, without decoding its pixels.

    Raises:
        ValueError: missing file, or no image; names it.
    """
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION_TAG, 1) >= 5
            return (image.width, image.height) if turned else (image.height, image.width)
    except OSError as error:
        raise InputError(f"cannot read image {path}: {error}") from error


def _decode(path: str | os.PathLike[str], kind: str) -> tuple[Image.Image, str | None]:
    """Decode wholly, so that truncation shows here; also gives Pillow's raw sample layout."""
    try:
        image = Image.open(path)
        arguments = image.tile[0][3] if image.tile else None
        rawmode = arguments if isinstance(arguments, str) else arguments[0] if arguments else None
        with image:
            image.load()
    except FileNotFoundError:
        raise InputError(f"{kind} file not found: {path}") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{kind} {path} is too large to decode: {error}; cut it into smaller files") from error
    # Pillow's decoders report damage as OSError, SyntaxError, ValueError, EOFError, struct.error or
    # IndexError.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot read {kind} {path}: {reason}; the file is damaged or no image") from error
    return image, rawmode if isinstance(rawmode, str) else None
