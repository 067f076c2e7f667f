import errno
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gss.report.pictures import colorize, contact_sheet, error_map, heatmap, legend, overlay

COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
LABELS = np.array([[0, 1, 255], [2, 2, 2]], dtype=np.uint8)


def test_colorize_paints_each_label():
    painted = np.asarray(colorize(LABELS, COLORS, void=(9, 9, 9)))
    assert painted[0].tolist() == [[255, 0, 0], [0, 255, 0], [9, 9, 9]]
    assert (painted[1] == (0, 0, 255)).all()


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 255), st.integers(0, 2**31))
def test_colorize_equals_indexing(height, width, k, seed):
    rng = np.random.default_rng(seed)
    colors, labels = rng.integers(0, 256, (k, 3), dtype=np.uint8), rng.integers(0, k, (height, width))
    assert np.array_equal(np.asarray(colorize(labels, colors)), colors[labels])


def test_overlay_blends_and_leaves_void():
    image = Image.new("RGB", (3, 2), (100, 100, 100))
    blended = np.asarray(overlay(image, LABELS, COLORS, opacity=0.5, contours=False))
    assert blended[0, 0].tolist() == [178, 50, 50]
    assert blended[0, 2].tolist() == [100, 100, 100]
    assert np.array_equal(np.asarray(overlay(image, LABELS, COLORS, opacity=0.0, contours=False)), np.asarray(image))
    lined = np.asarray(overlay(image, LABELS, COLORS, opacity=0.5))
    assert lined[0, 1].min() > 150
    assert lined[0, 0].tolist() == [178, 50, 50]


def test_error_map_tells_right_wrong_and_void():
    prediction = np.array([[0, 2, 0], [2, 2, 1]])
    picture = np.asarray(error_map(prediction, LABELS))
    reds = picture[..., 0].astype(int) - picture[..., 1] > 100
    assert reds.tolist() == [[False, True, False], [False, False, True]]
    assert picture[0, 2].tolist() != picture[0, 0].tolist()
    with_image = np.asarray(error_map(prediction, LABELS, Image.new("RGB", (3, 2), "white")))
    assert with_image[0, 0].tolist() == [252, 252, 252]
    assert with_image[0, 1].tolist() == picture[0, 1].tolist()


@pytest.mark.parametrize("palette", ["viridis", "magma"])
def test_heatmap_is_close_to_matplotlib_and_monotone(palette):
    matplotlib = pytest.importorskip("matplotlib")
    values = np.linspace(-300, 500, 256)[None]
    painted = np.asarray(heatmap(values, palette=palette)).astype(int)
    wanted = (matplotlib.colormaps[palette](np.linspace(0, 1, 256))[None, :, :3] * 255).round()
    assert np.abs(painted - wanted).max() <= 18
    luminance = painted @ (0.299, 0.587, 0.114)
    assert (np.diff(luminance[0]) >= -0.5).all()


def test_heatmap_edge_cases():
    constant = np.asarray(heatmap(np.full((2, 3), 7.0)))
    assert (constant == constant[0, 0]).all()
    mixed = np.asarray(heatmap(np.array([[np.nan, 0.0, 1.0, np.inf]])))
    assert mixed[0, 0].tolist() == mixed[0, 3].tolist() == [128, 128, 128]
    assert mixed[0, 1].tolist() == [68, 1, 84] and mixed[0, 2].tolist() == [253, 231, 37]
    assert (np.asarray(heatmap(np.full((2, 2), np.nan))) == 128).all()
    clipped = np.asarray(heatmap(np.array([[-5.0, 0.5, 9.0]]), low=0, high=1))
    assert clipped[0, 0].tolist() == [68, 1, 84] and clipped[0, 2].tolist() == [253, 231, 37]


def test_contact_sheet_places_pictures():
    red, blue = Image.new("RGB", (40, 20), "red"), Image.new("RGB", (20, 40), "blue")
    sheet = contact_sheet([[red, blue], [blue]], ["first", "second"], captions=["a", "b " * 99], width=50)
    assert sheet.width == 8 + 2 * 58
    colors = {color for _, color in sheet.getcolors(100_000)}
    assert {(255, 0, 0), (0, 0, 255), (255, 255, 255)} <= colors
    assert sheet.getpixel((30, 40)) == (255, 0, 0)
    label_map = colorize(np.arange(6).reshape(2, 3) % 3, COLORS)
    scaled = contact_sheet([[label_map]], width=31)
    assert {color for _, color in scaled.getcolors()} == {*COLORS, (255, 255, 255)}


def test_legend():
    picture = legend(["a", "a very long class name indeed, too long for its cell", "ü"], COLORS, columns=2, width=200)
    assert picture.size == (200, 56)
    assert picture.getpixel((16, 14)) == COLORS[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: colorize(np.array([[3]]), COLORS), "labels holds 3, but colors has only 3"),
        (lambda: colorize(np.array([[-1]]), COLORS), "allowed are 0..255"),
        (lambda: colorize(np.zeros((2, 2)), COLORS), "integer map"),
        (lambda: overlay(Image.new("RGB", (2, 2)), LABELS, COLORS), "image is 2x2, labels are 2x3"),
        (lambda: error_map(LABELS[:1], LABELS), "must have one size"),
        (lambda: heatmap(np.zeros(3)), r"\[H, W\]"),
        (lambda: heatmap(np.zeros((2, 2)), palette="jet"), "viridis, magma"),
        (lambda: legend(["a"], COLORS), "one color for each name"),
        (lambda: contact_sheet([[]]), "no picture"),
        (lambda: contact_sheet([[Image.new("RGB", (2, 2))]], ["a", "b"]), "titles has 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_full_disk_leaves_no_cut_picture(tmp_path):
    """Pillow writes what fits of a JPEG and says nothing."""
    script = (
        "import resource, signal, sys, numpy as np\nfrom PIL import Image\n"
        "from gss.report.pictures import save_picture\n"
        "picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8))\n"
        "save_picture(sys.argv[1] + '/whole.jpg', picture)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (5000, -1))\n"
        "try:\n    save_picture(sys.argv[1] + '/cut.jpg', picture)\nexcept OSError as error:\n    print(error.errno)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) == errno.EFBIG
    assert [path.name for path in tmp_path.iterdir()] == ["whole.jpg"]
    Image.open(tmp_path / "whole.jpg").load()


def test_overlay_leaves_a_background_to_the_photograph():
    image = Image.new("RGB", (3, 2), (100, 100, 100))
    drawn = np.asarray(overlay(image, LABELS, COLORS, clear=(0,), contours=False))
    assert (drawn[LABELS == 0] == 100).all() and (drawn[LABELS == 1] != 100).any()


def test_every_picture_of_a_contact_sheet_can_have_its_own_caption():
    black = Image.new("RGB", (100, 60))
    plain = np.asarray(contact_sheet([[black, black]], width=100))
    own = np.asarray(contact_sheet([[black, black]], captions=[["first", "second"]], width=100))
    under = own[plain.shape[0] :]
    for start in (8, 116):  # left edges of the two pictures
        assert (under[:, start : start + 100] < 200).any()
