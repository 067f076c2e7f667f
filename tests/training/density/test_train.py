"""`gss train density` on a tiny pipeline and a folder of pictures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ood_toys import Images, filled_survey, pipeline_and_data
from PIL import Image
from processes import launch
from safetensors.torch import load_file
from tiny_pipeline import NAMES, tiny_pipeline

from gss.cli import main
from gss.config.density import DensityConfig
from gss.config.io import load_config
from gss.config.shared import DataConfig
from gss.data.open import build_dataset
from gss.data.outliers.mixing import MixedTruth, Mixer
from gss.data.outliers.objects import open_objects
from gss.pipeline.loading import load_pipeline
from gss.training.density.hybrid import HybridTask, component_contrast
from gss.training.density.posthoc import fit_mixture
from gss.training.density.train import train_density


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved pipeline in `pipeline`, and a data set in `data`."""
    return pipeline_and_data(tmp_path_factory.mktemp("density"), tiny_pipeline())


@pytest.fixture
def settings(folder):
    return [
        f"data.spec={folder / 'data'}",
        f"pipeline={folder / 'pipeline'}",
        "data.crop=[32,48]",
        "data.photometric=0",
        "model.num_components=2",
        "posthoc.iterations=15",
        "posthoc.bank_size=100",
        "posthoc.correct_only=false",
    ]


def test_post_hoc_from_the_command_line(folder, settings, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "density", *settings, "--out", str(out)]) == 0
    figures = json.loads((out / "density.json").read_text())
    assert figures["density_miou"] > 0.15 and "marginal_miou" in figures
    before, after = load_pipeline(folder / "pipeline"), load_pipeline(out / "pipeline")
    image, labels = Images(1).read(0)
    assert np.array_equal(before(image).masks[0], after(image).masks[0])
    assert {"gmm_max", "knn", "combined", "token_entropy"} <= set(after.score_names)
    assert after(image, return_ood=True).ood_scores[0].shape == labels.shape
    assert "blocks of colour" in (out / "pipeline" / "README.md").read_text()
    assert load_config(DensityConfig, [str(out / "config.yaml")], []).model.num_components == 2
    # A second run gives the same mixture, bit by bit.
    cfg = load_config(DensityConfig, [], [*settings, "posthoc.scores=''"])
    train_density(cfg, tmp_path / "again")
    name = "density/diffusion_pytorch_model.safetensors"
    first, second = load_file(out / "pipeline" / name), load_file(tmp_path / "again" / "pipeline" / name)
    assert all(torch.equal(first[key], second[key]) for key in first)
    without = load_pipeline(tmp_path / "again" / "pipeline")
    assert without.ood.names == () and set(without.alarm_scores) == set(without.score_names)
    # Thresholds of alarms, learned from the training images.
    assert set(after.alarm_scores) == set(after.score_names)
    strict, lax = (after.alarm_threshold("gmm_max", rate) for rate in (0.001, 0.1))
    images = [Images(4).read(index) for index in range(4)]
    scores = np.concatenate([after(image, score="gmm_max").ood_scores[0][truth != 255] for image, truth in images])
    assert strict > lax and 0.03 < (scores >= lax).mean() < 0.2


def config(*overrides):
    return load_config(DensityConfig, [], ["posthoc.correct_only=false", *overrides])


def test_fit_says_which_classes_it_knows_nothing_of():
    survey, *_ = filled_survey(600)
    rows = survey.sample
    keep = rows["labels"] != 2
    keep &= (rows["labels"] != 4) | (torch.arange(len(keep)) == int((rows["labels"] == 4).nonzero()[0]))
    survey.sample = {name: values[keep] for name, values in rows.items()}
    with pytest.warns(UserWarning) as caught:
        head, history = fit_mixture(
            config("model.num_components=5"), survey, class_names=NAMES, device=torch.device("cpu")
        )
    text = " ".join(str(warning.message) for warning in caught)
    assert f"no training pixel shows {NAMES[2]}" in text and f"show {NAMES[4]}" in text
    assert head.active.sum(1).tolist() == [5, 5, 0, 5, 1]
    assert np.isfinite(history).all()


