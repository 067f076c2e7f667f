import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gss.cli import main
from gss.core.errors import InputError
from gss.posterior import palette


def reference_distance(colors: np.ndarray) -> float:
    values = colors.astype(np.float64)
    return min(float(np.linalg.norm(values[i] - values[j])) for i in range(len(values)) for j in range(i))


@pytest.mark.parametrize(("num_classes", "bound"), [(19, 127.0), (150, 51.0), (171, 51.0), (194, 51.0)])
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_maxmin_keeps_its_promise_for_every_seed(num_classes: int, bound: float, seed: int) -> None:
    colors = palette.maxmin(num_classes, seed)
    assert colors.shape == (num_classes, 3) and colors.dtype == np.uint8
    assert reference_distance(colors) >= bound
    assert palette.min_distance(colors) == pytest.approx(reference_distance(colors))


@pytest.mark.parametrize("num_classes", [2, 3, 5, 9, 27, 28, 65, 216, 217, 255])
def test_maxmin_is_never_below_the_lattice(num_classes: int) -> None:
    best = palette.min_distance(palette.maxmin(num_classes))
    assert best >= palette.min_distance(palette.lattice(num_classes))
    assert best > palette.min_distance(palette.jitter(num_classes))
    assert best > palette.min_distance(palette.random(num_classes))


def test_two_classes_get_opposite_corners() -> None:
    assert palette.min_distance(palette.maxmin(2)) == pytest.approx(255 * 3**0.5)


def test_first_colours_are_farther_apart_than_all() -> None:
    colors = palette.maxmin(100)
    assert palette.min_distance(colors[:8]) > 1.5 * palette.min_distance(colors)


@pytest.mark.parametrize("method", ["maxmin", "random", "jitter"])
def test_seed_decides(method: str) -> None:
    first = palette.build(method, 23, 3)
    assert np.array_equal(first, palette.build(method, 23, 3))
    assert not np.array_equal(first, palette.build(method, 23, 4))


def test_result_is_the_callers_own() -> None:
    palette.maxmin(7)[:] = 0
    assert palette.min_distance(palette.maxmin(7)) > 200


@given(
    num_classes=st.integers(1, 255),
    seed=st.integers(0, 2**31),
    method=st.sampled_from(("lattice", "random", "jitter")),
)
def test_any_count_gives_distinct_colours(num_classes: int, seed: int, method: str) -> None:
    colors = palette.build(method, num_classes, seed)
    assert colors.shape == (num_classes, 3) and colors.dtype == np.uint8
    assert len(np.unique(colors, axis=0)) == num_classes


def test_jitter_has_the_spacing_of_the_released_palettes() -> None:
    # The released 150-class recipe gave 10.0 to 23.7 over 200 runs.
    found = [palette.min_distance(palette.jitter(150, seed)) for seed in range(20)]
    assert 10 < np.mean(found) < 24


def test_single_class() -> None:
    for method in ("maxmin", "lattice", "random", "jitter"):
        assert palette.build(method, 1).shape == (1, 3)
    assert palette.min_distance(palette.maxmin(1)) == np.inf
    palette.swatch(palette.maxmin(1), ["all"])


@pytest.mark.parametrize("method", palette.METHODS)
@pytest.mark.parametrize("count", [0, -3, 256, 2.0, True])
def test_bad_counts(method: str, count: int) -> None:
    with pytest.raises(InputError, match="num_classes"):
        palette.build(method, count, colors=[[0, 0, 0]])


@pytest.mark.parametrize(
    ("colors", "message"),
    [
        ([[0, 0, 0], [1, 2, 3], [0, 0, 0]], "classes 0 and 2 share"),
        ([[0, 0, 0], [1, 2, 256]], "class 1 has"),
        ([[0, 0, -1]], "class 0 has"),
        ([[0.5, 0, 0]], "not integers"),
        ([["a", "b", "c"]], "not integers"),
        ([[0, 0]], "shape"),
        ([[0, 0, 0], [1, 2]], "rows differ"),
        ([], "shape"),
        ([[i, 0, 0] for i in range(256)], "256 is outside"),
    ],
)
def test_bad_colors(colors: list, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        palette.from_list(colors)
    assert "\n" not in str(caught.value)


def test_display_needs_exactly_the_colours() -> None:
    colors = [[1, 2, 3], [4, 5, 6]]
    assert palette.build("display", 2, colors=colors).tolist() == colors
    with pytest.raises(InputError, match="too few"):
        palette.build("display", 3, colors=colors)
    with pytest.raises(InputError, match="too many"):
        palette.build("display", 1, colors=colors)
    with pytest.raises(InputError, match="needs the data set's colours"):
        palette.build("display", 2)
    with pytest.raises(InputError, match="maxmin"):
        palette.build("maxmn", 2)


def test_swatch_shows_every_colour() -> None:
    colors = palette.maxmin(40)
    picture = palette.swatch(colors, [f"a rather long class name {k}" for k in range(40)])
    shown = {color for _, color in picture.getcolors(1 << 24)}
    assert {tuple(color) for color in colors.tolist()} <= shown
    with pytest.raises(InputError, match="names"):
        palette.swatch(colors, ["one"])


def test_command(tmp_path, capsys) -> None:
    out = tmp_path / "swatch.png"
    assert main(["palette", "5", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "minimum distance" in printed and len(printed.splitlines()) == 7
    assert Image.open(out).mode == "RGB"
    assert list(tmp_path.iterdir()) == [out]
