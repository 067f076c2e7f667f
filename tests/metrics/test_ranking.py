"""Keys of scores and the histogram over them."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from gss.metrics.ranking import BINS, bin_of, count_scores, keys_of, score_of_bin, scores_of


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=50))
def test_keys_keep_the_order(values):
    scores = np.array(values, np.float32)
    keys = keys_of(scores)
    order = np.argsort(scores, kind="stable")
    assert (np.diff(keys[order].astype(np.int64)) >= 0).all()
    assert ((keys[:, None] == keys) == (scores[:, None] == scores)).all()
    assert (scores_of(keys) == scores).all()


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50))
def test_bins_hold_the_scores_above_their_edge(values):
    scores = np.array(values, np.float32)
    bins = torch.zeros(BINS, dtype=torch.int64)
    count_scores(bins, scores)
    assert int(bins.sum()) == len(scores)
    used = np.flatnonzero(bins.numpy())
    for edge, bin in zip(score_of_bin(used), used, strict=True):
        assert bin_of(float(edge)) == (0 if edge == -np.inf else bin)
        assert int(bins[bin_of(float(edge)) :].sum()) == int((scores >= edge).sum())
