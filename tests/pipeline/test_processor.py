"""Every kind of image input ends as the same float tensor."""

import numpy as np
import pytest
import torch
from PIL import Image

from gss.core.errors import InputError
from gss.models.inputs import pad_to_multiple
from gss.pipeline.processor import GSSImageProcessor, load_images, resize_images

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
WANTED = torch.from_numpy(RGB).movedim(-1, 0).float() / 255


def test_all_ways_to_give_one_image_agree(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(RGB).save(path)
    tensor = torch.from_numpy(RGB).movedim(-1, 0)
    ways = [
        str(path),
        path,
        Image.fromarray(RGB),
        RGB,
        RGB.astype(np.float64) / 255,
        RGB.astype(np.uint16) * 257,
        (RGB.astype(np.uint16) * 257).astype(">u2"),
        (RGB.astype(np.float32) / 255).astype(">f4"),
        RGB[:, ::-1][:, ::-1],
        np.dstack([RGB, np.full((5, 7), 255, np.uint8)]),
        tensor,
        tensor.float() / 255,
    ]
    for loaded in load_images(ways):
        assert loaded.shape == (3, 5, 7) and loaded.dtype == torch.float32 and loaded.is_contiguous()
        torch.testing.assert_close(loaded, WANTED)
    assert len(load_images(torch.stack([tensor, tensor]))) == 2
    assert len(load_images(np.stack([RGB, RGB, RGB]))) == 3
    assert len(load_images([torch.stack([tensor, tensor]), RGB])) == 3
    torch.testing.assert_close(load_images(tensor.half() / 255)[0], WANTED, atol=1e-3, rtol=0)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "RGBA", "LA", "I;16"])
def test_pil_modes_become_rgb(mode):
    image = Image.fromarray(RGB).convert(mode) if mode != "I;16" else Image.fromarray(RGB[..., 0].astype(np.uint16))
    (loaded,) = load_images(image)
    assert loaded.shape == (3, 5, 7)
    assert loaded.min() >= 0 and loaded.max() <= 1


def test_grey_arrays_and_transparency():
    grey = RGB[..., 0]
    for array in (grey, grey[..., None]):
        torch.testing.assert_close(load_images(array)[0], WANTED[:1].expand(3, -1, -1))
    clear = np.dstack([RGB, np.zeros((5, 7), np.uint8)])
    assert load_images(clear)[0].max() == 0


def test_inputs_are_not_written_to_or_shared():
    array = np.random.default_rng(1).random((4, 6, 3), dtype=np.float32)
    tensor = torch.rand(3, 4, 6)
    before = array.copy(), tensor.clone()
    for loaded in load_images([array, tensor]):
        loaded.zero_()
    np.testing.assert_array_equal(array, before[0])
    assert torch.equal(tensor, before[1])


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "empty list"),
        ("no/such/file.png", "no/such/file.png"),
        ([RGB, 7], r"images\[1\] is a int"),
        (np.zeros((3, 5, 7), np.uint8), "move the channels last"),
        (np.zeros((5,), np.uint8), r"shape \[5\]"),
        (np.zeros((5, 7, 3), np.int64), "dtype"),
        (np.zeros((0, 7, 3), np.uint8), "at least one pixel"),
        (np.zeros((5, 7, 4), np.float32), "alpha"),
        (torch.zeros(5, 7, 3), "move the channels first"),
        (torch.zeros(1, 5, 7), "shape"),
        (torch.full((3, 5, 7), 200.0), r"200.*divide by 255"),
        (torch.full((3, 5, 7), -0.5), r"allowed is 0 to 1; pass the image before its normalisation"),
        (np.linspace(-2, 2, 105).reshape(5, 7, 3), "pass the image before its normalisation"),
        (np.zeros((5, 7, 3), object), "array of object; allowed are uint8"),
        (np.zeros((5, 7, 3), complex), "array of complex128"),
        (np.zeros((5, 7, 3), np.longdouble), "array of "),
        (np.full((5, 7, 3), "a"), "array of <U1"),
        (np.zeros((5, 7, 3), bool), "dtype torch.bool"),
        (np.zeros((0, 5, 7, 3), np.uint8), r"shape \[0, 5, 7, 3\]; pass at least one image"),
        (torch.zeros(0, 3, 5, 7), r"shape \[0, 3, 5, 7\]; pass at least one image"),
        ([RGB, torch.zeros(0, 3, 5, 7)], r"images\[1\] has shape"),
        (torch.full((3, 5, 7), float("nan")), "NaN"),
        (np.full((5, 7, 3), np.inf, np.float32), "NaN or infinite"),
        ([RGB, Image.fromarray(np.zeros((4, 4), np.float32))], r"images\[1\]: floating"),
    ],
)
def test_bad_images_are_refused_in_one_line(images, words):
    with pytest.raises(InputError, match=words) as error:
        load_images(images)
    assert "\n" not in str(error.value)


