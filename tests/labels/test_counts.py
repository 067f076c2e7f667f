import numpy as np

from gss.labels.counts import count_labels


def test_counts_of_all_labels_and_void():
    counts = count_labels(np.array([[0, 3, 3], [255, 254, 3]], np.uint8))
    assert counts.shape == (256,) and counts.dtype == np.int64
    assert counts.nonzero()[0].tolist() == [0, 3, 254, 255] and counts[[0, 3, 254, 255]].tolist() == [1, 3, 1, 1]
    assert count_labels(np.empty((0, 5), np.uint8)).tolist() == [0] * 256
