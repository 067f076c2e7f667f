"""`gss train residual` on a tiny pipeline and folders of pictures."""

import json
import shutil

import numpy as np
import pytest
import torch
from object_toys import GREEN, RED
from object_toys import folder as object_folder
from ood_toys import Images, density_head, filled_survey, pipeline_and_data
from safetensors.torch import load_file
from tiny_pipeline import tiny_pipeline

from gss.cli import main
from gss.config.io import load_config
from gss.config.residual import ResidualConfig
from gss.data.open import build_dataset
from gss.data.outliers.mixing import MixedTruth
from gss.data.outliers.sources import build_mixed, build_mixer, open_sources
from gss.pipeline.loading import load_pipeline
from gss.training.density.fit_scores import fit_scores
from gss.training.engine.log import read_metrics
from gss.training.residual import ResidualTask, train_residual

VIOLET, PINK = (160, 0, 160), (255, 120, 200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved pipeline in `pipeline`, a data set in `data`, objects in `objects`, foreign scenes in `scenes`."""
    pipeline = tiny_pipeline()
    pipeline.prior.aux_head.bias.data.normal_(std=0.1)
    pipeline.register_modules(density=density_head())
    root = pipeline_and_data(tmp_path_factory.mktemp("residual"), pipeline)
    object_folder(root / "objects", {"a": VIOLET, "b": PINK, "c": VIOLET, "d": PINK, "e": VIOLET})
    object_folder(root / "scenes", {"x": VIOLET, "y": RED, "z": GREEN})
    return root


@pytest.fixture
def settings(folder):
    return [
        f"data.spec={folder / 'data'}",
        f"pipeline={folder / 'pipeline'}",
        f"outliers.objects={folder / 'objects'}",
        "outliers.size=[0.3,0.6]",
        f"context.source={folder / 'scenes'}",
        "context.split=all",
        "context.objects=object",
        "data.crop=[32,48]",
        "data.scale=[1.0,1.0]",
        "data.max_class_ratio=1",
        "model.width=32",
        "model.embed_dim=8",
        "loss.samples=32",
        "optim.lr=3e-3",
        "optim.warmup_steps=1",
        "train.batch_size=2",
        "train.picture_every=0",
    ]


def config(settings, *overrides):
    return load_config(ResidualConfig, [], [*settings, *overrides])


def make_task(folder, settings, *overrides):
    cfg = config(settings, *overrides)
    sources = open_sources(cfg)
    val = build_dataset(cfg.data, "val", train=False)
    truth = MixedTruth(val, build_mixer(cfg, sources.val, train=False))
    return ResidualTask(cfg, load_pipeline(folder / "pipeline"), truth), build_mixed(cfg, sources)


def collate(samples):
    keys = [key for key, value in samples[0].items() if isinstance(value, torch.Tensor)]
    return {key: torch.stack([sample[key] for sample in samples]) for key in keys}


def weights(run, component="residual"):
    return load_file(run / "pipeline" / component / "diffusion_pytorch_model.safetensors")


def test_from_the_command_line(folder, settings, tmp_path, capsys):
    out = tmp_path / "run"
    options = ["train.steps=12", "train.eval_every=4", "train.picture_every=12", "loss.energy=1", "optim.lr=0.01"]
    assert main(["train", "residual", *settings, *options, "--out", str(out)]) == 0
    assert "masks are what they were, bit for bit" in capsys.readouterr().out
    figures = json.loads((out / "residual.json").read_text())
    assert figures["masks_unchanged"] is True
    names = load_pipeline(out / "pipeline").score_names
    assert set(figures["scores"]) == set(names) >= {"energy", "gmm_max", "residual_smooth", "residual_ratio"}
    assert figures["scores"]["residual_energy"]["auroc"] > figures["scores"]["energy"]["auroc"] + 0.02
    validations = [line for line in read_metrics(out) if "val_ap" in line]
    assert [line["step"] for line in validations] == [4, 8, 12]
    best = max(line["val_ap"] for line in validations)
    assert figures["scores"]["residual_energy"]["ap"] == pytest.approx(best, abs=1e-6)
    before, after = load_pipeline(folder / "pipeline"), load_pipeline(out / "pipeline")
    image, labels = Images(1).read(0)
    for mode in before.decode_modes:
        first, second = (pipe(image, decode=mode, return_probabilities=True) for pipe in (before, after))
        assert np.array_equal(first.masks[0], second.masks[0])
        assert np.array_equal(first.probabilities[0], second.probabilities[0])
    assert after(image, score="residual_gmm").ood_scores[0].shape == labels.shape
    assert "blocks of colour" in (out / "pipeline" / "README.md").read_text()
    assert (out / "pictures" / "step_000012_residual.jpg").is_file()
    # Training a head on this pipeline again leaves out what was fitted to the first one.
    task, _ = make_task(out, settings)
    assert "residual_gmm" not in task.pipeline(task.head).score_names


def test_density_and_fitted_scores_stay(folder, settings, tmp_path):
    before, (survey, *_) = load_pipeline(folder / "pipeline"), filled_survey(600)
    fitted = fit_scores(before, survey, Images(4), names=["knn", "combined"], combine=["gmm_class", "knn"])
    before.register_modules(ood=fitted)
    before.save_pretrained(tmp_path / "before")
    options = [f"pipeline={tmp_path / 'before'}", "train.steps=2", "loss.contrast=0", "context.source=''"]
    train_residual(config(settings, *options), tmp_path / "run")
    for component in ("density", "ood"):
        name = f"{component}/diffusion_pytorch_model.safetensors"
        old, new = (load_file(run / name) for run in (tmp_path / "before", tmp_path / "run" / "pipeline"))
        assert old and all(torch.equal(value, new[key]) for key, value in old.items())
    after = load_pipeline(tmp_path / "run" / "pipeline")
    assert after.ood.parts == ("gmm_class", "knn")
    assert set(after.ood.names) == {"knn", "combined", "residual_gmm", "residual_ratio"}
    image, _ = Images(1).read(0)
    scores = ["gmm_max", "knn", "combined"]
    found = [pipe.predict_probabilities(image, modes=[], scores=scores) for pipe in (before, after)]
    assert all(torch.equal(found[0][name][0], found[1][name][0]) for name in scores)


@pytest.mark.parametrize("target", ["pixel", "token"])
@pytest.mark.parametrize("contrast", [0, 1])
def test_it_learns(folder, settings, target, contrast):
    options = [f"model.target={target}", f"loss.contrast={contrast}", "loss.energy=1"]
    task, data = make_task(folder, settings, *options, *(["context.source=''"] if not contrast else []))
    before = {name: value.clone() for name, value in task.prior.state_dict().items()}
    batch = collate([data[i] for i in range(4)])
    assert ("context_image" in batch) is bool(contrast)
    optimizer = torch.optim.Adam([p for p in task.parameters() if p.requires_grad], lr=0.01)
    lines = []
    for step in range(20):
        torch.manual_seed(0)
        terms = task(batch, step)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        lines.append({name: float(value.detach()) for name, value in terms.items()})
    assert set(lines[0]) == {"loss", "pseudo", "dissimilarity", "energy"} | ({"contrast"} if contrast else set())
    assert lines[0]["dissimilarity"] < 1e-9  # a new head changes nothing
    for name in ("loss", "energy", *(["contrast"] if contrast else [])):
        assert lines[-1][name] < 0.8 * lines[0][name], name
    after = task.prior.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("labels", [0, 254, 255])
def test_batches_that_lack_something(folder, settings, labels):
    """One image; nothing but inliers, outliers or void in it."""
    task, data = make_task(folder, settings)
    torch.nn.init.normal_(task.head.projection.weight)
    batch = collate([data[0]])
    batch["labels"] = torch.full_like(batch["labels"], labels)
    terms = task(batch, 0)
    terms["loss"].backward()
    assert terms["loss"].isfinite() and float(terms["contrast"]) == 0
    assert (float(terms["energy"]) > 0) is (labels == 254)
    assert (float(terms["pseudo"]) > 0) is (labels == 0)
    assert all(p.grad.isfinite().all() for p in task.parameters() if p.grad is not None)


def test_resume_is_bit_exact_and_keeps_the_best(folder, settings, tmp_path):
    options = [*settings, "train.steps=3", "train.eval_every=1", "train.checkpoint_every=1", "train.keep_checkpoints=9"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_residual(config(options), whole)
    shutil.copytree(whole, parts)
    shutil.rmtree(parts / "checkpoints" / "step_000003")
    shutil.rmtree(parts / "pipeline")
    # What the run was told to stop at had not been validated yet.
    lines = [line for line in read_metrics(parts) if line["step"] < 2 or "loss" in line]
    (parts / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    train_residual(config(options), parts, resume=True)
    for step in (2, 3):
        first, second = (
            load_file(run / "checkpoints" / f"step_{step:06d}" / "model.safetensors") for run in (whole, parts)
        )
        assert all(torch.equal(first[key], second[key]) for key in first), step
    assert all(torch.equal(value, weights(parts)[key]) for key, value in weights(whole).items())
    found = [[line["val_best_ap"] for line in read_metrics(run) if "val_best_ap" in line] for run in (whole, parts)]
    assert found[0] == found[1] == sorted(found[0]) and len(found[0]) == 3
    # A finished run is only exported again, with the same head.
    shutil.rmtree(parts / "pipeline")
    train_residual(config(options), parts, resume=True)
    assert all(torch.equal(value, weights(parts)[key]) for key, value in weights(whole).items())


def test_the_best_head_is_exported(folder, settings, tmp_path):
    """Training that ruins the head after its first step."""
    options = ["train.steps=4", "train.eval_every=1", "optim.lr=0.5", "optim.clip_norm=0", "loss.contrast=0"]
    train_residual(config(settings, *options, "context.source=''"), tmp_path)
    aps = [line["val_ap"] for line in read_metrics(tmp_path) if "val_ap" in line]
    assert aps[-1] < max(aps)
    figures = json.loads((tmp_path / "residual.json").read_text())
    assert figures["scores"]["residual_energy"]["ap"] == pytest.approx(max(aps), abs=1e-6)
    last = load_file(tmp_path / "checkpoints" / "step_000004" / "model.safetensors")
    exported = weights(tmp_path)
    assert all(torch.equal(value, last[f"best.{key}"]) for key, value in exported.items())
    assert not torch.equal(exported["projection.weight"], last["head.projection.weight"])


def test_another_outlier_set_is_refused(folder, settings, tmp_path):
    objects, out = tmp_path / "objects", tmp_path / "run"
    shutil.copytree(folder / "objects", objects)
    options = [*settings, "train.steps=2", "train.checkpoint_every=1"]
    train_residual(config(options), out)
    shutil.rmtree(out / "checkpoints" / "step_000002")
    # The same objects in another place are the same objects.
    train_residual(config(options, f"outliers.objects={objects}"), out, resume=True)
    for kind in ("images", "masks"):
        (objects / kind / "b.png").unlink()
    changed = config(options, f"outliers.objects={objects}")
    with pytest.raises(ValueError, match=r"the outlier set is another one: 3\+1\+3 ids, .* 4\+1\+3 ids"):
        train_residual(changed, out, resume=True)
    # Nor does a new run take another set than its configuration was saved with.
    saved = load_config(ResidualConfig, [str(out / "config.yaml")], [f"outliers.objects={objects}"])
    with pytest.raises(ValueError, match="outlier set is another one"):
        train_residual(saved, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("pipeline=''", "set pipeline=FOLDER"),
        ("outliers.objects=''", "outliers.objects='' is empty"),
        ("outliers.objects=nowhere", "unknown data spec 'nowhere'"),
        ("context.source=''", "loss.contrast needs foreign scenes"),
        ("loss.contrast=0", "context.source is of no use"),
        ("outliers.val_split=train", "are trained and validated on"),
        ("model.levels=9", "the backbone gives 4 maps"),
        ("outliers.count=[3,1]", "must be in ascending order"),
        ("model.rates=[]", "rates=[] must hold"),
        ("loss.temperature=0", "loss.temperature = 0.0 must be at least 0.001"),
    ],
)
def test_mistakes_end_in_one_line(settings, tmp_path, capsys, override, reason):
    assert main(["train", "residual", *settings, override, "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("gss: error: ") and reason in message


def test_pipelines_without_what_is_perturbed(folder, settings, tmp_path):
    untrained = load_pipeline(folder / "pipeline")
    untrained.prior.aux_head.bias.data.zero_()
    untrained.save_pretrained(tmp_path / "no_aux")
    with pytest.raises(ValueError, match=r"auxiliary pixel head of .*no_aux was never trained"):
        train_residual(config(settings, f"pipeline={tmp_path / 'no_aux'}"), tmp_path / "out")
    twin = load_pipeline(folder / "pipeline")
    twin.register_modules(vqvae=None, likelihood=None)
    twin.save_pretrained(tmp_path / "twin")
    with pytest.raises(ValueError, match="predicts no tokens"):
        train_residual(config(settings, f"pipeline={tmp_path / 'twin'}", "model.target=token"), tmp_path / "out")
    assert not (tmp_path / "out" / "pipeline").exists()


def test_objects_of_a_class_of_the_data_set_are_refused(folder, settings, tmp_path):
    objects = tmp_path / "objects"
    shutil.copytree(folder / "objects", objects)
    (objects / "objects.json").write_text(
        json.dumps([{"name": "c", "category": "Car"}, {"name": "e", "category": "Thing"}])
    )
    changed = [*settings, f"outliers.objects={objects}"]
    with pytest.raises(ValueError, match="add Car to outliers.exclude"):
        build_mixed(config(changed, "outliers.exclude=[]"), open_sources(config(changed, "outliers.exclude=[]")))
    assert "c" not in open_sources(config(changed)).train.ids
