"""Steps that are told to whoever shows them, and a bar that changes what it counts."""

import torch

from gss.core.progress import Progress, count_steps, expect_steps, watching
from gss.pipeline.windows import Dense, Views, run_views


def test_steps_reach_the_listener_inside_the_block_only():
    heard = []
    expect_steps(9)
    with watching(lambda done, new: heard.append((done, new))):
        expect_steps(3)
        count_steps(2)
        count_steps(1)
    count_steps(5)
    assert heard == [(0, 3), (2, 0), (1, 0)]


def test_windows_of_an_image_are_counted():
    heard = []
    views = Views(window_size=(16, 16), window="slide", batch_size=2)
    with watching(lambda done, new: heard.append((done, new))):
        run_views(lambda images: Dense({"x": images[:, :1]}, None), torch.rand(1, 3, 40, 24), views, multiple=4)
    expected = sum(new for _, new in heard)
    assert expected == sum(done for done, _ in heard) > 3
    assert max(done for done, _ in heard) == 2


def test_a_bar_counts_in_a_finer_unit(capsys):
    with Progress(1, "segmenting") as bar:
        bar.expect(6, "window")
        bar.update(4)
        assert (bar.unit, bar.count, bar.total) == ("window", 4, 6)
        bar.expect(2, "window")  # another scale of the same image
        assert (bar.count, bar.total) == (4, 8)
