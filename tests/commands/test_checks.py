"""Wrong names and paths are refused before torch is imported."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gss import cli
from gss.core.errors import InputError
from gss.ood import SCORES
from gss.ood.names import NEEDS
from gss.pipeline.index import PipelineIndex
from gss.pipeline.pipeline import GSSPipeline

SAVED = Path(__file__).parents[1] / "data" / "pipeline_v0.1"
PIPELINE, IMAGE = str(SAVED / "pipeline"), str(SAVED / "image.png")
PREDICT = ["predict", PIPELINE, IMAGE, "--out", "out"]
EVALUATE = ["evaluate", PIPELINE, "--data", "scenes"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([*PREDICT, "--scores", "gmmax"], "--scores: unknown score 'gmmax', did you mean 'gmm_max'?"),
        ([*PREDICT, "--scores", "mine"], "one of your own is written module:Name (docs/extending/score.md)"),
        ([*PREDICT, "--scores", "nowhere_at_all:Mine"], "there is no module 'nowhere_at_all'"),
        ([*PREDICT, "--decode", "hrad"], "--decode: unknown decode mode 'hrad', did you mean 'hard'?"),
        ([*PREDICT, "--outputs", "masks"], "--outputs: unknown output 'masks', did you mean 'mask'?"),
        ([*PREDICT, "--samples", "2"], "needs a joint prior"),
        (["predict", PIPELINE, "nowhere.png", "--out", "out"], "nowhere.png: no such image or folder"),
        (["predict", PIPELINE, str(SAVED / "imgae.png"), "--out", "out"], f"did you mean {IMAGE}?"),
        (["predict", PIPELINE, "D:\\photos", "--out", "out"], "it looks like a path of Windows"),
        (["predict", "nowhere", IMAGE, "--out", "out"], "no pipeline at nowhere"),
        (["predict", PIPELINE, IMAGE, "--out", str(SAVED)], "already holds"),
        ([*EVALUATE, "--metrics", "boundary"], "there is no metric 'boundary'"),
        ([*EVALUATE, "--modes", "fusd"], "--modes: unknown decode mode 'fusd', did you mean 'fused'?"),
        ([*EVALUATE, "--split", "vall"], "no split 'vall', did you mean 'val'?"),
        (["evaluate-ood", PIPELINE, "--data", "scenes_unknown", "--scores", "energi"], "did you mean 'energy'?"),
        (["evaluate-ood", PIPELINE, "--data", "scenes_unknwn"], "did you mean 'scenes_unknown'?"),
        (["evaluate-shifts", "--pipelines", PIPELINE, "--data", "scenes", "--shifts", "fgo"], "did you mean 'fog'?"),
        (
            ["cross-domain", "--pipelines", f"a={PIPELINE}", "--data", "scenes", "--scores", "mps"],
            "unknown score 'mps'",
        ),
        (["evaluate-samples", PIPELINE, "--data", "scenes", "--parts", "bit"], "did you mean 'bits'?"),
        (["generate", PIPELINE, "--out", "out"], "gss generate needs a joint prior"),
        (["sample", PIPELINE, IMAGE, "--out", "out"], "gss sample needs a joint prior"),
        (["export", PIPELINE, "--size", "64x64", "--score", "foo"], "--score: unknown score 'foo'"),
        (["quickstart", "--stages", "posterior,prier"], "--stages: unknown stage 'prier', did you mean 'prior'?"),
        (["quickstart", "--data", "scens"], "unknown data spec 'scens', did you mean 'scenes'?"),
        (["train", "prior", "data.spec=scens", "--out", "out"], "did you mean 'scenes'?"),
        (["train", "prior", "data.train_split=trian", "--out", "out"], "has no split 'trian', did you mean 'train'?"),
        (["train", "prior", "posterior=nowhere", "--out", "out"], "posterior='nowhere': there is no such folder in"),
        (
            ["train", "prior", "model.init_from=nowhere", "--out", "out"],
            "model.init_from=nowhere: there is no such fol",
        ),
        (["train", "density", "pipeline=nowhere", "--out", "out"], "no pipeline at nowhere"),
        (["demo", PIPELINE, "--out", "out"], "--size HxW is missing"),
    ],
)
def test_a_mistake_in_the_arguments_is_refused_without_torch(argv, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "announce", lambda text: pytest.fail(f"torch is loaded after {text!r}"))
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert words in err and err.count("\n") == 1 and not out
    assert not list(tmp_path.iterdir())


def test_the_checks_import_nothing_heavy(tmp_path):
    code = (
        "import sys, gss.cli\n"
        "assert gss.cli.main(sys.argv[1:]) == 2\n"
        "heavy = {'torch', 'transformers', 'diffusers', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    argv = [*EVALUATE, "--split", "vall"]
    subprocess.run([sys.executable, "-c", code, *argv], check=True, cwd=tmp_path, capture_output=True)


def test_needs_of_the_scores_are_listed_as_their_classes_state_them():
    assert {name: SCORES[name].needs for name in NEEDS} == dict(NEEDS)
    assert [*SCORES][: len(NEEDS)] == [*NEEDS]


def test_the_index_of_a_pipeline_names_its_modes_and_scores():
    pipeline = GSSPipeline.from_pretrained(PIPELINE)
    index = PipelineIndex.read(Path(PIPELINE))
    assert index is not None
    assert index.decode_modes == pipeline.decode_modes
    assert index.score_names == pipeline.score_names


def test_a_score_that_needs_more_than_the_pipeline_has_is_refused_with_the_remedy():
    index = PipelineIndex(frozenset({"prior", "vqvae", "likelihood"}))
    with pytest.raises(InputError, match=r"'gmm_max' needs a density head \('gss train density' adds one\)"):
        index.check_scores(["msp", "gmm_max"], "--scores")
    assert index.score_names == ("msp", "max_logit", "energy", "entropy", "token_entropy", "token_nll", "disagreement")


def test_scores_of_a_job_are_those_of_its_density(tmp_path, capsys):
    for stage in ("prior", "density"):
        shutil.copytree(PIPELINE, tmp_path / "job" / stage / "pipeline", ignore=shutil.ignore_patterns("*.safetensors"))
    index = tmp_path / "job" / "prior" / "pipeline" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "density": [None, None]}))
    ask = ["predict", str(tmp_path / "job"), "nowhere.png", "--out", str(tmp_path / "out")]
    assert cli.main([*ask, "--scores", "gmm_max"]) == 2  # for the image alone: the score is there
    assert "nowhere.png: no such image" in capsys.readouterr().err
    ask[1] = str(tmp_path / "job" / "prior")
    assert cli.main([*ask, "--scores", "gmm_max"]) == 2
    assert "'gmm_max' needs a density head" in capsys.readouterr().err


def test_a_damaged_index_is_left_to_loading(tmp_path):
    (tmp_path / "model_index.json").write_text("{")
    assert PipelineIndex.read(tmp_path) is None
