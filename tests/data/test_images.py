"""Reading images and masks: every pixel format exactly, every damage named."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gss.data.images import image_from_pil, is_rotated, load_color_mask, load_image, load_mask

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
