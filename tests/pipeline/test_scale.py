"""The scale of training, and images of other scales."""

import numpy as np
import pytest
import torch
from tiny_pipeline import tiny_pipeline

from gss import GSSImageProcessor, GSSPipeline
from gss.core.errors import InputError
from gss.pipeline.scale import TrainScale, with_short_side

ONE = {"short_side": 48, "low": 40, "high": 60, "object_pixels": 300}
WIDE = {"short_side": 100, "low": 40, "high": 200}


@pytest.mark.parametrize(
    ("scale", "source", "wanted"),
    [
        (ONE, (48, 64), (48, 64)),
        (ONE, (50, 70), (48, 67)),
        (ONE, (400, 300), (64, 48)),
        (ONE, (12, 16), (48, 64)),
        (WIDE, (100, 70), (100, 70)),
        (WIDE, (20, 30), (40, 60)),
        (WIDE, (1000, 400), (500, 200)),
        (ONE, (1, 4000), (1, 768)),
    ],
)
def test_images_run_at_the_scale_of_training(scale, source, wanted):
    assert GSSImageProcessor(train_scale=scale).target_size(*source) == wanted
    assert GSSImageProcessor().target_size(*source) == source
    assert GSSImageProcessor(short_side=25, train_scale=scale).target_size(*source) == with_short_side(*source, 25)


@pytest.mark.parametrize(
    ("size", "wanted"), [("native", (50, 70)), (25, (25, 35)), ((9, 11), (9, 11)), (None, (48, 67))]
)
def test_a_call_chooses_another_size(size, wanted):
    processed = GSSImageProcessor(train_scale=ONE)(np.zeros((50, 70, 3), np.uint8), size=size)
    assert tuple(processed.images[0].shape[1:]) == wanted


def test_an_enlarged_image_has_the_same_mask(tmp_path):
    pipeline = tiny_pipeline(train_scale=ONE)
    pipeline.save_pretrained(tmp_path)
    assert "shorter side resized to 48, as in training" in (tmp_path / "README.md").read_text()
    loaded = GSSPipeline.from_pretrained(tmp_path)
    assert loaded.processor.scale == TrainScale(**ONE)
    blocks = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    small = np.kron(blocks, np.ones((8, 8, 1), np.uint8))  # 48 x 64
    large = np.kron(blocks, np.ones((64, 64, 1), np.uint8))  # the same, eight times as large
    first, second = loaded(small).masks[0], loaded(large).masks[0]
    assert second.shape == (384, 512)
    assert (second[4::8, 4::8] == first).mean() > 0.8
    native = loaded(large, size="native").masks[0]
    assert (native[4::8, 4::8] == first).mean() < (second[4::8, 4::8] == first).mean()


@pytest.mark.parametrize("size", ["natve", 0, True, (4, 0), (4,), 2.5])
def test_bad_sizes_are_one_line(size):
    with pytest.raises(InputError, match="size is"):
        tiny_pipeline()(np.zeros((8, 8, 3), np.uint8), size=size)


@pytest.mark.parametrize("scale", [{"short_side": 4}, {**ONE, "low": 50}, {**ONE, "high": 2.5}, {**ONE, "more": 1}])
def test_a_damaged_scale_is_refused(scale):
    with pytest.raises(InputError, match="train_scale"):
        GSSImageProcessor(train_scale=scale)


def test_several_scores_in_one_call():
    pipeline = tiny_pipeline()
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    output = pipeline([image, image[:20]], scores=["max_logit", "entropy"], score="energy")
    for name in ("max_logit", "entropy"):
        alone = pipeline([image, image[:20]], score=name)
        assert "ood_scores" in output and alone.score_maps is None
        for both, one in zip(output.score_maps, alone.ood_scores, strict=True):
            assert list(both) == ["max_logit", "entropy"] and np.array_equal(both[name], one)
    tensors = pipeline(image, scores=["entropy"], output_type="pt").score_maps[0]["entropy"]
    assert torch.is_tensor(tensors) and tensors.shape == (40, 56)
