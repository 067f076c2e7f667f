"""Shared by several tests; taken from weak/agmm/test_mixture.py."""

import numpy as np
import torch

B, K, D, H, W, h, w = 3, 4, 5, 20, 28, 5, 7


def labels_of(seed=0, share=0.1, classes=K, batch=B):
    """Sparse labels; the last image has none, class 1 never occurs."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (batch, H, W))
    labels[labels == 1] = 0
    labels[rng.random(labels.shape) > share] = 255
    labels[-1] = 255
    return torch.from_numpy(labels)


def inputs(seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(B, D, h, w, generator=generator, dtype=torch.float64)
    log_probs = torch.randn(B, K, h, w, generator=generator, dtype=torch.float64).mul(3).log_softmax(1)
    valid = torch.rand(B, h, w, generator=generator, dtype=torch.float64)
    return features, log_probs, valid, labels_of(seed, **kwargs)
