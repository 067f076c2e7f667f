"""Both stages on two domains of different sizes: figures of each, exact resume; a posterior reused on the second."""

import json

import numpy as np
import pytest
import torch
from mixture_runs import PRIOR, mixture_run_folder, prior_config, weights  # noqa: F401 - a fixture
from mixture_toys import put
from processes import launch

from gss.cli import main
from gss.config.io import load_config
from gss.config.posterior import PosteriorConfig
from gss.training.run import train


def test_posterior_on_two_domains(folder, tmp_path):
    options = ["vq.hidden_dim=16", "vq.depth=1", "vq.codebook_size=16", "loss.cells=64", "loss.repaint_steps=3"]
    options += ["data.crop=[16,16]", "train.steps=3", "train.batch_size=4", "data.sampling=1,3"]
    cfg, said = load_config(PosteriorConfig, [], [f"data.spec={folder / 'street.yaml'}", *options]), []
    metrics = train("posterior", cfg, tmp_path, say=said.append)
    assert said[0].endswith("town 7 images, 30.0 % (x 0.43); coast 3 images, 70.0 % (x 2.33)")
    for name in ("miou", "encoder_miou", "exact_miou"):
        town, coast = metrics[f"{name}/town"], metrics[f"{name}/coast"]
        assert metrics[f"{name}/mean"] == pytest.approx((town + coast) / 2)
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert "val_miou/harmonic_mean" in logged[-1]
    assert set(json.loads((tmp_path / "recon.json").read_text())["exact"]["domains"]) == {"town", "coast"}


def test_prior_on_two_domains_resumes_bit_exactly(folder, tmp_path, capsys):
    cfg = prior_config(folder, "train.steps=6", "train.checkpoint_every=2")
    metrics = train("prior", cfg, tmp_path / "whole")
    town, coast = metrics["marginal_miou/town"], metrics["marginal_miou/coast"]
    assert metrics["marginal_miou/harmonic_mean"] == pytest.approx(2 / (1 / town + 1 / coast) if town * coast else 0.0)
    assert {"hard_boundary_f/mean", "aux_miou/coast", "marginal_miou"} <= set(metrics)
    (tmp_path / "cut" / "checkpoints").mkdir(parents=True)
    # The checkpoint in mid-epoch, as a kill would have left it.
    (tmp_path / "whole" / "checkpoints" / "step_000004").rename(tmp_path / "cut" / "checkpoints" / "step_000004")
    assert train("prior", cfg, tmp_path / "cut", resume=True) == metrics
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())
    with pytest.raises(ValueError, match="data.sampling"):
        train(
            "prior", prior_config(folder, "train.steps=6", "data.sampling=proportional"), tmp_path / "cut", resume=True
        )
    target = tmp_path / "result.json"
    page = tmp_path / "result.html"
    arguments = ["--data", str(folder / "street.yaml"), "--modes", "aux,hard", "--json", str(target)]
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "whole" / "pipeline"), *arguments, "--html", str(page)]) == 0
    assert "mIoU of domain" in capsys.readouterr().out
    assert "Domains, aux decode" in page.read_text()
    found = json.loads(target.read_text())
    assert found["images"] == 3
    assert found["domains"]["aux"]["coast"]["miou"] == pytest.approx(metrics["aux_miou/coast"])


def test_posterior_of_one_domain_serves_another_with_the_same_classes(folder, tmp_path, capsys):
    other = folder / "other"
    put(other, {0: "sky", 1: "road", 2: "car"}, size=(17, 23), counts={"train": 2, "val": 1})
    metrics = train("prior", prior_config(folder, "train.steps=2", spec="other"), tmp_path)
    assert "marginal_miou" in metrics and not any("/" in name for name in metrics)
    assert main(["recon", str(folder / "posterior"), "--data", str(other)]) == 0
    assert "IoU per class" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["data.sampling=1,2,3"], "3 numbers for 2 domains"),
        (["data.val_split=test"], "domain 'town': .* no split 'test'"),
    ],
)
def test_mistakes_show_before_training(folder, tmp_path, more, message):
    with pytest.raises(ValueError, match=message):
        train("prior", prior_config(folder, *more), tmp_path)


@pytest.mark.slow
def test_two_processes_measure_domains_as_one(folder, tmp_path):
    short = [f"data.spec={folder / 'street.yaml'}", f"posterior={folder / 'posterior'}", *PRIOR, "train.steps=2"]
    script = "import sys; from gss.cli import main; sys.exit(main(sys.argv[1:]))"
    launch(2, ["-c", script, "train", "prior", *short, "--out", str(tmp_path / "two")])
    last = json.loads((tmp_path / "two" / "metrics.jsonl").read_text().splitlines()[-1])
    target = tmp_path / "result.json"
    arguments = ["--data", str(folder / "street.yaml"), "--json", str(target)]
    assert main(["evaluate", str(tmp_path / "two" / "pipeline"), *arguments]) == 0
    for mode, domains in json.loads(target.read_text())["domains"].items():
        for name, metrics in domains.items():
            assert np.isclose(last[f"val_{mode}_miou/{name}"], metrics["miou"])
