"""Both stages end to end on generated scenes: they learn, resume bit-exactly, and leave the posterior alone."""

import json
import shutil

import pytest
import torch
from PIL import Image
from processes import launch
from safetensors.torch import load_file
from tiny_runs import POSTERIOR, PRIOR, losses

from gss.cli import main
from gss.config.io import load_config
from gss.config.posterior import PosteriorConfig
from gss.config.prior import PriorConfig
from gss.core.errors import InputError
from gss.data.open import build_dataset
from gss.models.parts import part_of
from gss.pipeline.pipeline import GSSPipeline
from gss.posterior.bundle import Posterior
from gss.training.losses.prior import aux_loss
from gss.training.prior.task import PriorTask
from gss.training.run import train

SPEC = """
name: tiny
generator: scenes
domain: clear
length: {train: 12, val: 4, test: 2}
image_size: [48, 64]
"""


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tiny.yaml"
    path.write_text(SPEC)
    return path


def posterior_config(spec, *more: str) -> PosteriorConfig:
    return load_config(PosteriorConfig, [], [f"data.spec={spec}", *POSTERIOR, *more])


def prior_config(spec, posterior, *more: str) -> PriorConfig:
    return load_config(PriorConfig, [], [f"data.spec={spec}", f"posterior='{posterior}'", *PRIOR, *more])


