"""Pictures of label maps and dense scores as PIL images: colors, overlays, errors, heat, contact sheets."""

import io
import os
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gss.core.errors import InputError
from gss.core.files import atomic_path
from gss.labels.space import IGNORE_INDEX

Colors = Sequence[Sequence[int]] | np.ndarray
Palette = Literal["viridis", "magma"]

# Nine anchors of matplotlib's perceptual maps; between them linear interpolation errs by at most
# 18 of 255.
ANCHORS: dict[str, tuple[str, ...]] = {
    "viridis": ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725"),
    "magma": ("000004", "1d1147", "51127c", "832681", "b73779", "e75263", "fc8961", "fec488", "fcfdbf"),
}
_STRIP_PIXELS = 2**16
_LARGE = 4_000_000
WRONG, VOID, NOT_FINITE = (230, 57, 53), (84, 94, 110), (128, 128, 128)


def save_picture(path: str | os.PathLike[str], picture: Image.Image, *, quality: int = 90) -> None:
    """Write an image file in the format of its suffix, PNG by default, atomically.

    The file is encoded in memory first: on a full disk Pillow cuts a JPEG short without an error.

    Args:
        path: file to write.
        picture: image to write.
        quality: quality of a JPEG, 1 to 95.
    """
    data = picture_bytes(picture, Path(path).suffix, quality=quality)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def picture_bytes(picture: Image.Image, suffix: str = ".png", *, quality: int = 90) -> bytes:
    """Return what `save_picture` writes.

    Args:
        picture: image to encode.
        suffix: suffix of a file in the wanted format.
        quality: quality of a JPEG, 1 to 95.
    """
    buffer = io.BytesIO()
    kind = Image.registered_extensions().get(suffix.lower(), "PNG")
    # A PNG of a phone's photo takes half a second at the usual level. Enlarged maps are runs of one value.
    fast = {"compress_level": 1, "compress_type": zlib.Z_RLE}
    large = picture.width * picture.height > _LARGE
    picture.save(buffer, kind, quality=quality, **(fast if large else {"compress_level": 6}))
    return buffer.getvalue()