def test_corrupt_file_is_named(tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 not really")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        load_images([RGB, path])


@pytest.mark.parametrize(
    ("options", "source", "wanted"),
    [
        ({}, (50, 70), (50, 70)),
        ({"size": (48, 64)}, (50, 70), (48, 64)),
        ({"short_side": 25}, (50, 70), (25, 35)),
        ({"short_side": 100}, (70, 50), (140, 100)),
        ({"short_side": 96}, (1, 4000), (1, 1536)),
    ],
)
def test_target_size(options, source, wanted):
    processor = GSSImageProcessor(**options)
    assert processor.target_size(*source) == wanted
    processed = processor(np.zeros((*source, 3), np.uint8))
    assert processed.original_sizes == [source]
    assert tuple(processed.images[0].shape) == (3, *wanted)


def test_size_of_a_call_wins_over_the_configured_one():
    processed = GSSImageProcessor(short_side=20)(RGB, size=(9, 11))
    assert tuple(processed.images[0].shape) == (3, 9, 11)


def test_resize_matches_pillow():
    smooth = np.kron(RGB, np.ones((8, 8, 1), np.uint8))
    wanted = np.asarray(Image.fromarray(smooth).resize((21, 17), Image.Resampling.BILINEAR))
    found = resize_images(load_images(smooth)[0][None], (17, 21))[0].movedim(0, -1).numpy() * 255
    assert np.abs(found - wanted).max() <= 1.5


@pytest.mark.parametrize("size", [(50, 70), (1, 40), (40, 1), (64, 32)])
def test_pad_replicates_the_border(size):
    images = torch.rand(2, 3, *size)
    padded = pad_to_multiple(images, 32)
    assert padded.shape[-2] % 32 == 0 and padded.shape[-1] % 32 == 0
    assert padded.shape[-2] - size[0] < 32 and padded.shape[-1] - size[1] < 32
    rows = np.minimum(np.arange(padded.shape[-2]), size[0] - 1)
    columns = np.minimum(np.arange(padded.shape[-1]), size[1] - 1)
    assert torch.equal(padded, images[..., rows, :][..., columns])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (4, 0)}, "size"),
        ({"size": 4}, "two positive"),
        ({"size": (4, 4), "short_side": 4}, "exclude"),
        ({"short_side": 2.5}, "short_side"),
        ({"size_multiple": 0}, "size_multiple"),
        ({"shortside": 4}, "shortside"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        GSSImageProcessor(**options)


def test_processor_saves_and_loads(tmp_path):
    processor = GSSImageProcessor(size=(96, 128), size_multiple=16, window_size=(64, 64))
    processor.save_pretrained(tmp_path)
    loaded = GSSImageProcessor.from_pretrained(tmp_path)
    assert loaded.to_dict() == processor.to_dict()
    assert loaded.size == (96, 128) and loaded.window_size == (64, 64)
