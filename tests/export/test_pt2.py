"""torch.export archives."""

import numpy as np
import pytest
from tiny_pipeline import tiny_pipeline

from gss.core.errors import InputError
from gss.export.job import export, load_pt2
from gss.export.parity import Agreement, Parity


@pytest.mark.slow
def test_an_archive_says_what_the_pipeline_says(tmp_path):
    images = [(np.random.default_rng(i).integers(0, 256, (40, 50, 3), dtype=np.uint8), None) for i in range(2)]
    labelled = [(image, np.zeros(image.shape[:2], np.uint8)) for image, _ in images]
    result = export(tiny_pipeline(vqvae=False), (32, 64), labelled, source="noise", pt2=tmp_path / "model.pt2")
    assert result.parity.runs["model.pt2"].labels_equal == 1 and result.parity.torch_miou is not None
    assert load_pt2(tmp_path / "model.pt2") and (tmp_path / "model.pt2.parity.json").is_file()
    with pytest.raises(InputError, match="there is no image"):
        export(tiny_pipeline(vqvae=False), (32, 64), [], source="none", pt2=tmp_path / "other.pt2")


def test_a_file_that_differs_is_refused():
    runs = {"good": Agreement(1.0, 1e-6, 0.0, None, 0.1), "bad": Agreement(0.99, 1e-6, 0.0, None, 0.1)}
    parity = Parity(1, "x", (32, 32), "hard", "entropy", None, 0.1, runs)
    parity.check("good")
    with pytest.raises(InputError, match=r"99.000 % of the labels are equal"):
        parity.check("bad")