def colorize(labels: np.ndarray, colors: Colors, *, void: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """Paint a label map.

    Args:
        labels: integers `[H, W]`, 0..K-1 or 255.
        colors: RGB of each class, 0..255.
        void: color of label 255.

    Raises:
        InputError: `labels` is not an integer map, or holds a label without color.
    """
    labels = _label_map("labels", labels)
    return Image.fromarray(_color_table(labels, colors, void)[labels])


def _color_table(labels: np.ndarray, colors: Colors, void: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    """Return the color of each label, uint8 `[256, 3]`.

    Raises:
        InputError: a label has no color.
    """
    table = np.asarray(colors, dtype=np.uint8).reshape(-1, 3)
    lookup = np.zeros((IGNORE_INDEX + 1, 3), dtype=np.uint8)
    lookup[: len(table)] = table
    lookup[IGNORE_INDEX] = void
    unknown = labels[(labels >= len(table)) & (labels != IGNORE_INDEX)]
    if unknown.size:
        raise InputError(f"labels holds {int(unknown[0])}, but colors has only {len(table)} entries")
    return lookup


def index_image(labels: np.ndarray, colors: np.ndarray) -> Image.Image:
    """Convert labels to a PIL image of mode P: pixel values are the labels, shown in the class colours.

    Args:
        labels: uint8 `[H, W]`.
        colors: uint8 `[K, 3]`.
    """
    image = Image.fromarray(labels)
    image.putpalette(colors.astype(np.uint8).tobytes())
    return image


def overlay(
    image: Image.Image,
    labels: np.ndarray,
    colors: Colors,
    *,
    clear: Collection[int] = (),
    opacity: float = 0.55,
    contours: bool = True,
) -> Image.Image:
    """Blend class colors over the image; void pixels and those of a background show the image alone.

    Args:
        image: picture of the size of `labels`.
        labels: integers `[H, W]`, 0..K-1 or 255.
        colors: RGB of each class, 0..255.
        clear: classes that are not painted, such as `LabelSpace.background`.
        opacity: share of the class color, 0..1.
        contours: draw a thin white line where the class changes.

    Raises:
        InputError: sizes differ or a label has no color.
    """
    labels = _label_map("labels", labels)
    base, table = _picture(image, labels.shape), _blended(labels, colors, clear, opacity)
    # In strips of rows, which stay in the cache; every byte of the result is looked up.
    result = np.empty_like(base)
    rows = max(1, _STRIP_PIXELS // labels.shape[1])
    for top in range(0, len(labels), rows):
        part = slice(top, top + rows)
        place = 2 * labels[part].astype(np.intp)
        if contours:
            place += _edges(labels, top, rows)
        place *= 256
        for channel, bytes_of in enumerate(table):
            result[part, :, channel] = bytes_of.ravel()[place + base[part, :, channel]]
    return Image.fromarray(result)


def _blended(labels: np.ndarray, colors: Colors, clear: Collection[int], opacity: float) -> np.ndarray:
    """Return what becomes of a byte, uint8 `[3, 256, 2, 256]`: by channel, label, whether it is a contour, and byte."""
    paint = _color_table(labels, colors).astype(np.float32)
    bare = np.isin(np.arange(IGNORE_INDEX + 1), [*clear, IGNORE_INDEX])
    weight = np.where(bare, 0.0, opacity).astype(np.float32)
    values = np.arange(256, dtype=np.float32)
    plain = values * (1 - weight)[:, None] + (paint * weight[:, None]).T[..., None]  # [3, 256, 256]
    return np.stack([plain, 0.25 * plain + 0.75 * 255], 2).round().astype(np.uint8)


def _edges(labels: np.ndarray, top: int, rows: int) -> np.ndarray:
    """Return where a strip of labels `[H, W]` differs from the pixel at the left or above, bool `[rows, W]`."""
    part = labels[top : top + rows]
    edges = np.zeros(part.shape, dtype=bool)
    edges[:, 1:] = part[:, 1:] != part[:, :-1]
    first = 0 if top else 1
    edges[first:] |= part[first:] != labels[top + first - 1 : top + len(part) - 1]
    return edges


def error_map(prediction: np.ndarray, target: np.ndarray, image: Image.Image | None = None) -> Image.Image:
    """Show wrong pixels red on a pale grey version of the image (plain grey without one), void pixels slate.

    Args:
        prediction: integers `[H, W]`.
        target: true labels `[H, W]`, 255 for void.
        image: picture of the same size.

    Raises:
        InputError: sizes differ.
    """
    prediction, target = _label_map("prediction", prediction), _label_map("target", target)
    if prediction.shape != target.shape:
        raise InputError(f"prediction is {prediction.shape}, target is {target.shape}; they must have one size")
    if image is None:
        grey = np.full(target.shape, 226.0)
    else:
        grey = 150 + 0.4 * (_picture(image, target.shape).astype(np.float32) @ (0.299, 0.587, 0.114))
    canvas = np.repeat(grey[..., None], 3, axis=2)
    canvas[target == IGNORE_INDEX] = VOID
    canvas[(prediction != target) & (target != IGNORE_INDEX)] = WRONG
    return Image.fromarray(canvas.round().astype(np.uint8))


def heatmap(
    values: np.ndarray, *, low: float | None = None, high: float | None = None, palette: Palette = "viridis"
) -> Image.Image:
    """Paint a score map with a perceptually uniform palette; non-finite values are grey.

    Args:
        values: real numbers `[H, W]`.
        low: value of the darkest color; the smallest finite value by default.
        high: value of the brightest color; the largest finite value by default.
        palette: `viridis` or `magma`.

    Raises:
        InputError: not a two-dimensional map, or unknown palette.
    """
    values = np.asarray(values, dtype=np.float32)
    if values.ndim != 2:
        raise InputError(f"values must be [H, W], got shape {values.shape}")
    finite = np.isfinite(values)
    low = float(values[finite].min(initial=np.inf)) if low is None else low
    high = float(values[finite].max(initial=-np.inf)) if high is None else high
    # A constant map (or one without any finite value) is painted with the darkest color.
    span = high - low if high > low else 1.0
    unit = np.clip((np.where(finite, values, low) - low) / span, 0, 1) if finite.any() else np.zeros(values.shape)
    painted = palette_table(palette)[(unit * 255).round().astype(np.int64)]
    painted[~finite] = NOT_FINITE
    return Image.fromarray(painted)


def legend(names: Sequence[str], colors: Colors, *, columns: int = 4, width: int = 640) -> Image.Image:
    """Draw color chips with class names on white.

    Raises:
        InputError: not one color a name.
    """
    table = np.asarray(colors, dtype=np.uint8).reshape(-1, 3)
    if len(names) != len(table):
        raise InputError(f"names has {len(names)} entries, colors has {len(table)}; give one color for each name")
    columns = max(1, min(columns, len(names)))
    rows, cell = -(-len(names) // columns), width // columns
    canvas = Image.new("RGB", (width, rows * 24 + 8), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for index, (name, color) in enumerate(zip(names, table, strict=True)):
        x, y = index % columns * cell + 6, index // columns * 24 + 6
        draw.rounded_rectangle((x, y, x + 20, y + 16), radius=4, fill=tuple(color.tolist()), outline=(120, 120, 120))
        draw.text((x + 27, y + 8), _shorten(name, cell - 36, font), fill="black", font=font, anchor="lm")
    return canvas


def contact_sheet(
    rows: Sequence[Sequence[Image.Image]],
    titles: Sequence[str] = (),
    *,
    captions: Sequence[str | Sequence[str]] = (),
    width: int = 240,
) -> Image.Image:
    """Draw a grid of pictures on white, each scaled to one width, with a title above each column.

    Args:
        rows: pictures, row by row; rows may have different lengths.
        titles: column titles, none or one for each column.
        captions: text under each row, or the texts under its pictures; none or one for each row.
        width: width of a cell in pixels.

    Raises:
        InputError: no picture, or a wrong number of titles or captions.
    """
    count = max((len(row) for row in rows), default=0)
    if count == 0:
        raise InputError("rows holds no picture; give at least one row with one picture")
    for name, texts, wanted in (("titles", titles, count), ("captions", captions, len(rows))):
        if texts and len(texts) != wanted:
            raise InputError(f"{name} has {len(texts)} entries, needed are none or {wanted}")
    gap, font = 8, ImageFont.load_default(14)
    cells = [[_fit(picture, width) for picture in row] for row in rows]
    heights = [max((cell.height for cell in row), default=0) for row in cells]
    top, under = (24 if titles else 0) + gap, 22 if captions else 0
    canvas = Image.new("RGB", (gap + count * (width + gap), top + sum(h + gap + under for h in heights)), "white")
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        x = gap + column * (width + gap)
        draw.text((x, gap), _shorten(title, width, font), fill="black", font=font)
    y = top
    for index, row in enumerate(cells):
        for column, cell in enumerate(row):
            canvas.paste(cell, (gap + column * (width + gap), y))
        if captions:
            caption = captions[index]
            under_row = [caption] if isinstance(caption, str) else caption
            room = canvas.width - 2 * gap if isinstance(caption, str) else width
            for column, text in enumerate(under_row):
                place = (gap + column * (width + gap), y + heights[index] + 3)
                draw.text(place, _shorten(text, room, font), fill=(90, 90, 90), font=font)
        y += heights[index] + gap + under
    return canvas


def palette_table(palette: str) -> np.ndarray:
    """Return interpolated colors, uint8 `[256, 3]`."""
    if palette not in ANCHORS:
        raise InputError(f"palette must be one of {', '.join(ANCHORS)}, got {palette!r}")
    anchors = np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in ANCHORS[palette]], dtype=np.float64)
    positions = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(positions, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def _label_map(name: str, labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{name} must be an integer map [H, W], got {labels.dtype} {list(labels.shape)}")
    if labels.size and not (labels.min() >= 0 and labels.max() <= IGNORE_INDEX):
        raise InputError(f"{name} holds {int(labels.min())}..{int(labels.max())}, allowed are 0..{IGNORE_INDEX}")
    return labels


def _picture(image: Image.Image, shape: tuple[int, ...]) -> np.ndarray:
    if (image.height, image.width) != shape:
        raise InputError(f"image is {image.height}x{image.width}, labels are {shape[0]}x{shape[1]}; give one size")
    return np.asarray(image.convert("RGB"))


def _fit(picture: Image.Image, width: int) -> Image.Image:
    picture = picture.convert("RGB")
    height = max(1, round(picture.height * width / picture.width))
    # Few colors mean a painted label map: smoothing would invent colors of other classes.
    flat = picture.getcolors(256) is not None
    return picture.resize((width, height), Image.Resampling.NEAREST if flat else Image.Resampling.LANCZOS)


def _shorten(text: str, width: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
