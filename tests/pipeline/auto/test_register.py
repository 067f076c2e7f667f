"""Pipelines by the functions of transformers and diffusers, and other models as before."""

import base64
import io
import json
import shutil
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tiny_pipeline import NAMES, tiny_pipeline
from torch.utils.data import Dataset
from transformers.pipelines import ImageSegmentationPipeline
from transformers.pipelines.pt_utils import KeyDataset

import gss
from gss.core.errors import InputError
from gss.pipeline.auto.segmentation import GSSSegmentationPipeline

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8))
OTHER = PHOTO.resize((33, 24))


class Photos(Dataset):
    """Two photos of different sizes."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return (PHOTO, OTHER)[index]


class Records(Photos):
    """The photos as records."""

    def __getitem__(self, index):
        return {"image": super().__getitem__(index)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("run") / "pipeline"
    tiny_pipeline().save_pretrained(place)
    PHOTO.save(place.parent / "photo.png")
    return place


@pytest.fixture(scope="module")
def segment(folder):
    gss.register()
    gss.register()  # changes nothing
    return transformers.pipeline("image-segmentation", model=str(folder), device="cpu")


def check(segments, image=PHOTO):
    """Compare segments with those of our own pipeline."""
    own = tiny_pipeline()
    expected = own.segments(own(image))[0]
    assert [sorted(part) for part in segments] == [["label", "mask", "score"]] * len(expected)
    for part, wanted in zip(segments, expected, strict=True):
        assert part["label"] == wanted["label"] and part["label"] in NAMES
        assert part["score"] == pytest.approx(wanted["score"], abs=1e-6)
        assert part["mask"].mode == "L" and np.array_equal(part["mask"], wanted["mask"])
    return True


def test_one_image_in_every_form(segment, folder):
    buffer = io.BytesIO()
    PHOTO.save(buffer, "PNG")
    text = base64.b64encode(buffer.getvalue()).decode()
    for image in (PHOTO, str(folder.parent / "photo.png"), text, "data:image/png;base64," + text, np.asarray(PHOTO)):
        check(segment(image))
    check(segment(images=PHOTO))


def test_several_images(segment):
    for images in ([PHOTO, OTHER], (PHOTO, OTHER)):
        found = segment(images, batch_size=2)
        assert isinstance(found, list) and check(found[0]) and check(found[1], OTHER)
    for images in (Photos(), KeyDataset(Records(), "image"), (image for image in (PHOTO, OTHER))):
        found = segment(images)
        assert check(next(found)) and check(next(found), OTHER)
        with pytest.raises(StopIteration):
            next(found)
    assert len(segment(Photos())) == 2
    with pytest.raises(TypeError):
        len(segment(image for image in (PHOTO,)))


def test_our_pipeline_takes_the_same():
    own = tiny_pipeline()
    expected = own([PHOTO, OTHER])
    for images in ((PHOTO, OTHER), Photos(), KeyDataset(Records(), "image"), (image for image in (PHOTO, OTHER))):
        found = own(images)
        for mask, wanted in zip(found.masks, expected.masks, strict=True):
            assert np.array_equal(mask, wanted)
        assert found[1].overlay().size == OTHER.size  # the photo of a generator is kept


def test_addresses(segment, monkeypatch):
    buffer = io.BytesIO()
    PHOTO.save(buffer, "PNG")
    asked = []

    def get(address, *, timeout, **options):
        asked.append(timeout)
        if "photo" not in address:
            raise ConnectionError("no route\nto host")
        return type("Answer", (), {"content": buffer.getvalue()})

    monkeypatch.setattr("transformers.image_utils.httpx", type("Client", (), {"get": staticmethod(get)}))
    check(segment("https://example.org/photo.png", timeout=3))
    assert asked == [3]
    for run in (segment, tiny_pipeline()):
        with pytest.raises(InputError, match="https://example.org/x.png gives no image: no route to host"):
            run("https://example.org/x.png")


def test_options_reach_the_pipeline(segment):
    own = tiny_pipeline()
    found = segment(PHOTO, decode="aux", size=32, threshold=0.5, subtask="semantic")
    expected = own.segments(own(PHOTO, decode="aux", size=32))[0]
    assert [part["score"] for part in found] == pytest.approx([part["score"] for part in expected])
    for options, words in (
        ({"decodes": "aux"}, "unknown option 'decodes', did you mean 'decode'"),
        ({"subtask": "panoptic"}, "'semantic' segmentation"),
        ({"decode": "no"}, "decode"),
    ):
        with pytest.raises(InputError, match=words):
            segment(PHOTO, **options)
    with pytest.raises(InputError, match="empty list"):
        segment([])
    with pytest.raises(InputError, match="not found|no such|No such"):
        segment("nothing.png")


def test_the_run_that_holds_it_and_the_name_of_a_repository(folder, tmp_path):
    gss.register()
    check(transformers.pipeline("image-segmentation", model=str(folder.parent), device="cpu")(PHOTO))
    cache = tmp_path / "models--someone--streets"
    shutil.copytree(folder, cache / "snapshots" / ("1" * 40))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("1" * 40)
    options = {"model_kwargs": {"cache_dir": str(tmp_path)}, "local_files_only": True}
    check(transformers.pipeline("image-segmentation", model="someone/streets", device="cpu", **options)(PHOTO))


def test_precision_is_that_of_the_prior(folder):
    gss.register()
    half = transformers.pipeline("image-segmentation", model=str(folder), device="cpu", dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16 and half.model.pipeline.vqvae.dtype == torch.float32
    assert len(half(PHOTO)) == len(NAMES)


def test_other_folders_are_refused_as_before(tmp_path):
    gss.register()
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(ValueError, match="Unrecognized model"):
        transformers.pipeline("image-segmentation", model=str(tmp_path))


def test_other_models_load_as_before(tmp_path):
    gss.register()
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=8
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path)
    with pytest.raises(OSError, match="preprocessor_config.json"):
        transformers.pipeline("image-segmentation", model=str(tmp_path))
    transformers.SegformerImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    plain = transformers.pipeline("image-segmentation", model=str(tmp_path), device="cpu")
    assert type(plain) is ImageSegmentationPipeline and not isinstance(plain, GSSSegmentationPipeline)
    assert plain(PHOTO)[0]["mask"].size == PHOTO.size


def test_components_and_the_pipeline_by_generic_classes(folder):
    gss.register()
    own = tiny_pipeline()
    loaded = diffusers.DiffusionPipeline.from_pretrained(folder)
    assert type(loaded) is gss.GSSPipeline and np.array_equal(loaded(PHOTO).masks[0], own(PHOTO).masks[0])
    old = Path(__file__).parents[2] / "data" / "pipeline_v0.1" / "pipeline"  # names modules that are elsewhere today
    assert (
        diffusers.DiffusionPipeline.from_pretrained(old).decode_modes
        == gss.GSSPipeline.from_pretrained(old).decode_modes
    )
    prior = transformers.AutoModel.from_pretrained(folder / "prior").eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder / "processor")
    inputs = processor([PHOTO, OTHER], return_tensors="pt")
    assert inputs["pixel_values"].shape == (2, 3, 64, 64)
    assert torch.equal(prior(**inputs).aux_logits, own.prior(inputs["pixel_values"]).aux_logits)
    assert processor(PHOTO, return_tensors="np")["pixel_values"].shape == (1, 3, 64, 64)
    with pytest.raises(InputError, match="return_tensors is 'tf'"):
        processor(PHOTO, return_tensors="tf")
