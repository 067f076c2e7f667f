"""`gss train weak-tags`, masks from its classifiers, and how they are judged, on tiny pictures of trains and balls."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from tag_toys import RESNET, SETTINGS, write
from tiny_runs import losses

from gss.cli import main
from gss.config.io import load_config
from gss.config.tags import TagProduceConfig, WalkConfig, WeakTagsConfig
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.data.tagged import ImageFolder, TaggedImages, fit_longer_side, read_tags
from gss.data.transforms import JointTransform
from gss.models.tags import TagClassifier
from gss.pipeline.loading import load_classifier
from gss.training.run import train
from gss.training.weak.tags import TagTask, background_of, mean_average_precision, tag_loss
from gss.training.weak.wood import everywhere_if_unseen
from gss.weak.tags.produce import tag_mask
from gss.weak.tags.seed_curve import SeedCurve, best, precision_at


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("toys"))


def config(data, *more):
    return load_config(WeakTagsConfig, [], [f"data.spec={data}", *SETTINGS, *more])


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "wood"
    more = (
        f"wood.ood={data / 'rails'}",
        "wood.absent=0.25",
        "wood.distance=0.007",
        "wood.clusters=4",
        "wood.start=0.5",
        "train.picture_every=40",
    )
    return out, train("weak-tags", config(data, "train.steps=40", *more), out)


def test_tags_are_learnt_and_out_of_distribution_images_take_part(trained):
    out, metrics = trained
    assert losses(out, "tags")[-1] < 0.8 * losses(out, "tags")[0]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "absent" in line]
    assert steps == list(range(21, 41)) and np.isfinite(losses(out, "distance")).all()
    assert metrics["map"] > 0.8 and 0 < metrics["false"] < 0.6
    assert (out / "pictures" / "step_000040_maps.jpg").is_file()
    model = load_classifier(out / "classifier")
    assert model.classes == (1, 2) and model.config["image_size"] == 96 and not model.training
    state = load_file(sorted((out / "checkpoints").iterdir())[-1] / "model.safetensors")
    assert (state["ood.centres.counts"] > 0).all() and state["ood.clusters.centres"].shape == (4, model.dim)


def test_resume_is_bit_exact(data, tmp_path):
    more = ("train.steps=6", "train.checkpoint_every=4", "wood.start=0.3", "wood.clusters=3", "train.ema_decay=0.9")
    cfg = config(data, f"wood.ood={data / 'rails'}", "wood.distance=0.007", *more)
    train("weak-tags", cfg, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step_000006")
    shutil.rmtree(tmp_path / "cut" / "classifier")
    train("weak-tags", cfg, tmp_path / "cut", resume=True)
    for name in ("checkpoints/step_000006/model.safetensors", "classifier/diffusion_pytorch_model.safetensors"):
        a, b = (load_file(tmp_path / run / name) for run in ("whole", "cut"))
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_without_such_images_windows_are_cut_from_the_training_images(data, trained, tmp_path):
    start = f"tags.init_from={trained[0] / 'classifier'}"
    more = ("wood.ood=self", "wood.start=0", "wood.threshold=0.6", "data.val_split=''")
    assert train("weak-tags", config(data, "train.steps=3", start, *more), tmp_path) == {}
    assert len(losses(tmp_path, "absent")) == 3
    # There is no distance unless it is given a weight.
    total = np.add(losses(tmp_path, "tags"), losses(tmp_path, "absent"))
    np.testing.assert_allclose(losses(tmp_path), total, rtol=1e-5)
    assert losses(tmp_path, "tags")[0] < 0.85 * losses(trained[0], "tags")[0]  # it starts where the other run ended


def test_a_class_that_is_seen_nowhere_leaves_no_window():
    maps, tags = torch.zeros(2, 2, 3, 4), torch.tensor([[True, False], [True, True]])
    maps[1, 0, 1, 1] = 1
    found = everywhere_if_unseen(maps, tags)
    assert (found[0, 0] == 1).all() and (found[0, 1] == 0).all()
    assert torch.equal(found[1, 0], maps[1, 0]) and (found[1, 1] == 1).all()


def test_images_without_windows_cost_nothing(data):
    cfg = config(data, "wood.ood=self")
    dataset = open_split(load_spec(data), "train")
    task = TagTask(cfg, dataset, None, None)
    loss, plain = task.ood._absent(task.classifier, torch.zeros(0, 3, 16, 16))
    assert loss == 0 and loss.requires_grad and len(plain) == 0


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["wood.ood=nowhere"], "not found: nowhere"),
        (["wood.ood={data}/images"], "also among the training images"),
        (["wood.ood={data}/rails", "wood.clusters=12", "wood.start=0", "wood.survey=0"], "wood.survey"),
        (["tags.output_stride=16"], "only EfficientNet-Lite"),
        (["tags.levels=5"], "levels=5"),
        (["tags.init_from={data}"], "no tag classifier"),
        (["tags.init_from={trained}/classifier", "tags.levels=2"], "does not fit"),
        (["wood.odd=self"], "wood.od"),
        (["data.val_split=valid"], "no split"),
    ],
)
def test_mistakes_end_in_one_line(data, trained, tmp_path, capsys, more, reason):
    more = [text.format(data=data, trained=trained[0]) for text in more]
    assert main(["train", "weak-tags", f"data.spec={data}", *SETTINGS, *more, "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("gss: error: ") and reason in message


def test_a_class_without_any_tag_is_refused(data, tmp_path, capsys):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    tags = json.loads((copy / "tags.json").read_text())
    tags = {id: [name for name in names if name != "ball"] for id, names in tags.items()}
    (copy / "tags.json").write_text(json.dumps(tags))
    command = ["train", "weak-tags", f"data.spec={copy}", *SETTINGS, "train.steps=1", "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "has the tag ball: tag some, or set tags.allow_missing=true" in capsys.readouterr().err
    assert main([*command, "--overwrite", "tags.allow_missing=true"]) == 0


def test_tags_that_may_be_incomplete_deny_nothing():
    logits, tags = torch.tensor([[2.0, -1.0], [0.5, 3.0]]), torch.tensor([[True, False], [False, True]])
    all_known = tag_loss(logits, tags, torch.tensor([True, True]))
    torch.testing.assert_close(all_known, torch.nn.functional.binary_cross_entropy_with_logits(logits, tags.float()))
    some = tag_loss(logits, tags, torch.tensor([False, False]))
    torch.testing.assert_close(some, torch.nn.functional.softplus(-torch.tensor([2.0, 3.0])).mean())
    assert tag_loss(logits, torch.zeros_like(tags), torch.tensor([False, False])) == 0


def test_mean_average_precision_by_hand():
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    tags = np.array([[True, False], [False, False], [True, False]])
    assert mean_average_precision(scores, tags, np.ones_like(tags)) == pytest.approx((1 + 2 / 3) / 2)
    known = np.array([[True, True], [False, True], [True, True]])
    assert mean_average_precision(scores, tags, known) == 1
    assert np.isnan(mean_average_precision(scores, np.zeros_like(tags), known))


def test_tagged_images_depend_on_seed_epoch_and_index_alone(data):
    base, others = open_split(load_spec(data), "train"), ImageFolder(data / "rails")
    assert background_of(base) == 0 and len(others) == 12
    transform = JointTransform(crop=(64, 96), scale=(0.8, 1.2), shift=0.5, seed=3)
    first, second = (TaggedImages(base, transform, others=others) for _ in range(2))
    for dataset in (first, second):
        dataset.set_epoch(2)
    _ = first[0]
    a, b = first[5], second[5]  # a train and a ball
    assert torch.equal(a["image"], b["image"]) and torch.equal(a["other"], b["other"])
    assert a["image"].shape == a["other"].shape == (3, 64, 96) and not torch.equal(a["image"], a["other"])
    assert a["tags"].tolist() == [True, True, True] and bool(a["exhaustive"])
    alone = TaggedImages(base, transform)
    alone.set_epoch(2)
    assert torch.equal(alone[5]["image"], a["image"]) and "other" not in alone[5]
    first.set_epoch(3)
    assert not torch.equal(first[5]["image"], a["image"])


def test_tags_are_read_off_full_masks_too(data):
    weak, full = open_split(load_spec(data), "train"), open_split(load_spec(data / "full.yaml"), "train")
    for index in range(4):
        (a, everything), (b, also) = read_tags(weak, index), read_tags(full, index)
        assert a[1:].tolist() == b[1:].tolist() and everything and also
    assert fit_longer_side(Image.new("RGB", (30, 20)), 60).size == (60, 40)


def test_folders_of_images(tmp_path, data):
    with pytest.raises(ValueError, match="holds no picture"):
        ImageFolder(tmp_path)
    shutil.copytree(data / "rails", tmp_path / "images")
    (tmp_path / "page.png").write_bytes((data / "rails" / "0.png").read_bytes())
    assert len(ImageFolder(tmp_path)) == 12  # what `gss weak collect` writes: pages beside images/


def test_curve_against_counting():
    rng = np.random.default_rng(0)
    curve, L = SeedCurve(4, 1), 4
    truth, labels = rng.integers(0, L, (3, 9, 11)).astype(np.uint8), rng.choice([0, 2, 3], (3, 9, 11))
    truth[0, :2] = 255
    scores = rng.integers(0, 101, (3, 9, 11)) / 100
    for picture in zip(labels, scores, truth, strict=True):
        curve.update(*picture)
    quality = curve.compute()[39]
    assert quality.threshold == pytest.approx(0.4)
    made, known = np.where(scores >= 0.4, labels, 1), truth != 255
    for k in range(L):
        hit = (made == k) & (truth == k)
        union = ((made == k) | (truth == k)) & known
        if k == 1:
            background = hit.sum() / union.sum()
            continue
        assert quality.per_class["precision"][k] == pytest.approx(hit.sum() / ((made == k) & known).sum())
        assert quality.per_class["recall"][k] == pytest.approx(hit.sum() / (truth == k).sum())
        assert quality.per_class["iou"][k] == pytest.approx(hit.sum() / union.sum())
    assert quality.per_class["iou"][1] is None
    ious = [quality.per_class["iou"][k] for k in (0, 2, 3)]
    assert quality.miou == pytest.approx((sum(ious) + background) / 4) and quality.iou == pytest.approx(np.mean(ious))
    curve = curve.compute()
    assert best(curve).miou == max(q.miou for q in curve)
    alike = [q.precision for q in curve if q.recall == quality.recall]
    assert precision_at(curve, quality.recall) == pytest.approx(max(alike))


@pytest.mark.parametrize("more", [["walk.steps=0"], ["abstain=0.6"], ["refined=true"]])
def test_produce_writes_masks_of_the_tags(data, trained, tmp_path, capsys, more):
    out = tmp_path / "pseudo"
    command = ["weak", "produce", str(trained[0] / "classifier"), "--data", str(data), "--out", str(out)]
    assert main([*command, "background=0.4", "cam.scales=[1,2]", *more]) == 0
    assert "pixels labelled" in capsys.readouterr().out
    given, made = open_split(load_spec(data), "train"), open_split(load_spec(out), "train")
    assert made.ids == given.ids
    for index in range(len(made)):
        labels, confidence = made.read(index)[1], made.read_weak(index)[1]
        tags = read_tags(given, index)[0]
        assert set(np.unique(labels)) - {255} <= set(np.flatnonzero(tags))
        assert confidence.shape == labels.shape and confidence.min() >= 0 and confidence.max() <= 1
        if not tags[1:].any():
            assert (labels == 0).all() and (confidence == 1).all()
        if "abstain=0.6" in more:
            # Confidence is kept in steps of 1 / 255.
            assert (confidence[labels == 255] < 0.605).all() and (confidence[labels != 255] > 0.595).all()
    assert main(["weak", "report", str(out), "--truth", str(data / "full.yaml")]) == 0


def test_what_is_not_known_to_be_all_is_no_background(data, trained):
    model = load_classifier(trained[0] / "classifier")
    image = open_split(load_spec(data), "train").read(0)[0]
    cfg = TagProduceConfig(background=0.4, refined=False)
    tags = np.array([True, True, False])
    labels, _ = tag_mask(model, image, tags, True, cfg)
    open_ended, _ = tag_mask(model, image, tags, False, cfg)
    assert 0 in labels and ((open_ended == 255) == (labels == 0)).all() and (open_ended == 1).any()
    nothing, sure = tag_mask(model, image, np.zeros(3, bool), False, cfg)
    assert (nothing == 255).all() and (sure == 0).all()


@pytest.mark.parametrize("refined", [True, False])
def test_without_a_background_class_weak_activations_stay_unlabelled(refined):
    torch.manual_seed(0)
    resnet = yaml.safe_load(RESNET)
    model = TagClassifier(class_names=["sky", "road", "tree"], background=None, backbone_config=resnet).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    cfg = TagProduceConfig(background=0.8, refined=refined, walk=WalkConfig(steps=0))
    labels, sure = tag_mask(model, Image.fromarray(pixels), np.array([True, False, True]), True, cfg)
    assert set(np.unique(labels)) <= {0, 2, 255} and (labels != 255).any()
    if not refined:
        assert (labels == 255).any() and (sure[labels == 255] < 0.5).all() and (sure[labels != 255] >= 0.5).all()
    nothing, _ = tag_mask(model, Image.fromarray(pixels), np.zeros(3, bool), True, cfg)
    assert (nothing == 255).all()


def test_seeds_command_compares_classifiers(data, trained, tmp_path, capsys):
    folder = str(trained[0] / "classifier")
    command = ["weak", "seeds", folder, folder, "--data", str(data), "--truth", str(data / "full.yaml")]
    report, sheet = tmp_path / "seeds.json", tmp_path / "maps.png"
    assert main([*command, "--split", "val", "--json", str(report), "--sheet", str(sheet), "scales=[1]"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3 and rows[1] == rows[2]
    found = json.loads(report.read_text())
    assert found["classifiers"][0]["best"]["precision"] == pytest.approx(
        found["classifiers"][0]["precision_at_recall"]["precision"]
    )
    assert len(found["classifiers"][0]["curve"]) == 100 and Image.open(sheet).width > 400
    assert main([*command, "--recall", "0.3", "--json", str(report), "scales=[1]"]) == 0
    assert "at recall 30.0" in capsys.readouterr().out
    assert json.loads(report.read_text())["classifiers"][1]["precision_at_recall"]["recall"] == 0.3
    assert main([*command, "--recall", "30"]) == 2 and "--recall is 30" in capsys.readouterr().err
    assert main([*command[:4], "--data", str(data)]) == 2
    assert "has weak labels" in capsys.readouterr().err


@pytest.mark.slow
def test_out_of_distribution_images_cure_the_co_occurrence_trap(data, tmp_path):
    """Trains always stand on rails: tags alone teach the rails; pictures of bare rails teach the train."""
    quality = {}
    for name, more in {"plain": (), "wood": (f"wood.ood={data / 'rails'}", "wood.clusters=4")}.items():
        train("weak-tags", config(data, "train.steps=100", "data.val_split=''", *more), tmp_path / name)
        out = tmp_path / f"{name}.json"
        command = ["weak", "seeds", str(tmp_path / name / "classifier"), "--data", str(data), "--json", str(out)]
        assert main([*command, "--truth", str(data / "full.yaml")]) == 0
        curve = json.loads(out.read_text())["classifiers"][0]["curve"]
        rows = sorted((q["per_class"]["recall"][1], q["per_class"]["precision"][1] or 0) for q in curve)
        quality[name] = np.interp(0.4, *np.array(rows).T)
    # The train covers 9 % of its pictures.
    assert quality["plain"] < 0.2 and quality["wood"] > quality["plain"] + 0.1
