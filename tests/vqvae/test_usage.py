"""Usage of a codebook."""

import pytest
import torch

from vqvae import CodebookUsage


def test_usage_counts():
    usage = CodebookUsage(8)
    usage.update(torch.tensor([[0, 0], [1, 1]]))
    result = usage.compute()
    assert result["perplexity"] == pytest.approx(2.0)
    assert result["dead_codes"] == pytest.approx(6 / 8)
    assert result["dominant_code"] == pytest.approx(0.5)
