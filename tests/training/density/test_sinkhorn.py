import math
import threading

import pytest
import torch

from gss.training.density.sinkhorn import sinkhorn


def looped(scores, classes, num_classes, *, epsilon, relative, iterations=3):
    """Sinkhorn-Knopp class by class in float64, as GMMSeg has it."""
    out = torch.zeros_like(scores)
    for c in range(num_classes):
        rows = classes == c
        if not rows.any():
            continue
        q = scores[rows]
        if relative:
            q = q / q.abs().max()
        q = (q / epsilon - (q / epsilon).max()).exp()  # one constant of the class, against underflow
        q = q / q.sum()
        n, components = q.shape
        for _ in range(iterations):
            q = q / q.sum(0, keepdim=True) / components
            q = q / q.sum(1, keepdim=True) / n
        out[rows] = q * n
    return out


@pytest.mark.parametrize("relative", [False, True])
def test_sinkhorn_equals_a_loop(relative):
    classes = torch.randint(0, 7, (3000,))
    classes[classes == 3] = 2  # one class does not occur
    scores = -59 + 6 * torch.randn(3000, 5)
    epsilon = 0.05 if relative else 3.0
    expected = looped(scores.double(), classes, 7, epsilon=epsilon, relative=relative)
    found = sinkhorn(scores, classes, 7, temperature=epsilon, relative=relative)
    assert torch.equal(found.argmax(1), expected.argmax(1))
    assert torch.allclose(found.exp().double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("temperature", "relative"), [(1.0, False), (30.0, False), (0.05, True), (1e-3, True)])
def test_sinkhorn_of_log_densities_of_hundreds(temperature, relative):
    """Scores of -500 to 500 nats, where a loop with exp() gives 0 / 0, against a loop in logarithms and float64."""
    classes = torch.randint(0, 4, (2000,))
    scores = 500 * (2 * torch.rand(2000, 5) - 1)
    scores[classes == 1] += torch.tensor([0.0, 900, -900, 0, 0])  # components far apart
    expected = torch.empty(2000, 5, dtype=torch.float64)
    for c in range(4):
        rows = classes == c
        log_q = scores[rows].double() / temperature
        if relative:
            log_q = log_q / scores[rows].abs().max()
        for _ in range(3):
            log_q = log_q - log_q.logsumexp(0)
            log_q = log_q - log_q.logsumexp(1, keepdim=True)
        expected[rows] = log_q.exp()
    found = sinkhorn(scores, classes, 4, temperature=temperature, relative=relative)
    assert found.isfinite().all() and torch.equal(found.argmax(1), expected.argmax(1))
    # A float32 of a thousand has steps of 6e-5.
    assert torch.allclose(found.exp().double(), expected, atol=5e-5, rtol=0)
    exact = sinkhorn(scores.double(), classes, 4, temperature=temperature, relative=relative)
    assert torch.allclose(exact.exp(), expected, atol=1e-12, rtol=0)


def test_sinkhorn_keeps_double_precision():
    scores, classes = torch.randn(300, 4, dtype=torch.float64) * 40, torch.randint(0, 3, (300,))
    expected = looped(scores, classes, 3, epsilon=7.0, relative=False)
    assert torch.allclose(sinkhorn(scores, classes, 3, temperature=7.0).exp(), expected, atol=1e-12)


def test_sinkhorn_shares_pixels_evenly_and_survives_outliers():
    scores = torch.randn(400, 4) + torch.tensor([0.0, 0.0, 0.0, 8.0])
    scores[0] = -1e4  # a plain exp() would make this row 0 / 0
    classes = torch.zeros(400, dtype=torch.long)
    share = sinkhorn(scores, classes, 1, iterations=100).exp()
    assert torch.allclose(share.sum(0), torch.full((4,), 100.0), rtol=0.01)
    assert torch.allclose(share.sum(1), torch.ones(400))


def test_sinkhorn_leaves_unused_components_alone():
    scores = torch.randn(50, 3)
    scores[:, 1] = -math.inf
    share = sinkhorn(scores, torch.zeros(50, dtype=torch.long), 2).exp()
    assert (share[:, 1] == 0).all() and torch.allclose(share.sum(1), torch.ones(50))
    assert sinkhorn(scores[:0], torch.zeros(0, dtype=torch.long), 2).shape == (0, 3)


def test_sinkhorn_over_processes_equals_one():
    # Two processes in lockstep: every reduction sees the parts of both.
    scores, classes = torch.randn(101, 3), torch.randint(0, 2, (101,))
    barrier, parts, results = threading.Barrier(2), {}, {}

    def work(rank, rows):
        def reduce(op):
            def run(value):
                parts[rank] = value
                barrier.wait()
                total = op(parts[0], parts[1])
                barrier.wait()
                return total

            return run

        results[rank] = sinkhorn(
            scores[rows], classes[rows], 2, sum_across=reduce(torch.add), max_across=reduce(torch.maximum)
        )

    halves = [slice(0, 40), slice(40, None)]
    threads = [threading.Thread(target=work, args=(i, rows)) for i, rows in enumerate(halves)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.allclose(torch.cat([results[0], results[1]]), sinkhorn(scores, classes, 2), atol=1e-5)
