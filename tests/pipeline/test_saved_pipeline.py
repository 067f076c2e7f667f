"""A pipeline saved by version 0.1, when modules lay elsewhere, loads and predicts as it did then."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from gss import GSSPipeline

SAVED = Path(__file__).parents[1] / "data" / "pipeline_v0.1"


@pytest.fixture(scope="module")
def pipeline():
    return GSSPipeline.from_pretrained(SAVED / "pipeline")


def test_components_are_found_by_class_name_not_by_the_stored_module(pipeline):
    stored = json.loads((SAVED / "pipeline" / "model_index.json").read_text())
    components = {name: entry for name, entry in stored.items() if not name.startswith("_")}
    assert stored["codec"] == ["gss.maskige", "MaskigeCodec"]  # a module that need not exist today
    assert set(components) == set(pipeline.components) - {"joint"}  # which came later
    for name, (_, class_name) in components.items():
        assert type(pipeline.components[name]).__name__ == class_name


def test_probabilities_scores_and_masks_are_those_of_then(pipeline):
    expected = load_file(SAVED / "expected.safetensors")
    image = Image.open(SAVED / "image.png").convert("RGB")
    modes, scores = pipeline.decode_modes, pipeline.score_names
    assert {f"mode_{mode}" for mode in modes} | {f"score_{name}" for name in scores} <= set(expected)
    found = pipeline.predict_probabilities(image, modes=modes, scores=scores)
    for name in modes:
        torch.testing.assert_close(found[name][0], expected[f"mode_{name}"], atol=1e-5, rtol=1e-4)
    for name in scores:
        torch.testing.assert_close(found[name][0], expected[f"score_{name}"], atol=1e-4, rtol=1e-4)
    output = pipeline(image)
    np.testing.assert_array_equal(output.masks[0], expected["mask"].numpy())
    np.testing.assert_array_equal(output.tokens[0], expected["tokens"].numpy())


def test_a_moved_pipeline_is_saved_with_the_modules_of_today(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "again")
    index = json.loads((tmp_path / "again" / "model_index.json").read_text())
    for name, component in pipeline.components.items():
        expected = [None, None] if component is None else [type(component).__module__, type(component).__name__]
        assert index[name] == expected
