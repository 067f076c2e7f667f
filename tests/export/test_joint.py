"""The joint prior as `encode` and `step`: the draws of both are those of the pipeline."""

import json

import pytest
import torch
from joint_toys import joint_pipeline
from tiny_pipeline import NAMES, tiny_pipeline

from gss.cli import main
from gss.core.errors import InputError
from gss.export import OnnxJoint, OnnxModel
from gss.pipeline.loading import load_pipeline
from gss.pipeline.sampling.fill import fill
from gss.pipeline.sampling.scheduler import TokenScheduler

pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

SIZE = (64, 96)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A saved pipeline with a joint prior, and what `gss export --joint` made of it."""
    root = tmp_path_factory.mktemp("joint")
    joint_pipeline().save_pretrained(root / "pipeline")
    arguments = ["--onnx", str(root / "m.onnx"), "--joint", "--size", "64x96", "--limit", "2"]
    assert main(["export", str(root / "pipeline"), *arguments]) == 0
    return root


@pytest.fixture(scope="module")
def pair(exported):
    return OnnxJoint(exported / "m.encode.onnx", exported / "m.step.onnx", threads=1)


def test_the_report_has_the_pair(exported):
    report = json.loads((exported / "m.onnx.parity.json").read_text())["joint"]
    assert report["probability_difference"] < 1e-4 and report["tokens_equal"] > 0.999
    names = {path.name for path in exported.iterdir() if path.is_file() and not path.name.startswith(".")}
    assert names == {"m.onnx", "m.encode.onnx", "m.step.onnx", "m.onnx.parity.json"}


@torch.no_grad()
def test_with_nothing_known_the_steps_begin_with_the_prior(exported, pair):
    pipeline = load_pipeline(exported / "pipeline", device="cpu")
    image = torch.rand(1, 3, *SIZE)
    context = pair.encode(image)
    expected = pipeline.predict_tokens(image).token_logits
    assert torch.allclose(context.base, expected, atol=1e-3)
    unknown = torch.full((1, 16, 24), pair.mask_token)
    assert torch.equal(pair(unknown, context).token_logits, context.base)


@torch.no_grad()
def test_the_branchless_step_is_the_forward_pass():
    joint, pipeline = joint_pipeline().joint, joint_pipeline()
    context = joint.encode(pipeline.predict_tokens(torch.rand(3, 3, *SIZE)))
    tokens = torch.randint(0, 65, (3, 16, 24))
    tokens[0] = joint.mask_token
    assert torch.equal(joint(tokens, context).token_logits, joint.step(tokens, context))


@torch.no_grad()
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("order", ["halton", "confidence"])
def test_the_loop_over_the_files_draws_what_the_pipeline_draws(exported, pair, temperature, order):
    pipeline = load_pipeline(exported / "pipeline", device="cpu")
    torch.manual_seed(1)
    image = torch.rand(1, 3, *SIZE)
    given = torch.full((2, 16, 24), pair.mask_token)
    given[:, 3:6, 2:9] = torch.randint(0, 64, (3, 7))
    results = []
    for joint, context in (
        (pipeline.joint, pipeline.joint.encode(pipeline.predict_tokens(image))),
        (pair, pair.encode(image)),
    ):
        scheduler = TokenScheduler(mask_token_id=64, temperature=temperature, order=order, order_noise=0.0)
        sources = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
        results.append(fill(joint, context, given, scheduler, steps=6, generators=sources).tokens)
    assert (results[0] < 64).all() and torch.equal(results[0][:, 3:6, 2:9], given[:, 3:6, 2:9])
    assert torch.equal(*results)


def test_files_by_onnxruntime_alone(exported, pair):
    """The loop as a program without gss writes it: temperature 0, one step."""
    encode, step = (onnxruntime.InferenceSession(exported / f"m.{kind}.onnx") for kind in ("encode", "step"))
    facts = json.loads(step.get_modelmeta().custom_metadata_map["gss"])
    assert facts["cells"] == [16, 24] and facts["mask_token"] == 64 and facts["labels"] == NAMES
    image = torch.rand(1, 3, *SIZE)
    features = dict(
        zip([out.name for out in encode.get_outputs()], encode.run(None, {"image": image.numpy()}), strict=True)
    )
    tokens = torch.full((1, 16, 24), facts["mask_token"])
    (logits,) = step.run(None, {"tokens": tokens.numpy(), **features})
    assert torch.equal(torch.from_numpy(logits), pair(tokens, pair.encode(image)).token_logits)


def test_mistakes(exported, tmp_path, capsys):
    tiny_pipeline().save_pretrained(tmp_path / "plain")
    onnx = ["--onnx", str(tmp_path / "m.onnx")]
    for arguments, words in (
        ([str(tmp_path / "plain"), "--joint", *onnx], "--joint needs a joint prior, which this pipeline lacks"),
        ([str(tmp_path / "plain"), "--joint", "--pt2", str(tmp_path / "m.pt2")], "--joint is about ONNX files"),
        ([str(exported / "pipeline"), "--joint", *onnx, "--size", "60x96"], "such as 64x96"),
    ):
        assert main(["export", *arguments, *(() if "--size" in arguments else ("--size", "64x96"))]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") <= 2, error
    assert not (tmp_path / "m.onnx").exists()
    with pytest.raises(InputError, match="holds the step of an export, not its pipeline"):
        OnnxModel(exported / "m.step.onnx")
    with pytest.raises(InputError, match="holds the pipeline of an export, not its encode"):
        OnnxJoint(exported / "m.onnx", exported / "m.step.onnx")
    with pytest.raises(InputError, match="--onnx m.onnx --joint"):
        OnnxJoint(tmp_path / "m.encode.onnx", exported / "m.step.onnx")