@pytest.mark.parametrize(
    "options", [[], ["model.covariance=low_rank"], ["model.embed_dim=8", "model.layer_norm=false"]]
)
def test_fit_separates_clusters(options):
    survey, rows, labels, _ = filled_survey()
    head, history = fit_mixture(config(*options), survey, class_names=NAMES, device=torch.device("cpu"))
    assert history[-1] > history[0]
    predicted = head(rows.float().t()[None, :, None])[0, :, 0].argmax(0)
    assert (predicted == labels).float().mean() > 0.95


@pytest.mark.parametrize("train_prior", [False, True])
def test_hybrid_training_resumes_exactly(folder, settings, tmp_path, train_prior):
    options = [
        *settings,
        "mode=hybrid",
        "model.embed_dim=8",
        f"hybrid.train_prior={str(train_prior).lower()}",
        "optim.lr=3e-3",
        "optim.warmup_steps=1",
        "train.batch_size=2",
        "train.checkpoint_every=2",
        "posthoc.scores=''",
    ]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_density(load_config(DensityConfig, [], [*options, "train.steps=4"]), whole)
    shutil.copytree(whole, parts)
    shutil.rmtree(parts / "checkpoints" / "step_000004")
    shutil.rmtree(parts / "pipeline")
    train_density(load_config(DensityConfig, [], [*options, "train.steps=4"]), parts, resume=True)
    for component in ("density", "prior"):
        files = [next((run / "pipeline" / component).glob("*.safetensors")) for run in (whole, parts)]
        first, second = (load_file(file) for file in files)
        assert all(torch.equal(first[key], second[key]) for key in first), component
    changed = load_pipeline(whole / "pipeline").prior.aux_head.weight
    same = torch.equal(changed, load_pipeline(folder / "pipeline").prior.aux_head.weight)
    assert same is not train_prior


def test_hybrid_training_learns(folder, settings):
    task, batch = hybrid_task(folder, settings)
    batch["labels"][0] = 255  # an image without a label
    optimizer = torch.optim.Adam(task.parameters(), lr=0.01)
    values = []
    for step in range(25):
        terms = task(batch, step)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        values.append(float(terms["mixture"]))
    assert np.isfinite(values).all() and values[-1] < 0.8 * values[1]
    batch["labels"][:] = 255
    terms = task(batch, 25)
    terms["loss"].backward()
    assert float(terms["loss"].detach()) == 0


def test_no_component_is_taken_for_void():
    """GMMSeg's target 255 is its ignore value, so component 255 learns nothing there."""
    density = torch.randn(300, 60, 5, requires_grad=True)
    classes, component = torch.arange(300) // 5, torch.arange(300) % 5
    loss = component_contrast(density, classes, component)
    rows = density.detach().flatten(1).double()
    expected = rows.logsumexp(1) - rows[torch.arange(300), torch.arange(300)]
    assert float(loss.detach()) == pytest.approx(float(expected.mean()), rel=1e-5)
    loss.backward()
    assert (density.grad.flatten(1).abs().sum(1) > 0).all() and density.grad[255, 51, 0] < 0
    assert float(component_contrast(density[:0].detach(), classes[:0], component[:0])) == 0


def hybrid_task(folder, settings, *options):
    fixed = ["model.embed_dim=8"]
    cfg = load_config(DensityConfig, ["density/hybrid.yaml"], [*settings, *fixed, *options])
    data = build_dataset(cfg.data, "train", train=False)
    samples = [data[i] for i in range(3)]
    batch = {key: torch.stack([sample[key] for sample in samples]) for key in ("image", "labels", "filled")}
    return HybridTask(cfg, load_pipeline(folder / "pipeline"), data), batch | {"index": torch.arange(3)}


