"""`gss export` and its files in ONNX Runtime."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_pipeline import NAMES, tiny_pipeline

from gss.cli import main
from gss.core.errors import InputError
from gss.export import OnnxModel, OnnxPipeline
from gss.export.graph import check_graph_size
from gss.pipeline.loading import load_pipeline

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A saved pipeline, pictures, and what `gss export` made of them."""
    root = tmp_path_factory.mktemp("export")
    tiny_pipeline(train_scale={"short_side": 48, "low": 40, "high": 60}).save_pretrained(root / "pipeline")
    random = np.random.default_rng(0)
    (root / "photos").mkdir()
    for index, shape in enumerate([(48, 64), (60, 50), (96, 200)]):
        blocks = random.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize(shape[::-1], Image.Resampling.BICUBIC).save(root / "photos" / f"{index}.png")
    arguments = ["--size", "64x96", "--int8", "--images", str(root / "photos")]
    assert main(["export", str(root / "pipeline"), *arguments]) == 0
    return root


def test_the_report_says_that_both_agree(exported):
    folder = exported / "pipeline" / "onnx"
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "model.int8.onnx", "model.onnx.parity.json"}
    report = json.loads((folder / "model.onnx.parity.json").read_text())
    assert report["images"] == 3 and report["size"] == [64, 96] and report["decode"] == "marginal"
    exact, small = report["runs"]["model.onnx"], report["runs"]["model.int8.onnx"]
    assert exact["labels_equal"] >= 0.9999 and exact["probability_difference"] < 1e-4
    assert 0.5 < small["labels_equal"] <= 1
    assert (folder / "model.int8.onnx").stat().st_size < (folder / "model.onnx").stat().st_size
    load_pipeline(exported / "pipeline")  # the folder is still a pipeline's


def test_the_file_describes_itself(exported):
    model = OnnxModel(exported / "pipeline" / "onnx" / "model.onnx")
    assert model.size == (64, 96) and model.facts["labels"] == NAMES and model.facts["train_scale"]["short_side"] == 48
    out = model.run(torch.rand(1, 3, 64, 96))
    assert out["labels"].dtype == torch.uint8 and out["labels"].shape == (1, 64, 96)
    assert torch.equal(out["probabilities"].argmax(1), out["labels"].long())
    assert torch.allclose(out["probabilities"].amax(1), out["confidence"])
    assert out["maskige"].shape == (1, 3, 64, 96) and out["ood"].shape == (1, 64, 96)


@pytest.mark.parametrize("shape", [(48, 64), (50, 70), (48, 200), (300, 48), (17, 9)])
def test_as_the_network_of_a_pipeline(exported, shape):
    pipeline = load_pipeline(exported / "pipeline", exact=True)
    fast = OnnxPipeline.wrap(pipeline, OnnxModel(exported / "pipeline" / "onnx" / "model.onnx"))
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    out = fast(image, size="native", return_ood=True, return_probabilities=True)
    assert out.masks[0].shape == shape and out.ood_scores[0].shape == shape and out.tokens is None
    assert np.allclose(out.probabilities[0].sum(0), 1, atol=1e-5)
    same = pipeline(image, size="native", window="slide", window_size=(64, 96), return_probabilities=True)
    if shape == (64, 96):
        assert np.allclose(out.probabilities[0], same.probabilities[0], atol=1e-4)
    assert (out.masks[0] == same.masks[0]).mean() > 0.5


def test_predict_with_onnx(exported, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["predict", str(exported / "pipeline"), str(exported / "photos"), "--backend", "onnx"]
    assert main([*command, "--out", str(out), "--scores", "best"]) == 0
    report = json.loads((out / "predictions.json").read_text())
    assert len(report["images"]) == 3 and set(report["images"][0]["scores"]) == {"max_logit"}
    assert "maskige" not in capsys.readouterr().out
    for record in report["images"]:
        assert {"mask", "overlay", "confidence"} <= set(record["files"])
        assert all((out / file).is_file() for file in record["files"].values())
    assert main([*command, "--out", str(tmp_path / "no"), "--outputs", "mask,maskige"]) == 2
    error = capsys.readouterr().err
    assert "--outputs maskige is not there with --backend onnx" in error and error.count("\n") == 1
    assert main([*command, "--out", str(tmp_path / "no"), "--decode", "hard"]) == 2
    assert "Decode modes: marginal" in capsys.readouterr().err


def test_mistakes_end_with_one_line(exported, tmp_path, capsys):
    pipeline, photos = str(exported / "pipeline"), ["--images", str(exported / "photos")]
    model = exported / "pipeline" / "onnx" / "model.onnx"
    other = onnx.load(model)
    onnx.helper.set_model_props(other, {"gss": json.dumps({"format": 99})})
    onnx.save(other, tmp_path / "later.onnx")
    onnx.helper.set_model_props(other, {})
    del other.metadata_props[:]
    onnx.save(other, tmp_path / "foreign.onnx")
    (tmp_path / "damaged.onnx").write_bytes(model.read_bytes()[:1000])
    predict = ["predict", pipeline, str(exported / "photos"), "--out", str(tmp_path / "out"), "--backend", "onnx"]
    for arguments, words in (
        (["export", pipeline, "--size", "60x96", "--onnx", str(tmp_path / "a.onnx"), *photos], "such as 64x96"),
        (["export", pipeline, "--size", "64x96", *photos], "exists: pass --overwrite"),
        (["export", pipeline, "--size", "64x96", "--onnx", str(tmp_path / "a.txt"), *photos], "must end in .onnx"),
        ([*predict, "--onnx", str(tmp_path / "none.onnx")], "no file"),
        ([*predict, "--onnx", str(tmp_path / "later.onnx")], "has format 99, this version of gss reads 1"),
        ([*predict, "--onnx", str(tmp_path / "foreign.onnx")], "is not a file of 'gss export'"),
        (
            [*predict, "--onnx", str(tmp_path / "damaged.onnx")],
            "damaged, or of another version; export the pipeline anew",
        ),
    ):
        assert main(arguments) == 2
        said = capsys.readouterr()
        assert words in said.err and said.err.count("\n") == 1, said.err
        assert "exporting" not in said.out
    assert not (tmp_path / "out").exists() and not (tmp_path / "a.onnx").exists()


def test_a_file_of_another_pipeline_is_refused(exported):
    model = OnnxModel(exported / "pipeline" / "onnx" / "model.onnx")
    with pytest.raises(InputError, match="exported from another pipeline"):
        OnnxPipeline.wrap(tiny_pipeline(classes=4), model)
    with pytest.raises(InputError, match="exported from another pipeline"):
        OnnxPipeline.wrap(tiny_pipeline(), model, weights="0123")


def test_sizes():
    assert check_graph_size(tiny_pipeline(), (64, 96)) == (64, 96)
    with pytest.raises(InputError, match="multiples of 32, such as 32x96"):
        check_graph_size(tiny_pipeline(), (10, 100))
