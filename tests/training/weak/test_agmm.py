"""`gss train weak-agmm` and `gss weak produce` on tiny scenes with a few labelled blobs."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from processes import launch
from safetensors.torch import load_file
from stage_checks import check_mistake, check_resume
from tiny_runs import POSTERIOR, PRIOR, losses
from torch.nn import functional as F

from gss.cli import main
from gss.config.io import load_config
from gss.config.posterior import PosteriorConfig
from gss.config.prior import PriorConfig
from gss.config.weak_agmm import WeakAgmmConfig
from gss.data.generated import ScenesDataset
from gss.data.open import build_dataset, open_split
from gss.data.specs.load import load_spec
from gss.pipeline.loading import load_pipeline
from gss.training.run import train
from gss.training.weak.agmm import WeakAgmmTask

SETTINGS = [*(entry for entry in PRIOR if "classifier" not in entry), "agmm.tags=labels"]


def blobs(labels, rng):
    """Two blobs of radius 2 in each class."""
    out = np.full_like(labels, 255)
    y, x = np.mgrid[: labels.shape[0], : labels.shape[1]]
    for k in np.unique(labels[labels != 255]):
        rows, columns = np.nonzero(labels == k)
        for i in rng.integers(len(rows), size=2):
            out[((y - rows[i]) ** 2 + (x - columns[i]) ** 2 <= 4) & (labels == k)] = k
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """16 training images with blobs, 4 validation images with full masks."""
    root, rng = tmp_path_factory.mktemp("blobs"), np.random.default_rng(0)
    for split, length in (("train", 16), ("val", 4)):
        scenes = ScenesDataset(split, length=length, size=(48, 64))
        for kind in ("images", "masks", "truth"):
            (root / kind / split).mkdir(parents=True)
        for index in range(length):
            image, labels = scenes.read(index)
            image.save(root / "images" / split / f"{index}.png")
            Image.fromarray(labels).save(root / "truth" / split / f"{index}.png")
            Image.fromarray(blobs(labels, rng) if split == "train" else labels).save(
                root / "masks" / split / f"{index}.png"
            )
    classes = {"classes": dict(enumerate(scenes.label_space.names)), "ignore_index": 255}
    (root / "classes.json").write_text(json.dumps(classes))
    return root


def config(data, *more):
    return load_config(WeakAgmmConfig, [], [f"data.spec={data}", *SETTINGS, *more])


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "online"
    return out, train("weak-agmm", config(data, "train.steps=40"), out)


def test_online_learns_from_blobs(data, trained):
    out, metrics = trained
    assert losses(out, "aux")[-1] < 0.85 * losses(out, "aux")[0]
    assert losses(out, "agmm_cross")[0] > 0 and losses(out, "agmm_agreement")[-1] > 0.5
    assert metrics["aux_miou"] > 0.15
    pipeline = load_pipeline(out / "pipeline")
    assert pipeline.decode_modes == ("aux",) and pipeline.prior.config.codebook_size == 0
    image, _ = open_split(load_spec(data), "val").read(0)
    assert pipeline(image).masks[0].shape == (48, 64)
    state = load_file(sorted((out / "checkpoints").iterdir())[-1] / "model.safetensors")
    assert (state["agmm.loss.bank.count"] > 0).sum() > 5


@pytest.mark.parametrize(
    "more",
    [
        ("agmm.method=partial",),
        ("agmm.method=conference", "agmm.tags=none"),
        ("agmm.method=conference", "agmm.conference.variance=fixed", "data.scale=[0.4,0.6]"),
        ("agmm.tags=data", "train.ema_decay=0.9", "data.val_split=''", "train.accumulate=2"),
    ],
)
def test_other_methods_train(data, tmp_path, more):
    metrics = train("weak-agmm", config(data, "train.steps=4", *more), tmp_path)
    assert all(np.isfinite(losses(tmp_path))) and losses(tmp_path, "aux")[-1] < losses(tmp_path, "aux")[0]
    assert bool(metrics) == ("data.val_split=''" not in more)
    assert (tmp_path / "pipeline" / "model_index.json").is_file()


def test_resume_is_bit_exact(data, tmp_path):
    cfg = config(data, "train.steps=6", "train.checkpoint_every=3", "agmm.online.warmup=0.2")
    check_resume("weak-agmm", cfg, tmp_path, "pipeline", "prior/model.safetensors")


def batch_of(data, indices):
    samples = [data[i] for i in indices]
    return {key: torch.stack([torch.as_tensor(sample[key]) for sample in samples]) for key in samples[0] if key != "id"}


@pytest.mark.parametrize("method", ["partial", "conference", "online"])
def test_images_do_not_depend_on_their_batch(data, method):
    cfg = config(data, f"agmm.method={method}")
    images = build_dataset(cfg.data, "train", train=True)
    task = WeakAgmmTask(cfg, build_dataset(cfg.data, "train", train=False), None).eval()
    together = batch_of(images, [0, 1, 2])
    together["labels"][1] = 255  # a crop that caught no label
    terms = task(together, 30)
    singles = [task({key: value[i : i + 1] for key, value in together.items()}, 30) for i in range(3)]
    for name in terms:
        expected = torch.stack([single[name] for single in singles]).mean()
        torch.testing.assert_close(terms[name], expected, rtol=1e-4, atol=1e-5)
    together["labels"][:] = 255
    alone = task({**together, "index": together["index"]}, 30)
    assert float(alone["aux"]) == 0 and torch.isfinite(alone["loss"])
    alone["loss"].backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in task.parameters())


def test_stage_2_takes_the_mixture_losses(data, tmp_path):
    stage1 = [f"data.spec={data}", *POSTERIOR, "train.steps=2", "loss.repaint_steps=2", "data.train_split=val"]
    train("posterior", load_config(PosteriorConfig, [], stage1), tmp_path / "posterior")
    settings = [f"data.spec={data}", f"posterior={tmp_path / 'posterior'}", *PRIOR, "train.steps=3", "agmm.tags=labels"]
    cfg = load_config(PriorConfig, [], [*settings, "loss.agmm=0.5", "agmm.online.warmup=0.5"])
    train("prior", cfg, tmp_path / "prior")
    weights = {"token": cfg.loss.token, "pixel": 1.0, "aux": 1.0, "agmm_tag": 0.5}
    expected = sum(weight * losses(tmp_path / "prior", name)[0] for name, weight in weights.items())
    assert losses(tmp_path / "prior")[0] == pytest.approx(expected, rel=1e-5)  # in the warm-up
    later = losses(tmp_path / "prior")[-1] - sum(w * losses(tmp_path / "prior", n)[-1] for n, w in weights.items())
    assert later > 0.01 and losses(tmp_path / "prior", "agmm_pull")[-1] > 0


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["agmm.method=offline"], "agmm.method"),
        (["agmm.onlin.warmup=0.1"], "agmm.online"),
        (["agmm.online.warmup=2"], "must be at most 1"),
        (["agmm.tags=maybe"], "agmm.tags"),
        (["agmm.online.spread.steps=[40,-1]"], "agmm.online.spread.steps = [40, -1] must be at least 0"),
        (["agmm.online.spread.steps=40"], "agmm.online.spread.steps = 40 is not a list such as [40, 20]"),
        (["data.crop=[50,64]"], "data.crop"),
        (["loss.agmm=1"], "unknown key"),
        (["data.val_split=valid"], "no split"),
    ],
)
def test_mistakes_end_in_one_line(data, tmp_path, capsys, more, reason):
    command = ["train", "weak-agmm", f"data.spec={data}", *SETTINGS, *more, "--out", tmp_path / "out"]
    check_mistake(command, reason, capsys)


def test_a_class_without_any_label_is_refused(data, tmp_path, capsys):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    command = ["train", "weak-agmm", f"data.spec={copy}", *SETTINGS, "train.steps=1", "--out", str(tmp_path / "out")]
    for path in (copy / "masks" / "train").iterdir():
        labels = np.asarray(Image.open(path))
        Image.fromarray(np.where(labels == 2, 255, labels).astype(np.uint8)).save(path)
    name = open_split(load_spec(data), "train").label_space.names[2]
    assert main(command) == 2
    assert f"is labelled {name}: label some, or set weak.allow_missing=true" in capsys.readouterr().err
    assert main([*command, "--overwrite", "weak.allow_missing=true"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "gss: warning: no pixel" in line]
    assert len(said) == 1 and f"is labelled {name}: these classes will not be learnt" in said[0]
    for path in (copy / "masks" / "train").iterdir():
        Image.fromarray(np.full((48, 64), 255, np.uint8)).save(path)
    assert main([*command, "--overwrite"]) == 2
    assert "no pixel of split 'train'" in capsys.readouterr().err


def test_config_command_prints_the_stage(capsys):
    assert main(["config", "weak-agmm", "agmm.method=conference"]) == 0
    assert "method: conference  #" in capsys.readouterr().out


@pytest.mark.parametrize("settings", [["spread.steps=[]", "threshold=0.3"], ["threshold=0.3"]])
def test_produce_writes_a_data_set(data, trained, tmp_path, capsys, settings):
    out = tmp_path / "pseudo"
    command = ["weak", "produce", str(trained[0] / "pipeline"), "--data", str(data), "--out", str(out)]
    assert main([*command, "tags=labels", *settings]) == 0
    assert "pixels labelled" in capsys.readouterr().out
    given, truth = open_split(load_spec(data), "train"), data / "truth" / "train"
    produced = open_split(load_spec(out), "train")
    assert produced.ids == given.ids
    correct, kept, agreed = 0, 0, 0
    for index, id in enumerate(given.ids):
        weak, made = given.read(index)[1], produced.read(index)[1]
        confidence = produced.read_weak(index)[1]
        known = weak != 255
        assert (made[known] == weak[known]).all() and (confidence[known] == 1).all()
        assert set(np.unique(made)) - {255} <= set(np.unique(weak))
        assert (confidence[made == 255] < 0.31).all() and (confidence[made != 255] > 0.29).all()
        real = np.asarray(Image.open(truth / f"{id}.png"))
        rest = ~known & (made != 255) & (real != 255)
        correct, kept, agreed = correct + (made == real)[rest].sum(), kept + rest.sum(), agreed + known.sum()
    assert kept > 2 * agreed and correct / kept > 0.4
    # The folder trains: confidence and labels reach the loss.
    metrics = train("weak-agmm", config(out, "train.steps=2", "data.root=null"), tmp_path / "again")
    assert np.isfinite(list(metrics.values())).all()
    assert main(command) == 2
    assert "already holds" in capsys.readouterr().err
    assert main([*command[:3], "--data", "scenes", "--out", str(tmp_path / "x")]) == 2
    assert "generated" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_share_the_bank(data, tmp_path):
    short = [f"data.spec={data}", *SETTINGS, "train.steps=3", "agmm.online.warmup=0", "agmm.online.ramp=0.1"]
    script = "import sys; from gss.cli import main; sys.exit(main(sys.argv[1:]))"
    launch(2, ["-c", script, "train", "weak-agmm", *short, "--out", str(tmp_path / "two")])
    train("weak-agmm", load_config(WeakAgmmConfig, [], short), tmp_path / "one")
    states = [
        load_file(sorted((tmp_path / name / "checkpoints").iterdir())[-1] / "model.safetensors")
        for name in ("one", "two")
    ]
    assert torch.equal(*(state["agmm.loss.bank.count"] for state in states))
    means = [state["agmm.loss.bank.means"] for state in states]
    assert F.cosine_similarity(*means, dim=1)[states[0]["agmm.loss.bank.count"] > 0].min() > 0.9
    assert losses(tmp_path / "two")[0] == pytest.approx(losses(tmp_path / "one")[0], rel=0.05)