@pytest.fixture(scope="module")
def local(spec, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "local"
    metrics = train("posterior", posterior_config(spec, "train.steps=60"), out)
    return out, metrics


@pytest.fixture(scope="module")
def contextual(spec, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "contextual"
    train("posterior", posterior_config(spec, "train.steps=8", "vq.decoder_type=contextual"), out)
    return out


def test_posterior_learns_and_refinement_lifts_the_ceiling(local):
    out, metrics = local
    pixel = losses(out, "pixel")
    assert pixel[-1] < 0.6 * pixel[0]
    assert metrics["exact_miou"] > 0.35
    assert metrics["exact_miou"] > metrics["miou"]  # before the refinement, through the encoder
    posterior = Posterior.from_pretrained(out)
    assert posterior.likelihood is not None
    assert posterior.codec.temperature != 900.0  # calibrated on what the codes paint
    painted = posterior.codec.decode(posterior.vqvae.code_cells())
    assert (painted == posterior.likelihood.table.argmax(1)).float().mean() > 0.75


def test_prior_learns_and_leaves_the_posterior_alone(spec, local, tmp_path):
    before = {path: load_file(path) for path in (local[0] / "posterior").rglob("*.safetensors")}
    metrics = train("prior", prior_config(spec, local[0], "train.steps=60"), tmp_path)
    for term in ("token", "pixel", "aux"):
        values = losses(tmp_path, term)
        assert values[-1] < 0.8 * values[0], term
    assert metrics["marginal_miou"] > 0.2 and metrics["hard_miou"] > 0.2
    pipeline = GSSPipeline.from_pretrained(tmp_path / "pipeline")
    for path, tensors in before.items():
        part = getattr(pipeline, path.parent.name).state_dict()
        assert all(torch.equal(tensors[name], part[name]) for name in tensors)
    space = Posterior.from_pretrained(local[0]).label_space
    assert list(pipeline.id2label.values()) == list(space.names)
    assert pipeline.colors.tolist() == [list(color) for color in space.colors]  # pictures show those of the data
    card = (tmp_path / "pipeline" / "README.md").read_text()
    assert "tiny, split train (12 images, 60 steps of" in card and str(spec.parent) not in card
    assert "### tiny val (4 images)" in card and "Not recorded; `gss evaluate`" not in card
    for mode in ("marginal", "hard"):
        assert f"{metrics[f'{mode}_miou']:.1%}" in card  # what the validation at the end has measured


def test_posterior_stays_in_eval_and_out_of_the_checkpoint(spec, local):
    cfg = prior_config(spec, local[0])
    data = build_dataset(cfg.data, "train", train=False)
    task = PriorTask(cfg, Posterior.from_pretrained(local[0]), data, data).train()
    codes = task.posterior.vqvae.code_embeddings().clone()
    batch = {name: torch.stack([data[i][name] for i in range(2)]) for name in ("image", "labels", "filled")}
    task(batch, 0)["loss"].backward()
    assert not task.posterior.vqvae.training
    assert torch.equal(codes, task.posterior.vqvae.code_embeddings())
    assert not any("vqvae" in name or "codec" in name for name in task.state_dict())


@pytest.mark.parametrize("decoder", ["local", "contextual"])
def test_isolated_tokens_leave_the_gradient_of_the_twin(spec, local, contextual, decoder):
    folder = local[0] if decoder == "local" else contextual
    classifier = "evidence" if decoder == "local" else "low_rank"
    gradients, losses = {}, {}
    for isolate in (True, False):
        cfg = prior_config(spec, folder, f"loss.isolate={isolate}", f"model.classifier={classifier}")
        data = build_dataset(cfg.data, "train", train=False)
        torch.manual_seed(0)
        task = PriorTask(cfg, Posterior.from_pretrained(folder), data, data).eval()
        batch = {name: torch.stack([data[i][name] for i in range(2)]) for name in ("image", "labels", "filled")}
        terms = task(batch, 0)
        terms["loss"].backward()
        losses[isolate] = {name: value.item() for name, value in terms.items()}
        gradients[isolate] = {name: p.grad for name, p in task.prior.named_parameters() if p.grad is not None}
        if isolate:  # what the auxiliary loss alone asks for
            task.zero_grad()
            output = task.prior(batch["image"], return_tokens=False, return_hidden=False)
            aux_loss(output, batch["labels"]).backward()
            twin = {name: p.grad for name, p in task.prior.named_parameters() if p.grad is not None}
    assert losses[True] == losses[False]
    tokens = {name for name in gradients[True] if part_of(name) == "token"}
    assert tokens and all(torch.equal(gradients[True][name], gradients[False][name]) for name in tokens)
    assert set(gradients[True]) - tokens == set(twin)
    for name, value in twin.items():
        assert torch.equal(gradients[True][name], value), name
    assert not torch.equal(gradients[False]["norm.weight"], twin["norm.weight"])


def test_isolated_tokens_need_the_auxiliary_loss(spec, local, tmp_path):
    with pytest.raises(InputError, match=r"loss\.aux"):
        train("prior", prior_config(spec, local[0], "loss.isolate=true", "loss.aux=0"), tmp_path)


def test_twin_has_no_tokens(spec, local, tmp_path):
    metrics = train("twin", prior_config(spec, local[0], "train.steps=30"), tmp_path)
    assert set(metrics) == {"aux_miou", "aux_boundary_f"}
    pipeline = GSSPipeline.from_pretrained(tmp_path / "pipeline")
    assert pipeline.vqvae is None and pipeline.decode_modes == ("aux",)
    assert pipeline.prior.config.codebook_size == 0


def test_twin_needs_no_posterior(spec, tmp_path):
    assert "aux_miou" in train("twin", prior_config(spec, "", "train.steps=2"), tmp_path)


@pytest.mark.parametrize(
    "more",
    [
        ("loss.token_soften=1.0", "loss.rarity=0.5"),
        ("loss.void_fill=aux", "loss.void_fill_warmup=1"),
        ("loss.pixel=0", "loss.token_chunk=64"),
        ("loss.token=0",),
        ("loss.aux=0",),
        ("loss.isolate=true",),
        ("model.classifier=low_rank",),
        ("model.classifier=tied",),
        ("model.classifier=full",),
        ("train.gradient_checkpointing=true", "train.ema_decay=0.9"),
    ],
)
def test_every_option_trains(spec, local, tmp_path, more):
    train("prior", prior_config(spec, local[0], "train.steps=3", *more), tmp_path)
    assert all(torch.isfinite(torch.tensor(losses(tmp_path))))


@pytest.mark.parametrize("more", [(), ("loss.token=0",), ("loss.pixel=0",)])
def test_contextual_decoder(spec, contextual, tmp_path, more):
    more = ("model.classifier=low_rank", "train.steps=3", *more)
    metrics = train("prior", prior_config(spec, contextual, *more), tmp_path)
    assert "expected_miou" in metrics and "marginal_miou" not in metrics


def test_resume_is_bit_exact(spec, local, tmp_path):
    more = ("train.steps=7", "train.checkpoint_every=3", "train.keep_checkpoints=3", "train.ema_decay=0.9")
    cfg = prior_config(spec, local[0], *more)
    train("prior", cfg, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for step in (6, 7):
        shutil.rmtree(tmp_path / "cut" / "checkpoints" / f"step_{step:06d}")
    train("prior", cfg, tmp_path / "cut", resume=True)
    a, b = (load_file(tmp_path / name / "pipeline" / "prior" / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert losses(tmp_path / "whole") == losses(tmp_path / "cut")


def test_missing_posterior(spec, tmp_path):
    with pytest.raises(ValueError, match="posterior="):
        train("prior", prior_config(spec, tmp_path / "nowhere"), tmp_path / "run")
    with pytest.raises(ValueError, match="is empty"):
        train("prior", prior_config(spec, ""), tmp_path / "run")


def test_some_options_need_a_local_decoder(spec, contextual, tmp_path):
    with pytest.raises(ValueError, match="token_soften"):
        train("prior", prior_config(spec, contextual, "loss.token_soften=1.0"), tmp_path)
    with pytest.raises(ValueError, match="classifier=evidence"):
        train("prior", prior_config(spec, contextual), tmp_path)


def test_wrong_backbone_config_is_one_line(spec, local, tmp_path):
    bad = prior_config(spec, local[0], "model.backbone_config={model_type: swin, embed_dim: wide}")
    with pytest.raises(ValueError, match="embed_dim"):
        train("prior", bad, tmp_path)


def test_recon_command_reports_every_posterior(spec, local, contextual, tmp_path, capsys):
    target = tmp_path / "recon.json"
    assert main(["recon", str(local[0]), str(contextual), "--data", str(spec), "--json", str(target)]) == 0
    rows = json.loads(target.read_text())["results"]
    assert set(rows[0]) >= {"encoder", "exact"} and "exact" not in rows[1]
    assert rows[0]["exact"]["miou"] == pytest.approx(local[1]["exact_miou"], abs=1e-9)
    assert "IoU per class" in capsys.readouterr().out


def test_recon_refuses_other_classes(spec, local, tmp_path, capsys):
    folder = tmp_path / "other"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(folder / "images" / "a.png")
    Image.new("L", (16, 16)).save(folder / "masks" / "a.png")
    (folder / "classes.json").write_text('{"classes": {"0": "thing"}, "ignore_index": 255}')
    (folder / "val.txt").write_text("a\n")
    assert main(["recon", str(local[0]), "--data", str(folder)]) == 2
    assert "classes" in capsys.readouterr().err


def test_damaged_posterior_is_one_line(spec, local, tmp_path, capsys):
    shutil.copytree(local[0] / "posterior", tmp_path / "posterior")
    weights = tmp_path / "posterior" / "vqvae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert main(["recon", str(tmp_path), "--data", str(spec)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_posterior_of_another_architecture_is_refused(spec, local, tmp_path):
    shutil.copytree(local[0] / "posterior", tmp_path / "posterior")
    config = tmp_path / "posterior" / "vqvae" / "config.json"
    config.write_text(config.read_text().replace('"hidden_dim": 32', '"hidden_dim": 48'))
    with pytest.raises(ValueError, match="cannot load the posterior"):
        Posterior.from_pretrained(tmp_path)


def test_two_processes_share_codebook_and_evaluation(spec, tmp_path):
    short = [f"data.spec={spec}", *POSTERIOR, "train.steps=4", "loss.repaint_steps=2"]
    script = "import sys; from gss.cli import main; sys.exit(main(sys.argv[1:]))"
    launch(2, ["-c", script, "train", "posterior", *short, "--out", str(tmp_path / "two")])
    two = json.loads((tmp_path / "two" / "recon.json").read_text())
    assert main(["recon", str(tmp_path / "two"), "--data", str(spec), "--json", str(tmp_path / "one.json")]) == 0
    one = json.loads((tmp_path / "one.json").read_text())["results"][0]
    for way in ("encoder", "exact"):
        assert two[way]["miou"] == one[way]["miou"] and two[way]["pixels"] == one[way]["pixels"]
    # k-means has seen the cells of both: were each process on its own, the codebook would count half of them.
    state = load_file(sorted((tmp_path / "two" / "checkpoints").iterdir())[-1] / "model.safetensors")
    sizes = next(value for name, value in state.items() if name.endswith("cluster_size"))
    whole = tmp_path / "whole"
    train("posterior", load_config(PosteriorConfig, [], short), whole)
    state = load_file(sorted((whole / "checkpoints").iterdir())[-1] / "model.safetensors")
    alone = next(value for name, value in state.items() if name.endswith("cluster_size"))
    assert sizes.sum() > 1.5 * alone.sum()  # a local codec draws `loss.cells` cells per process


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["prior", "twin"])
def test_two_processes_train_as_one(spec, local, tmp_path, stage):
    """Up to the share of void per process, which weighs a mean over valid pixels: these scenes have little."""
    short = [f"data.spec={spec}", f"posterior={local[0]}", *PRIOR, "train.steps=3"]
    script = "import sys; from gss.cli import main; sys.exit(main(sys.argv[1:]))"
    launch(2, ["-c", script, "train", stage, *short, "--out", str(tmp_path / "two")])
    train(stage, load_config(PriorConfig, [], short), tmp_path / "one")
    a, b = (load_file(tmp_path / name / "pipeline" / "prior" / "model.safetensors") for name in ("one", "two"))
    assert losses(tmp_path / "two")[0] == pytest.approx(losses(tmp_path / "one")[0], rel=0.02)
    difference = max((a[name] - b[name]).abs().max().item() for name in a)
    assert difference < 0.02


def test_export_repeats_bit_exactly(spec, tmp_path):
    cfg = posterior_config(spec, "train.steps=3", "loss.repaint_steps=5")
    train("posterior", cfg, tmp_path)
    before = {path: load_file(path) for path in (tmp_path / "posterior").rglob("*.safetensors")}
    train("posterior", cfg, tmp_path, resume=True)
    for path, tensors in before.items():
        again = load_file(path)
        assert all(torch.equal(tensors[name], again[name]) for name in tensors), path.parent.name


@pytest.mark.parametrize(
    "more, words",
    [
        (["loss.aux=0", "loss.token=0", "loss.pixel=0"], "nothing is left"),
        (["data.crop=[50,64]"], "data.crop"),
    ],
)
def test_mistakes_in_a_prior_config(spec, local, tmp_path, more, words):
    with pytest.raises(ValueError, match=words):
        train("prior", prior_config(spec, local[0], *more), tmp_path)


@pytest.mark.parametrize(
    "more, words",
    [
        (["vq.options={foo: 1}"], "foo"),
        (["data.crop=[50,64]"], "data.crop"),
        (["codec.palette=list", "codec.colors=[[0,0,0],[255,255,255]]"], "2 colours"),
    ],
)
def test_mistakes_in_a_posterior_config(spec, tmp_path, more, words):
    with pytest.raises(ValueError, match=words):
        train("posterior", posterior_config(spec, *more), tmp_path)
