"""Reading images and masks: every pixel format exactly, every damage named."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from raw_files import exif_block, write_tiff

from gss.core.errors import InputError
from gss.data.images import (
    MASK_SUFFIXES,
    image_from_pil,
    image_size,
    is_rotated,
    load_color_mask,
    load_image,
    load_mask,
    orientation,
)

RNG = np.random.default_rng(0)


def rgb(height=5, width=7):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def grey_png(path, values, bits):
    """A grey PNG with fewer than 8 bits a sample, which Pillow cannot write."""
    height, width = values.shape
    rows = b""
    for row in values:
        packed = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :].ravel()
        rows += b"\0" + np.packbits(packed).tobytes()

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(png + chunk(b"IEND", b""))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation_is_applied(tmp_path, suffix, orientation):
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :8] = 255  # the top left corner
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    image.save(path, exif=exif)
    turned = np.rot90(pixels, {1: 0, 3: 2, 6: 3, 8: 1}[orientation])
    loaded = np.asarray(load_image(path))
    assert loaded.shape == turned.shape
    assert np.abs(loaded.astype(int) - turned).mean() < 8
    assert is_rotated(path) == (orientation != 1)
    again = image_from_pil(load_image(path))  # as the pipeline does with an image that is upright already
    assert again.size == load_image(path).size and np.array_equal(again, load_image(path))


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    values = np.array([[0, 257, 32896, 65535, 128, 129]], np.uint16)
    path = tmp_path / "a.png"
    Image.fromarray(values).save(path)
    expected = np.round(values / 257).astype(np.uint8)
    image = load_image(path)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image)[..., 1], expected)


def test_transparent_pixels_lie_over_black(tmp_path):
    pixels = np.concatenate([rgb(), np.full((5, 7, 1), 255, np.uint8)], axis=2)
    pixels[0, 0, 3] = 0
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    loaded = np.asarray(load_image(path))
    assert loaded[0, 0].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(loaded[1:], pixels[1:, :, :3])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I", "YCbCr"])
def test_every_mode_becomes_rgb(mode):
    image = Image.fromarray(rgb()).convert("L" if mode in ("I", "LA") else "RGB").convert(mode)
    converted = image_from_pil(image)
    assert (converted.mode, converted.size) == ("RGB", (7, 5))


def test_palette_image_with_transparency(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    path = tmp_path / "a.png"
    image.save(path, transparency=0)
    assert np.asarray(load_image(path)).tolist() == [[[0, 0, 0], [200, 100, 50]]]


def test_float_image_is_refused():
    with pytest.raises(ValueError, match="8 or 16 bits"):
        image_from_pil(Image.new("F", (2, 2)))


@pytest.mark.parametrize(("width", "height"), [(1, 9), (9, 1), (1, 1)])
def test_one_pixel_wide(tmp_path, width, height):
    path = tmp_path / "a.png"
    Image.new("RGB", (width, height)).save(path)
    assert load_image(path).size == (width, height)


def test_palette_mask_keeps_its_indices(tmp_path):
    values = RNG.integers(0, 21, (6, 5), dtype=np.uint8)
    image = Image.fromarray(values).convert("P")
    image.putdata(values.ravel().tolist())
    image.putpalette(RNG.integers(0, 256, 768, dtype=np.uint8).tolist())
    path = tmp_path / "m.png"
    image.save(path, transparency=0)
    np.testing.assert_array_equal(load_mask(path), values)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_masks_with_few_bits_are_not_stretched(tmp_path, bits):
    values = RNG.integers(0, 2**bits, (3, 11), dtype=np.uint8)
    path = tmp_path / "m.png"
    grey_png(path, values, bits)
    np.testing.assert_array_equal(load_mask(path), values)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_masks_are_exact(tmp_path, dtype):
    values = RNG.integers(0, np.iinfo(dtype).max, (4, 6)).astype(dtype)
    path = tmp_path / "m.png"
    Image.fromarray(values).save(path)
    loaded = load_mask(path)
    assert loaded.dtype == dtype
    np.testing.assert_array_equal(loaded, values)


def test_rgb_mask_is_refused_with_a_hint(tmp_path):
    path = tmp_path / "m.png"
    pixels = rgb()
    Image.fromarray(pixels).save(path)
    with pytest.raises(ValueError, match=r"m\.png has 3 channels.*color_coded: true"):
        load_mask(path)
    np.testing.assert_array_equal(load_color_mask(path), pixels)


def test_jpeg_mask_is_refused(tmp_path):
    path = tmp_path / "m.jpg"
    Image.new("L", (8, 8)).save(path)
    for load in (load_mask, load_color_mask):
        with pytest.raises(ValueError, match=r"m\.jpg is a JPEG.*PNG"):
            load(path)


def test_negative_or_huge_mask_values(tmp_path):
    path = tmp_path / "m.tif"
    Image.fromarray(np.array([[0, 70000]], np.int32)).save(path)
    with pytest.raises(ValueError, match="outside 0..65535"):
        load_mask(path)


@pytest.mark.parametrize("load", [load_image, load_mask, load_color_mask])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_damaged_files_name_the_file(tmp_path, load, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(rgb(40, 50)).save(path)
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], b"", b"not an image at all"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"cannot read \w+ .*a\{suffix}") as raised:
            load(path)
        assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="not found: .*nowhere"):
        load(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="cannot read"):
        load(tmp_path)


def pgm(values, largest, plain=False, magic=None, comment=b""):
    height, width = values.shape[:2]
    magic = magic or (b"P2" if plain else b"P5") if values.ndim == 2 else (b"P3" if plain else b"P6")
    head = magic + b"\n" + comment + b"%d %d\n%d\n" % (width, height, largest)
    if plain:
        return head + b"\n".join(b" ".join(b"%d" % value for value in row.ravel()) for row in values) + b"\n"
    return head + values.astype(">u2" if largest > 255 else np.uint8).tobytes()


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("largest", [1, 2, 3, 11, 100, 254, 255, 256, 1000, 4095, 65534, 65535])
@pytest.mark.parametrize("suffix", [".pgm", ".ppm"])
def test_masks_of_every_largest_value_are_exact(tmp_path, largest, plain, suffix):
    values = RNG.integers(0, largest + 1, (5, 7))
    values[0, :2] = [0, largest]
    path = tmp_path / f"m{suffix}"
    path.write_bytes(pgm(values, largest, plain, comment=b"# made by hand\n"))
    np.testing.assert_array_equal(load_mask(path), values)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("largest", [1, 15, 255])
def test_colour_masks_of_every_largest_value_are_exact(tmp_path, largest, plain):
    values = RNG.integers(0, largest + 1, (5, 7, 3))
    path = tmp_path / "m.ppm"
    path.write_bytes(pgm(values, largest, plain))
    np.testing.assert_array_equal(load_color_mask(path), values)
    with pytest.raises(InputError, match="3 channels"):
        load_mask(path)


def test_bitmaps_hold_what_is_stored(tmp_path):
    values = RNG.integers(0, 2, (3, 11), dtype=np.uint8)
    path = tmp_path / "m.pgm"
    path.write_bytes(b"P4\n11 3\n" + np.packbits(values, axis=1).tobytes())
    np.testing.assert_array_equal(load_mask(path), values)
    path.write_bytes(b"P1\n11 3\n" + b"\n".join(b"".join(b"%d" % v for v in row) for row in values))
    np.testing.assert_array_equal(load_mask(path), values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pgm(np.array([[0, 2]]), 1), "holds 2, but its header says at most 1"),
        (pgm(np.array([[0, 2]]), 1, plain=True), "cannot read mask|holds 2"),
        (pgm(np.zeros((4, 4), int), 255)[:-3], "cannot read mask|truncated"),
        (pgm(np.zeros((4, 4), int), 1000)[:-3], "cannot read mask|truncated"),
        (b"P5\n4 4\n", "cannot read mask"),
        (b"P5\n4 x\n255\n", "cannot read mask"),
        (b"Pf\n1 1\n-1.0\n" + struct.pack("<f", 1.5), "floating-point"),
    ],
)
def test_damaged_pgm_masks_are_refused(tmp_path, content, message):
    path = tmp_path / "m.pgm"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        load_mask(path)
    assert "m.pgm" in str(raised.value)


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_tiff_masks_are_exact_whatever_is_white(tmp_path, bits, photometric):
    values = RNG.integers(0, 2**bits, (4, 8)).astype(np.uint16 if bits == 16 else np.uint8)
    values[0, :2] = [0, 2**bits - 1]
    path = write_tiff(tmp_path / "m.tif", values, photometric=photometric, bits=bits if bits < 8 else 0)
    np.testing.assert_array_equal(load_mask(path), values)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "group4"])
def test_lossless_tiff_compression_is_exact(tmp_path, compression):
    values = RNG.integers(0, 2, (9, 16), dtype=np.uint8) * (1 if compression == "group4" else 11)
    path = tmp_path / "m.tif"
    Image.fromarray(values.astype(bool) if compression == "group4" else values).save(path, compression=compression)
    np.testing.assert_array_equal(load_mask(path), values)


@pytest.mark.parametrize("load", [load_mask, load_color_mask])
@pytest.mark.parametrize(
    ("name", "options"),
    [("m.tif", {"compression": "jpeg"}), ("m.tif", {"compression": "webp"}), ("m.jpg", {}), ("m.webp", {})],
)
@pytest.mark.parametrize("suffix", [None, ".png"])
def test_lossy_masks_are_refused_whatever_they_are_called(tmp_path, load, name, options, suffix):
    path = tmp_path / name
    try:
        Image.fromarray(rgb(16, 16)).save(path, **options)
    except OSError:
        pytest.skip("this build of Pillow does not write the format")
    path = path.rename(path.with_suffix(suffix)) if suffix else path
    with pytest.raises(InputError, match="changes label (values|colours); save masks as PNG"):
        load(path)


@pytest.mark.parametrize(
    ("values", "tags", "message"),
    [
        (np.ones((2, 3), np.float32), {"t339": 3}, "floating-point"),
        (np.ones((2, 3), np.float64), {"t339": 3}, "1 bands? of 64 bits .floating-point"),
        (np.ones((2, 3), np.int64), {"t339": 2}, "64 bits .signed"),
        (np.ones((2, 3), np.uint64), {}, "64 bits .unsigned"),
        (np.ones((2, 3, 8), np.uint8), {}, "8 bands? of 8 bits"),
        (np.ones((2, 3, 3), np.float32), {"t339": 3, "photometric": 2}, "3 bands? of 32 bits .floating-point"),
        (np.array([[-1, 3]], np.int16), {"t339": 2}, "outside 0..65535"),
        (np.array([[-1, 3]], np.int8), {"t339": 2}, "negative values"),
        (np.ones((2, 3, 3), np.uint8), {"photometric": 2}, "3 channels"),
    ],
)
def test_tiff_masks_that_are_no_class_numbers_name_the_cause(tmp_path, values, tags, message):
    path = write_tiff(tmp_path / "m.tif", values, **tags)
    with pytest.raises(InputError, match=message) as raised:
        load_mask(path)
    assert "damaged" not in str(raised.value)


@pytest.mark.parametrize("kind", [np.float64, np.int64])
def test_images_of_unknown_layout_name_the_cause(tmp_path, kind):
    path = write_tiff(tmp_path / "a.tif", np.ones((2, 3), kind), t339=3)
    with pytest.raises(InputError, match=r"TIFF with 1 bands? of 64 bits .* save it with 1, 3 or 4 bands of 8 or 16"):
        load_image(path)


def test_colour_masks_of_sixteen_bits_are_refused(tmp_path):
    path = write_tiff(tmp_path / "m.tif", np.full((2, 3, 3), 300, np.uint16), photometric=2)
    with pytest.raises(InputError, match="needs 8-bit RGB"):
        load_color_mask(path)
    path = tmp_path / "m.ppm"
    path.write_bytes(pgm(np.full((2, 3, 3), 300), 1000))
    with pytest.raises(InputError, match="needs 8-bit RGB"):
        load_color_mask(path)
    path = tmp_path / "m.png"
    Image.fromarray(np.full((2, 3), 300, np.uint16)).save(path)
    with pytest.raises(InputError, match="needs 8-bit RGB"):
        load_color_mask(path)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_colour_masks_of_other_colour_spaces_are_refused(tmp_path, mode):
    path = tmp_path / "m.tif"
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(InputError, match="needs 8-bit RGB"):
        load_color_mask(path)


@pytest.mark.parametrize("suffix", MASK_SUFFIXES)
def test_a_mask_of_every_suffix_is_exact(tmp_path, suffix):
    values = RNG.integers(0, 21, (6, 5), dtype=np.uint8)
    path = tmp_path / f"m{suffix.upper()}"
    if suffix == ".ppm":
        path.write_bytes(pgm(values, 255))
    else:
        Image.fromarray(values).save(path, optimize=False)
    np.testing.assert_array_equal(load_mask(path), values)


@pytest.mark.parametrize("palette", ["grey", "inverted", "colours"])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".tif"])
@pytest.mark.parametrize("count", [2, 4, 16, 256])
def test_palettes_change_no_index(tmp_path, palette, suffix, count):
    values = RNG.integers(0, count, (6, 5), dtype=np.uint8)
    ramp = np.repeat(np.linspace(0, 255, count).astype(np.uint8)[:, None], 3, axis=1)
    colours = {"grey": ramp, "inverted": ramp[::-1], "colours": RNG.integers(0, 256, (count, 3), dtype=np.uint8)}
    image = Image.new("P", (5, 6))
    image.putdata(values.ravel().tolist())
    image.putpalette(colours[palette].ravel().tolist())
    path = tmp_path / f"m{suffix}"
    image.save(path, optimize=False)
    try:
        np.testing.assert_array_equal(load_mask(path), values)
    except InputError as error:
        assert (suffix, palette) == (".bmp", "grey") and "short palette" in str(error)


ORIENTATION = (0x0112, 3, 1, struct.pack("<H", 6))
BROKEN_EXIF = {
    "ResolutionUnit as text": exif_block(ORIENTATION, (0x0128, 2, 2, b"2\0")),
    "XResolution as text": exif_block(ORIENTATION, (0x011A, 2, 2, b"7\0")),
    "ImageWidth as text": exif_block((0x0100, 2, 2, b"9\0"), ORIENTATION),
    "YCbCrPositioning as text": exif_block(ORIENTATION, (0x0213, 2, 2, b"1\0")),
    "DateTime as a number": exif_block(ORIENTATION, (0x0132, 3, 1, b"\1\0")),
    "offset behind the end": exif_block(ORIENTATION, (0x010E, 2, 900, b"\xff\xff\xff\x7f")),
    "more entries than there are": exif_block(ORIENTATION, count=200),
    "unknown type": exif_block(ORIENTATION, (0x0128, 99, 1, b"\1\0")),
}
UNREADABLE_EXIF = {
    "no header": b"Exif\0\0garbage",
    "empty": b"Exif\0\0",
    "cut": exif_block(ORIENTATION)[:17],
    "directory behind the end": b"Exif\0\0II*\0\xff\xff\0\0",
    "orientation as text": exif_block((0x0112, 2, 2, b"6\0")),
    "orientation 77": exif_block((0x0112, 3, 1, struct.pack("<H", 77))),
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("name", [*BROKEN_EXIF, *UNREADABLE_EXIF])
def test_damaged_exif_never_matters(tmp_path, suffix, name):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(rgb(16, 24)).save(path, exif=(BROKEN_EXIF | UNREADABLE_EXIF)[name])
    turned = name in BROKEN_EXIF
    assert load_image(path).size == ((16, 24) if turned else (24, 16))
    assert image_size(path) == ((24, 16) if turned else (16, 24))
    assert is_rotated(path) == turned
    with Image.open(path) as image:
        assert image_from_pil(image).size == ((16, 24) if turned else (24, 16))
    if suffix == ".png":
        Image.fromarray(rgb(16, 24)[..., 0]).save(path, exif=(BROKEN_EXIF | UNREADABLE_EXIF)[name])
        assert load_mask(path).shape == ((24, 16) if turned else (16, 24))
        assert load_color_mask(path).shape[:2] == ((24, 16) if turned else (16, 24))


def test_random_exif_never_matters(tmp_path):
    rng = np.random.default_rng(3)
    whole = exif_block(ORIENTATION, (0x0128, 3, 1, b"\2\0"), (0x011A, 5, 1, b"\x26\0\0\0"))
    path = tmp_path / "a.png"
    for _ in range(150):
        block = np.frombuffer(whole, np.uint8).copy()
        block[rng.integers(6, len(block), rng.integers(1, 6))] = rng.integers(0, 256, 1)
        Image.new("RGB", (3, 2)).save(path, exif=block.tobytes()[: rng.integers(8, len(block) + 1)])
        assert load_image(path).size in ((3, 2), (2, 3))
        assert load_mask_size(path) == image_size(path)


def load_mask_size(path):
    return load_color_mask(path).shape[:2]


@pytest.mark.parametrize(("asked", "turn"), [(3, 2), (6, 3), (8, 1)])
def test_uncompressed_tiff_is_turned(tmp_path, asked, turn):
    values = RNG.integers(0, 21, (16, 24), dtype=np.uint8)
    path = write_tiff(tmp_path / "a.tif", values, t274=asked)
    np.testing.assert_array_equal(load_mask(path), np.rot90(values, turn))
    np.testing.assert_array_equal(np.asarray(load_image(path))[..., 0], np.rot90(values, turn))
    assert image_size(path) == np.rot90(values, turn).shape


def test_orientation_of_xmp_counts(tmp_path):
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    path = tmp_path / "a.jpg"
    Image.fromarray(rgb(16, 24)).save(path, xmp=xmp)
    with Image.open(path) as image:
        assert orientation(image) == 6
    assert load_image(path).size == (16, 24)


@pytest.mark.parametrize("load", [load_image, load_mask, load_color_mask, image_size, is_rotated])
def test_mutated_files_end_as_a_result_or_one_line(tmp_path, load):
    rng = np.random.default_rng(5)
    for suffix in (".png", ".tif", ".pgm", ".gif", ".bmp", ".jpg", ".webp"):
        path = tmp_path / f"a{suffix}"
        Image.fromarray(rgb(9, 12)[..., 0]).save(path)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(25):
            mutated = whole.copy()
            mutated[rng.integers(0, len(whole), rng.integers(1, 9))] = rng.integers(0, 256, 1)
            path.write_bytes(mutated[: rng.integers(1, len(whole) + 1)].tobytes())
            try:
                load(path)
            except InputError as error:
                assert "\n" not in str(error) and f"a{suffix}" in str(error)
