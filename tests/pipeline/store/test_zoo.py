"""Pipelines in half precision, and the list of those that come with the project."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from gss import GSSPipeline
from gss.config.shared import DataConfig
from gss.core.errors import InputError
from gss.data.open import build_dataset
from gss.pipeline.store.zoo import FOLDER, halve_weights, list_models

SAVED = Path(__file__).parents[2] / "data" / "pipeline_v0.1" / "pipeline"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(SAVED, tmp_path / "zoo" / "tiny"))


def test_halved_weights_take_half_the_room_and_are_read_as_float32(folder):
    def size():
        return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))

    before, whole = size(), GSSPipeline.from_pretrained(folder)
    halve_weights(folder)
    assert size() < 0.6 * before
    half = GSSPipeline.from_pretrained(folder)
    for name, module in half.components.items():
        if not isinstance(module, torch.nn.Module):
            continue
        old = whole.components[name].state_dict()
        for key, value in module.state_dict().items():
            assert value.dtype == old[key].dtype, (name, key)
            if value.is_floating_point():
                torch.testing.assert_close(value, old[key], atol=1e-3, rtol=2e-3)
            else:
                assert torch.equal(value, old[key])


def test_masks_of_halved_weights_are_almost_those_of_the_whole(folder):
    image = Image.open(SAVED.parent / "image.png").convert("RGB")
    before = GSSPipeline.from_pretrained(folder)(image).masks[0]
    halve_weights(folder)
    after = GSSPipeline.from_pretrained(folder)(image).masks[0]
    assert (np.asarray(before) == np.asarray(after)).mean() > 0.99


def test_a_precision_can_still_be_asked_for(folder):
    halve_weights(folder)
    pipeline = GSSPipeline.from_pretrained(folder, dtype=torch.bfloat16)
    assert pipeline.prior.dtype == torch.bfloat16
    assert pipeline.likelihood.table.dtype == torch.float32


def test_numbers_that_float16_cannot_hold_stay_as_they_are(folder):
    file = next((folder / "prior").glob("*.safetensors"))
    tensors = load_file(file)
    name = next(key for key, value in tensors.items() if value.dtype == torch.float32)
    tensors[name] = torch.full_like(tensors[name], 1e6)
    save_file(tensors, file, metadata={"format": "pt"})
    halve_weights(folder)
    stored = load_file(file)
    assert stored[name].dtype == torch.float32 and bool((stored[name] == 1e6).all())


def test_a_folder_without_a_pipeline_is_refused(tmp_path):
    with pytest.raises(InputError, match="model_index.json"):
        halve_weights(tmp_path)
    with pytest.raises(InputError, match="no zoo"):
        list_models(tmp_path / "nowhere")


def test_models_of_a_folder_are_listed_with_classes_and_size(folder):
    (model,) = list_models(folder.parent)
    pipeline = GSSPipeline.from_pretrained(folder)
    assert (model.name, model.folder) == ("tiny", str(folder))
    assert model.classes == list(pipeline.id2label.values())
    assert model.megabytes == pytest.approx(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="installed without the folder zoo/")
def test_models_of_the_project_are_small_and_carry_a_card():
    for model in list_models():
        assert model.megabytes <= 10.0
        assert "## Training data" in Path(model.card).read_text(encoding="utf-8")


@pytest.mark.skipif(not FOLDER.is_dir(), reason="installed without the folder zoo/")
def test_models_of_the_project_segment_a_generated_street():
    scene, _ = build_dataset(DataConfig(spec="scenes"), "test", train=False).read(3)
    for model in list_models():
        pipeline = GSSPipeline.from_pretrained(model.folder)
        output = pipeline(scene, return_ood=True)
        mask = np.asarray(output.masks[0])
        assert mask.shape == (scene.height, scene.width)
        names = pipeline.id2label
        lower, upper = mask[-scene.height // 6 :], mask[: scene.height // 8]
        assert names[int(np.bincount(lower.ravel()).argmax())].lower() == "road"
        assert {names[int(label)].lower() for label in np.unique(upper)} & {"sky", "building"}
        assert np.isfinite(output.ood_scores[0]).all()
