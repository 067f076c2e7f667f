"""Masks that are filled strip by strip equal those of whole maps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_pipeline import tiny_pipeline
from torch.nn import functional as F

from gss.pipeline import masks
from gss.pipeline.masks import MaskRows, cell_strips, pixel_rows
from gss.pipeline.windows import resize_map


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_strips_give_the_mask_of_the_whole_map(data):
    sides = st.integers(1, 40)
    content, size = data.draw(st.tuples(sides, sides)), data.draw(st.tuples(sides, sides))
    padding = data.draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    values = torch.rand(3, content[0] + padding[0], content[1] + padding[1])
    mask = MaskRows(content, size, values.device)
    top = 0
    while top < values.shape[1]:
        rows = data.draw(st.integers(1, 15))
        mask.add(values[:, top : top + rows])
        top += rows
    assert mask.complete
    expected = resize_map(values[:, : content[0], : content[1]].contiguous(), size)
    confidence, labels = expected.max(0)
    torch.testing.assert_close(mask.confidence, confidence, atol=1e-6, rtol=0)
    assert (mask.labels == labels).float().mean() > 0.99  # equal but for ties after rounding
    if content == size:
        assert torch.equal(mask.labels.long(), labels)
        assert torch.equal(mask.confidence, confidence)


@pytest.mark.parametrize("stride", [4, 8])
def test_rows_of_pixels_are_those_of_the_whole_map(stride):
    logits = torch.randn(5, 13, 9)
    whole = F.interpolate(logits[None], scale_factor=stride, mode="bilinear")[0].softmax(0)
    for limit in (1, 5 * 9 * 16 * 3, 10**9):
        strips = list(cell_strips(13, 9, 5 * 16, limit))
        rows = torch.cat([pixel_rows(logits, stride, top, bottom) for top, bottom in strips], 1)
        torch.testing.assert_close(rows, whole, atol=1e-6, rtol=1e-5)


def refined(pipeline):
    pipeline.prior.config.shortlists = [[0.6, 0.3], [0.4, 0.1]]
    return pipeline


@pytest.fixture(params=["twin", "exact", "strips"])
def pipeline(request):
    made = tiny_pipeline(vqvae=request.param != "twin", short_side=64)
    made.exact = request.param == "exact"
    return refined(made) if request.param == "strips" else made


@pytest.mark.parametrize("window", ["whole", "slide"])
@pytest.mark.parametrize("size", [(50, 70), (64, 90)])
def test_masks_are_the_best_classes_of_the_probabilities(pipeline, window, size, monkeypatch):
    monkeypatch.setattr(masks, "STRIP", 4000)
    random = np.random.default_rng(0)
    images = [torch.from_numpy(random.random((3, *size), dtype=np.float32)) for _ in range(2)]
    options = {"window": window, "window_size": (32, 64), "batch_size": 2}
    for mode in pipeline.decode_modes:
        output = pipeline(images, decode=mode, **options)
        maps = pipeline.predict_probabilities(images, modes=[mode], **options)[mode]
        for mask, confidence, values in zip(output.masks, output.confidence, maps, strict=True):
            expected, labels = values.max(0)
            np.testing.assert_allclose(confidence, expected.numpy(), atol=2e-5)
            assert (mask == labels.numpy()).mean() > 0.999, mode


def test_a_mask_needs_no_map_of_all_classes():
    pipeline = refined(tiny_pipeline())
    numbers = []

    class Largest(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.ndim >= 3 and result.shape[-3] == 5:
                numbers.append(result[..., :1, :1].numel() and result.shape[-2] * result.shape[-1])
            return result

    with pytest.MonkeyPatch.context() as patch, Largest():
        patch.setattr("gss.pipeline.tokens.CPU_STRIP", 5 * 16 * 32 * 2)  # two rows of cells
        pipeline(torch.rand(3, 96, 128), return_tokens=False)
    assert max(numbers) < 96 * 128
