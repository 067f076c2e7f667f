import numpy as np
import torch

from gss.metrics.means import iou, mean, ratios


def test_means_leave_out_what_is_missing():
    assert mean([1.0, None, 0.5]) == 0.75
    assert mean([None]) is mean([]) is None


def test_ratios_are_missing_where_the_whole_is_zero():
    for kind in (np.array, torch.tensor):
        assert ratios(kind([1, 0, 0]), kind([4, 2, 0])) == [0.25, 0.0, None]
        assert iou(kind([1, 0, 0]), kind([2, 1, 0]), kind([3, 0, 0])) == [0.25, 0.0, None]