def test_hybrid_training_with_more_than_255_components(folder, settings):
    task, batch = hybrid_task(folder, settings, "model.num_components=60")
    for step in range(3):
        terms = task(batch, step)
        terms["loss"].backward()
        assert all(value.isfinite() for value in terms.values())
    assert task.head.active.sum() > 255


def test_a_class_that_comes_late_is_left_out_until_then(folder, settings):
    task, batch = hybrid_task(folder, settings)
    labels = batch["labels"].clone()
    batch["labels"][labels == 2] = 255
    terms = task(batch, 0)
    assert task.head.active.any(1).tolist() == [True, True, False, True, True] and terms["loss"].isfinite()
    features = task.prior(batch["image"], return_tokens=False).features
    assert (task.head(features).argmax(1) != 2).all()
    batch["labels"] = labels
    terms = task(batch, 1)
    assert task.head.active.any(1).all() and terms["loss"].isfinite()
    assert torch.isfinite(task.head(features)).all()


def test_features_that_are_no_numbers_stop_hybrid_training(folder, settings, tmp_path):
    broken = tiny_pipeline()
    with torch.no_grad():
        broken.prior.fusion.mix[-1].bias[0] = float("inf")
    broken.save_pretrained(tmp_path / "pipeline")
    options = [f"pipeline={tmp_path / 'pipeline'}", "mode=hybrid", "model.embed_dim=8", "train.batch_size=2"]
    with pytest.raises(ValueError, match=r"training stopped at step 0: .*nan.* \(batch: \d, \d\)"):
        train_density(load_config(DensityConfig, [], [*settings, *options]), tmp_path / "out")
    assert not (tmp_path / "out" / "pipeline").exists() and not list((tmp_path / "out" / "checkpoints").glob("*"))


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("model.variance_floor=0", "model.variance_floor = 0.0 must be at least 1e-12"),
        ("pipeline=''", "set pipeline=FOLDER"),
        ("pipeline=nowhere", "no pipeline at nowhere"),
        ("posthoc.scores=sml,knnn", "did you mean 'knn'"),
        ("mode=hybrid model.embed_dim=0", "model.embed_dim=0 leaves nothing to train"),
        ("model.rank=0", "model.rank = 0 must be at least 1"),
    ],
)
def test_mistakes_end_in_one_line(settings, tmp_path, capsys, override, reason):
    assert main(["train", "density", *settings, *override.split(), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("gss: error: ") and reason in message


def test_another_label_space_is_refused(folder, settings, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(folder / "data", copy)
    (copy / "classes.json").write_text(json.dumps({"classes": dict(enumerate([*NAMES[:4], "lamp"]))}))
    with pytest.raises(ValueError, match="classes of the data set differ"):
        train_density(load_config(DensityConfig, [], [*settings, f"data.spec={copy}"]), tmp_path / "out")


def test_features_that_are_no_numbers_stop_the_fit(folder, settings, tmp_path):
    broken = tiny_pipeline()
    with torch.no_grad():
        broken.prior.fusion.mix[-1].bias[0] = float("nan")
    broken.save_pretrained(tmp_path / "pipeline")
    with pytest.raises(ValueError, match=r"features of image .* are not finite"):
        train_density(
            load_config(DensityConfig, [], [*settings, f"pipeline={tmp_path / 'pipeline'}"]), tmp_path / "out"
        )
    assert not (tmp_path / "out" / "pipeline").exists()


def outlier_folder(root):
    """Bright discs in dark pictures, labelled as outliers."""
    ys, xs = np.mgrid[:40, :40]
    for kind in ("images", "masks"):
        (root / kind / "train").mkdir(parents=True)
    for index in range(4):
        disc = ((ys - 20) ** 2 + (xs - 20) ** 2 < (8 + 2 * index) ** 2).astype(np.uint8)
        pixels = np.where(disc[..., None] == 1, [255, 0, 255], [0, 0, 0]).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / "train" / f"{index}.png")
        Image.fromarray(disc).save(root / "masks" / "train" / f"{index}.png")
    (root / "classes.json").write_text(json.dumps({"classes": {"0": "background", "1": "object"}}))
    return root


@pytest.mark.parametrize("paste", [True, False])
def test_outlier_mixture_from_the_command_line(folder, settings, tmp_path, paste):
    objects = outlier_folder(tmp_path / "objects")
    options = [f"outliers.spec={objects}", f"outliers.paste={str(paste).lower()}", "outliers.scale=[0.3,0.6]"]
    fixed = ["outliers.components=3", "posthoc.scores=combined", "posthoc.combine=gmm_max,gmm_ratio"]
    out = tmp_path / "run"
    assert main(["train", "density", *settings, *options, *fixed, "--out", str(out)]) == 0
    pipeline = load_pipeline(out / "pipeline")
    assert "gmm_ratio" in pipeline.score_names and pipeline.ood.parts == ("gmm_max", "gmm_ratio")
    assert np.isfinite(json.loads((out / "density.json").read_text())["outlier_log_likelihood"])
    # The object, where no training saw it, stands out.
    images = build_dataset(DataConfig(spec=str(folder / "data")), "val", train=False)
    image, truth = MixedTruth(images, Mixer(open_objects(objects, "train"), size=(0.4, 0.5)), seed=7).read(0)
    scores = pipeline(image, score="gmm_ratio").ood_scores[0]
    assert scores[truth == 1].mean() > scores[truth == 0].mean()


def test_outliers_that_are_none_are_refused(folder, settings, tmp_path, capsys):
    objects = outlier_folder(tmp_path / "objects")
    for override, reason in (
        ("outliers.scale=[0.5,0.1]", "in ascending order"),
        ("outliers.split=val", "has no split 'val'"),
        ("outliers.components=0", "outliers.components = 0 must be at least 1"),
    ):
        arguments = [*settings, f"outliers.spec={objects}", override, "--out", str(tmp_path / "out")]
        assert main(["train", "density", *arguments]) == 2
        assert reason in capsys.readouterr().err.strip().splitlines()[-1]
    for mask in (objects / "masks" / "train").iterdir():
        Image.new("L", (40, 40)).save(mask)
    for paste, reason in (("true", "4 of 4 masks of .* show no object"), ("false", "is an outlier on the grid")):
        options = [*settings, f"outliers.spec={objects}", f"outliers.paste={paste}", "posthoc.scores=''"]
        with pytest.raises(ValueError, match=reason):
            train_density(load_config(DensityConfig, [], options), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["posthoc", "hybrid"])
def test_two_processes_equal_one(folder, settings, tmp_path, mode):
    objects = outlier_folder(tmp_path / "objects")
    options = [
        *settings,
        f"mode={mode}",
        # Every image has the same share of void, so that the mean over pixels is the same however images are split.
        "data.crop=[48,64]",
        "data.scale=[1,1]",
        "model.embed_dim=8",
        "model.variance_floor=0.01",
        "optim.lr=3e-3",
        "optim.warmup_steps=1",
        "train.steps=5",
        "train.batch_size=4",
        "train.picture_every=0",
        "em.interval=2",
        "hybrid.pixels_per_class=60",  # less than there are: what one process draws, two must draw together
        "posthoc.pixels_per_class=150",
        "posthoc.scores=knn",
        "posthoc.iterations=8",
        f"outliers.spec={objects}",
        "outliers.components=2",
    ]
    script = Path(__file__).parents[2] / "support" / "density_processes.py"
    launch(2, [str(script), str(tmp_path / "two"), *options])
    train_density(load_config(DensityConfig, [], options), tmp_path / "one")
    for component in ("density", "prior", "ood"):
        one, two = (
            load_file(next((tmp_path / run / "pipeline" / component).glob("*.safetensors"))) for run in ("one", "two")
        )
        assert one.keys() == two.keys()
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, atol=2e-4, rtol=1e-3, msg=lambda m, key=key: f"{key}: {m}")
    figures = [json.loads((tmp_path / run / "density.json").read_text()) for run in ("one", "two")]
    assert figures[0] == pytest.approx(figures[1], abs=2e-3)
