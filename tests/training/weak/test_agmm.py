"""`gss train weak-agmm` and `gss weak produce` on tiny scenes with a few labelled blobs."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from processes import launch
from safetensors.torch import load_file
from tiny_pipeline import tiny_pipeline
from tiny_runs import POSTERIOR, PRIOR, losses
from torch.nn import functional as F

from gss.cli import main
from gss.config.agmm import ProduceConfig
from gss.config.io import load_config
from gss.config.posterior import PosteriorConfig
from gss.config.prior import PriorConfig
from gss.config.weak_agmm import WeakAgmmConfig
from gss.config.weak_labels import SpreadConfig
from gss.data.generated import ScenesDataset
from gss.data.open import build_dataset, open_split
from gss.data.specs.load import load_spec
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.training.run import train
from gss.training.weak.agmm import WeakAgmmTask
from gss.weak.agmm.produce import probabilities_given_labels, pseudo_mask

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
    train("weak-agmm", cfg, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step_000006")
    shutil.rmtree(tmp_path / "cut" / "pipeline")
    train("weak-agmm", cfg, tmp_path / "cut", resume=True)
    for name in ("checkpoints/step_000006/model.safetensors", "pipeline/prior/model.safetensors"):
        a, b = (load_file(tmp_path / run / name) for run in ("whole", "cut"))
        assert all(torch.equal(a[key], b[key]) for key in a)


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
    assert main(["train", "weak-agmm", f"data.spec={data}", *SETTINGS, *more, "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("gss: error: ") and reason in message


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
    said = [line for line in capsys.readouterr().err.splitlines() if "gss: warning: " in line]
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


STAY = SpreadConfig(steps=[])


def picture(size=(45, 70), seed=0):
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    labels = np.full(size, 255, np.uint8)
    labels[5:12, 8:20], labels[25:40, 50:60] = 1, 3
    return image, labels


@pytest.mark.parametrize("vqvae", [True, False])
@pytest.mark.parametrize("size", [None, (32, 96)])
def test_without_mixture_and_tags_the_posterior_is_the_prediction(vqvae, size):
    pipeline = tiny_pipeline(size=size) if vqvae else twin(size)
    image, labels = picture()
    found = probabilities_given_labels(pipeline, image, labels, ProduceConfig(mixture=0.0, spread=STAY))
    mode = pipeline.default_decode
    expected = pipeline.predict_probabilities([image], modes=[mode])[mode][0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    tags = np.array([False, True, False, False, True])
    found = probabilities_given_labels(pipeline, image, labels, ProduceConfig(mixture=0.0, spread=STAY), tags=tags)
    assert (found[[0, 2]] == 0).all()  # 3 is labelled, though not tagged
    if size is None:
        kept = expected * torch.tensor([0.0, 1, 0, 1, 1])[:, None, None]
        torch.testing.assert_close(found, kept / kept.sum(0), rtol=1e-3, atol=1e-4)


def twin(size):
    whole = tiny_pipeline(size=size)
    return GSSPipeline(whole.processor, whole.prior, whole.codec)


def test_the_mixture_favours_what_looks_like_the_labels():
    """Two textures, a network that knows nothing: the pixels around a label get its class."""
    pipeline = twin(None)
    with torch.no_grad():
        pipeline.prior.aux_head.weight.zero_()
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, :48], pixels[:, 48:] = (230, 40, 40), (30, 90, 240)
    labels = np.full((64, 96), 255, np.uint8)
    labels[28:36, 20:28], labels[28:36, 68:76] = 0, 4
    tags = np.array([True, False, False, False, True])
    cfg = ProduceConfig(mixture=1.0, spread=STAY)
    found = probabilities_given_labels(pipeline, Image.fromarray(pixels), labels, cfg, tags=tags)
    truth = torch.where(torch.arange(96) < 48, 0, 4).expand(64, 96)
    assert (found.argmax(0) == truth).float().mean() > 0.85
    torch.testing.assert_close(found.sum(0), torch.ones(64, 96))


def test_pseudo_labels_follow_the_colours_of_the_image():
    """The network knows nothing: labels spread up to where the colour changes, whatever the size of the image."""
    pipeline = twin(None)
    with torch.no_grad():
        pipeline.prior.aux_head.weight.zero_()
        pipeline.prior.aux_head.bias.zero_()
    pixels = np.full((70, 101, 3), 60, np.uint8)
    pixels[:, 63:] = (90, 200, 60)
    labels = np.full((70, 101), 255, np.uint8)
    labels[30:33, 20:23], labels[50:53, 90:93] = 1, 3
    spread = SpreadConfig(steps=[80, 40, 20], belief=0.0)
    found = probabilities_given_labels(
        pipeline, Image.fromarray(pixels), labels, ProduceConfig(mixture=0.0, spread=spread)
    )
    assert found.shape == (5, 70, 101)
    torch.testing.assert_close(found.sum(0), torch.ones(70, 101))
    best = found.argmax(0)
    assert (best[:, :60] == 1).all() and (best[:, 67:] == 3).all()
    # Without spreading only the labelled cells are known.
    still = probabilities_given_labels(
        pipeline, Image.fromarray(pixels), labels, ProduceConfig(mixture=0.0, spread=STAY)
    )
    torch.testing.assert_close(still[:, 5, 5], torch.full((5,), 0.2))


def test_pseudo_mask_keeps_labels_and_abstains():
    probs = torch.tensor([[0.9, 0.45, 0.2], [0.1, 0.55, 0.8]])[:, None]
    labels = np.array([[255, 255, 0]], np.uint8)
    mask, certain = pseudo_mask(probs, labels, 0.6)
    assert mask.tolist() == [[0, 255, 0]] and mask.dtype == np.uint8
    np.testing.assert_allclose(certain, [[0.9, 0.55, 1.0]])
    _, certain = pseudo_mask(probs, labels, 0.6, confidence=np.full((1, 3), 0.25, np.float32))
    np.testing.assert_allclose(certain, [[0.9, 0.55, 0.25]])


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
