"""Shared by several tests; taken from labels/test_mapping.py."""

import numpy as np
import torch
from hypothesis import strategies as st

from gss.labels.mapping import LabelMapping
from gss.labels.space import LabelSpace


def space(*names):
    return LabelSpace(names)


@st.composite
def mappings(draw):
    """Any mapping between spaces of 1 to 6 classes: divided, partial, dropped, covered."""
    K, T = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    weights = st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0, 3.0])
    matrix = np.array([[draw(weights) for _ in range(T)] for _ in range(K)])
    matrix[0, draw(st.integers(0, T - 1))] += 1
    matrix /= np.maximum(matrix.sum(1, keepdims=True), 1) * draw(st.sampled_from([1.0, 1.0, 1.25]))
    links = (matrix > 0) | np.array([[draw(st.booleans()) for _ in range(T)] for _ in range(K)])
    ours, theirs = (space(*(f"{letter}{k}" for k in range(n))) for letter, n in (("s", K), ("t", T)))
    return LabelMapping.from_matrix(ours, theirs, matrix, links)


def random_probs(K, *shape, seed=0):
    return torch.rand(K, *shape, generator=torch.Generator().manual_seed(seed)).softmax(0)
