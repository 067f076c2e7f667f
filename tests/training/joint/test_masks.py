"""Known cells of training masks: every kind leaves something to say, in the form of its name."""

import numpy as np
import pytest
import torch

from gss.training.joint.masks import KINDS, draw_known, known_cells


def classes(h=13, w=9):
    grid = np.zeros((h, w), np.int64)
    grid[:5], grid[5:, 4:] = 1, 2
    grid[1:3, 1:3] = 2
    return grid


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unknown", [0.01, 0.4, 0.99])
def test_shapes_and_shares(kind, unknown):
    for seed in range(20):
        known = known_cells(np.random.default_rng(seed), classes(), kind, unknown)
        assert known.shape == (13, 9) and known.dtype == bool
        if kind == "random":
            assert (~known).sum() == round(unknown * 13 * 9)


def test_regions_are_whole():
    grid = classes()
    for seed in range(20):
        hidden = ~known_cells(np.random.default_rng(seed), grid, "regions", 0.3)
        for region in (grid == 0, (grid == 1), grid[5:, 4:] == 2):
            if region.shape == grid.shape:
                assert hidden[region].all() or not hidden[region].any()


def test_draws_are_of_the_seeded_source_and_leave_a_cell_unknown():
    grid = torch.from_numpy(classes())[None].repeat(40, 1, 1)
    torch.manual_seed(1)
    first = draw_known(grid, 0.5)
    torch.manual_seed(1)
    assert torch.equal(first, draw_known(grid, 0.5))
    assert not first.flatten(1).all(1).any()
    assert first.flatten(1).any(1).sum() > 20
    assert not torch.equal(first[0], first[1])
