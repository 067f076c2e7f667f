"""Usage of a codebook; what it costs those who do not measure it."""

import subprocess
import sys

import pytest
import torch

import vqvae


def test_usage_of_codes():
    usage = vqvae.CodebookUsage(4)
    usage.update(torch.tensor([[0, 0], [0, 2]]))
    result = usage.compute()
    share = torch.tensor([0.75, 0.25]).double()
    assert result["perplexity"] == pytest.approx(float(torch.exp(-(share * share.log()).sum())))
    assert result["dead_codes"] == 0.5 and result["dominant_code"] == 0.75
    usage.reset()
    assert usage.compute()["dead_codes"] == 1


def test_pipelines_do_not_import_torchmetrics():
    script = (
        "import sys, gss.pipeline.pipeline\nassert 'torchmetrics' not in sys.modules\nimport vqvae\nvqvae.CodebookUsage"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match="no attribute 'CodeUsage'"):
        _ = vqvae.CodeUsage
