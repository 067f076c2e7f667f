"""`SegmentBatch` without a cluster."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from ray_toys import png
from tiny_pipeline import tiny_pipeline

from gss.core.errors import InputError
from gss.integrations.ray import SegmentBatch
from gss.integrations.ray.segment import result_name


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


def _objects(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def test_rows_hold_what_the_pipeline_says_and_bad_ones_their_reason(pipeline):
    images = [png(0, 20, 44), b"no image", png(1, 33, 17)]
    batch = {"bytes": _objects(images), "path": _objects(["a/x.png", "a/y.png", "z.png"])}
    columns = SegmentBatch(pipeline, scores=("entropy",))(batch)
    assert columns["id"].tolist() == ["a/x.png", "a/y.png", "z.png"]
    expected = pipeline([Image.open(io.BytesIO(images[n])) for n in (0, 2)], scores=["entropy"])
    for row, place in ((0, 0), (2, 1)):
        mask, sure = (Image.open(io.BytesIO(columns[name][row])) for name in ("mask", "confidence"))
        np.testing.assert_array_equal(np.asarray(mask), expected.masks[place])
        assert np.abs(np.asarray(sure) / 255 - expected.confidence[place]).max() <= 0.5 / 255 + 1e-6
        scores = np.load(io.BytesIO(columns["entropy"][row]), allow_pickle=False)
        np.testing.assert_array_equal(scores, expected.score_maps[place]["entropy"])
        record = json.loads(columns["record"][row])
        assert (
            record["image"] == batch["path"][row]
            and record["files"]["mask"] == f"{result_name(record['image'])}_mask.png"
        )
        assert record["confidence"] == pytest.approx(float(np.mean(expected.confidence[place])))
        assert columns["error"][row] == ""
    assert columns["mask"][1] == b"" and columns["record"][1] == ""
    assert "a/y.png" in columns["error"][1] and "BytesIO" not in columns["error"][1]


def test_a_saved_pipeline_and_short_names_of_columns(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "model")
    batch = {"image": [png(3)], "id": ["x"]}
    first = SegmentBatch(tmp_path / "model", outputs=("mask",))(batch)
    assert set(first) == {"id", "mask", "record", "error"}
    assert first["mask"][0] == SegmentBatch(pipeline)(batch)["mask"][0]


def test_results_do_not_depend_on_the_batch(pipeline):
    images = [png(seed, 24 + 8 * (seed % 2)) for seed in range(5)]
    segmenter = SegmentBatch(pipeline, batch_size=4)
    together = segmenter({"image": images, "id": list("abcde")})
    alone = [segmenter({"image": [image], "id": [id]}) for image, id in zip(images, "abcde", strict=True)]
    for name in ("mask", "confidence"):
        assert together[name].tolist() == [part[name][0] for part in alone]


def test_mistakes(pipeline, tmp_path):
    with pytest.raises(InputError, match="columns data; it needs bytes or image"):
        SegmentBatch(pipeline)({"data": [b""]})
    with pytest.raises(InputError, match="decode"):
        SegmentBatch(pipeline, decode="best")
    with pytest.raises(InputError, match="wrong"):
        SegmentBatch(pipeline, scores=["wrong"])
    with pytest.raises(InputError, match="unknown output"):
        SegmentBatch(pipeline, outputs=["maks"])
    with pytest.raises(InputError, match="no pipeline|not a"):
        SegmentBatch(tmp_path)


@pytest.mark.parametrize(
    ("id", "name"),
    [
        ("a/b.png", "a/b"),
        ("s3://bucket/a/b.png", "bucket/a/b"),
        ("tar://x/0001.jpg::s3://bucket/a.tar", "x/0001"),
        ("/data/../../etc/x.png", "data/etc/x"),
        ("..", "image"),
    ],
)
def test_names_of_results_stay_below_the_output(id, name):
    assert result_name(id) == name
