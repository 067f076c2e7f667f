"""`gss train joint` on a tiny pipeline."""

import json

import pytest
import torch
from stage_toys import config, settings, write
from tiny_pipeline import tiny_pipeline

from gss.cli import main
from gss.core.errors import InputError
from gss.pipeline.loading import load_pipeline
from gss.training.joint import JointTask, train_joint
from gss.training.splits import open_splits


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("joint"))
    # Codes that show one class each: the toy's blocks of two by two cells are then easy to tell.
    pipeline = tiny_pipeline()
    shares = torch.full((64, 5), 0.01).scatter_(1, (torch.arange(64) % 5)[:, None], 0.96)
    pipeline.likelihood.set_table(shares[:, :, None, None].expand(-1, -1, 4, 4) / shares.sum(1)[:, None, None, None])
    pipeline.save_pretrained(folder / "plain")
    return folder


@pytest.mark.slow
def test_training_learns_and_extends_the_pipeline(root, tmp_path):
    more = [f"pipeline={root / 'plain'}", "train.steps=50", "optim.lr=4e-3", "loss.structured=0", "loss.repeats=4"]
    cfg = config(root, "joint", *more, "loss.masks_only=0.8", "validation.orders=6", "data.flip=0")
    figures = train_joint(cfg, tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "joint.json").read_text())
    assert saved == {"schema_version": 1, **figures}
    # The blocks of the toy are two by two cells: known cells tell their neighbours.
    pipeline, splits = load_pipeline(cfg.pipeline), open_splits(cfg.data, seed=0)
    untrained = JointTask(cfg, pipeline, splits.plain, splits.val).eval().validate()
    assert figures["mask_bits"] < untrained["mask_bits"] < untrained["unigram"]
    assert figures["given_miou"] > figures["plain_miou"] + 0.03 and figures["mask_miou"] > 0.2
    for name in ("cells", "pixels", "unigram", "train_cells", "plain_miou"):
        assert figures[name] == untrained[name]
    before, after = load_pipeline(root / "plain"), load_pipeline(tmp_path / "run" / "pipeline")
    assert before.joint is None and after.joint.mask_token == 64
    image = torch.rand(1, 3, 32, 48)
    assert torch.equal(before.predict_tokens(image).token_logits, after.predict_tokens(image).token_logits)


def test_command_and_resume(root, tmp_path, capsys):
    overrides = settings(root, "joint")
    assert main(["train", "joint", *overrides, "--out", str(tmp_path / "run")]) == 0
    assert "mask_bits" in capsys.readouterr().out
    assert (tmp_path / "run" / "pipeline" / "joint" / "config.json").is_file()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["pipeline=''"], "set pipeline=FOLDER"),
        (["data.crop=[30,48]"], "multiples of 4"),
        (["loss.token=0", "loss.pixel=0"], "nothing is learnt"),
    ],
)
def test_bad_settings(root, tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        train_joint(config(root, "joint", *change), tmp_path / "run")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"decoder_type": "contextual", "likelihood": False}, "vq.decoder_type=local"),
        ({"vqvae": False}, "predicts no tokens"),
    ],
)
def test_pipelines_without_a_local_decoder(root, tmp_path, parts, words):
    tiny_pipeline(**parts).save_pretrained(tmp_path / "pipeline")
    with pytest.raises(InputError, match=words):
        train_joint(config(root, "joint", f"pipeline={tmp_path / 'pipeline'}"), tmp_path / "run")
