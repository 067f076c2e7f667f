"""Potts steps: the energy is its formula and never rises."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from gss.weak.refine.potts import edge_gates, potts_energy, potts_refine


@given(st.integers(0, 10_000), st.floats(0, 5), st.integers(2, 5))
def test_potts_steps_never_raise_the_energy(seed, strength, K):
    generator = torch.Generator().manual_seed(seed)
    probs = torch.rand(K, 7, 9, generator=generator, dtype=torch.float64) ** 3
    probs /= probs.sum(0)
    weights = torch.rand(7, 9, generator=generator, dtype=torch.float64)
    weights[weights < 0.3] = 0
    gates = edge_gates(torch.rand(7, 9, generator=generator, dtype=torch.float64))
    soft, before = probs, np.inf
    for _ in range(6):
        soft = potts_refine(probs, weights, gates, start=soft, strength=strength, iterations=1)
        energy = float(potts_energy(soft, probs, weights, gates, strength=strength))
        assert energy <= before + 1e-6
        torch.testing.assert_close(soft.sum(0), torch.ones(7, 9, dtype=torch.float64))
        before = energy


def test_potts_energy_is_its_formula():
    soft, probs = (torch.rand(3, 4, 5, dtype=torch.float64).softmax(0) for _ in range(2))
    weights, edges = torch.rand(4, 5, dtype=torch.float64), torch.rand(4, 5, dtype=torch.float64)
    wanted = -sum(weights[y, x] * (probs[:, y, x] @ soft[:, y, x]).log() for y in range(4) for x in range(5))
    for y in range(4):
        for x in range(5):
            for b, a in ((y, x + 1), (y + 1, x)):
                if b < 4 and a < 5:
                    gate = (1 - max(edges[y, x], edges[b, a])) ** 4
                    wanted = wanted - 0.7 * gate * (soft[:, y, x] @ soft[:, b, a]).log()
    torch.testing.assert_close(potts_energy(soft, probs, weights, edge_gates(edges), strength=0.7), wanted)


def test_gates_close_where_dilated_edges_are():
    edges = torch.zeros(9, 9)
    edges[4, 4] = 1
    right, below = edge_gates(edges)
    assert right[4, 4] == right[4, 3] == below[3, 4] == 0 and right[4, 2] == 1
    wide, _ = edge_gates(edges, dilate=3)
    assert wide[4, 2] == 0 and wide[4, 1] == 1
