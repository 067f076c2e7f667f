"""Pseudo-masks: written once, a data set at once; imported; confidence in the losses; refusals."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import PRIOR

from gss.cli import main
from gss.config.io import load_config
from gss.config.prior import PriorConfig
from gss.config.shared import WeakConfig
from gss.data.datasets import SegmentationDataset
from gss.data.open import build_dataset, open_split
from gss.data.specs.load import load_spec
from gss.data.transforms import JointTransform
from gss.posterior.cells import to_cells
from gss.training.losses.classification import uncertain_cross_entropy, weighted_cross_entropy
from gss.training.losses.marginal import token_and_pixel_loss
from gss.training.run import train
from gss.weak.pseudo_masks import PseudoMask, PseudoMaskWriter, import_masks, read_manifest
from gss.weak.trust import Trust, check_seeds, class_thresholds, doubt

SIZE = (32, 48)
K = 3
RNG = np.random.default_rng(0)


@pytest.fixture
def spec(tmp_path):
    """Four training and two validation images; only the validation images have masks."""
    for split, count in (("train", 4), ("val", 2)):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "masks" / split).mkdir(parents=True)
        for number in range(count):
            labels = truth(number)
            pixels = (labels[..., None] * 80 + RNG.integers(0, 60, (*SIZE, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"images/{split}/{number}.png")
            if split == "val":
                Image.fromarray(labels).save(tmp_path / f"masks/{split}/{number}.png")
    (tmp_path / "data.yaml").write_text(
        "name: tiny\nroot: .\nimage: images/{split}/{id}.png\nmask: masks/{split}/{id}.png\n"
        "splits: [train, val]\nclasses: [a, b, c]\n"
    )
    return load_spec(tmp_path)


def truth(number):
    return np.kron(np.random.default_rng(number).integers(0, K, (4, 6)), np.ones((8, 8))).astype(np.uint8)


def write(spec, folder, *, confidence=True, labels=truth, bits=16, **options):
    with PseudoMaskWriter(folder, spec, "train", producer="test", config={"x": 1}, bits=bits, **options) as writer:
        for number in range(4):
            mask = labels(number)
            sure = np.random.default_rng(number).random(SIZE) if confidence else None
            writer.add(PseudoMask(str(number), mask, sure))
    return writer


@pytest.mark.parametrize("bits", [8, 16])
def test_round_trip(spec, tmp_path, bits):
    out = tmp_path / "pseudo"
    writer = write(spec, out, bits=bits)
    manifest = read_manifest(out)
    assert manifest["producer"] == "test" and manifest["config_hash"] == writer.config_hash
    assert manifest["pixels"]["b"] == sum(int((truth(n) == 1).sum()) for n in range(4))
    assert [row["id"] for row in manifest["masks"]] == ["0", "1", "2", "3"] and manifest["labelled"] == 1.0
    data = SegmentationDataset(load_spec(out), "train", transform=JointTransform((40, 40), seed=1))
    for index in range(4):
        np.testing.assert_array_equal(data.read(index)[1], truth(index))
        sure = np.random.default_rng(index).random(SIZE)
        np.testing.assert_allclose(data.read_weak(index)[1], sure, atol=0.51 / (2**bits - 1))
    item = data[0]
    assert item["confidence"].dtype == torch.float32 and item["confidence"].shape == (40, 40)
    assert (item["confidence"][item["labels"] == 255] == 0).all() and item["confidence"].max() > 0.5
    val = SegmentationDataset(load_spec(out), "val")
    np.testing.assert_array_equal(val.read(1)[1], truth(1))
    assert "confidence" not in val[0]
    assert main(["data", "check", str(out)]) == 0


def test_confidence_follows_the_geometry_of_its_label(spec, tmp_path):
    # Where the confidence is a function of the label it must stay one under scaling, cropping and mirroring.
    with PseudoMaskWriter(tmp_path / "p", spec, "train", producer="t") as writer:
        for number in range(4):
            writer.add(PseudoMask(str(number), truth(number), truth(number) / 5 + 0.2))
    options = {"transform": JointTransform((24, 40), photometric=0.0), "size": (20, 40)}
    data = SegmentationDataset(load_spec(tmp_path / "p"), "train", **options)
    for index in range(4):
        item = data[index]
        known = item["labels"] != 255
        torch.testing.assert_close(item["confidence"][known], item["labels"][known] / 5 + 0.2, atol=0.003, rtol=0)


def test_a_stopped_producer_leaves_no_data_set(spec, tmp_path):
    out = tmp_path / "pseudo"
    with pytest.raises(KeyboardInterrupt), PseudoMaskWriter(out, spec, "train", producer="t") as writer:
        writer.add(PseudoMask("0", truth(0)))
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="holds no manifest.json"):
        read_manifest(out)
    with pytest.raises(ValueError, match="images/ and masks/"):
        load_spec(out)
    with pytest.raises(ValueError, match="already holds"):
        write(spec, out)
    write(spec, out, overwrite=True)
    assert load_spec(out).weak is not None


def test_a_producer_that_never_began_leaves_the_folder(spec, tmp_path, capsys):
    out = tmp_path / "pseudo"
    write(spec, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    masks = external(tmp_path / "m", {"0": np.full(SIZE, 9, np.uint8)})
    command = ["weak", "import", str(tmp_path), "--masks", str(masks), "--out", str(out), "--overwrite"]
    assert main(command) == 2 and "holds 9" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_masks_without_any_label_are_refused(spec, tmp_path, capsys):
    empty = np.full(SIZE, 255, np.uint8)
    with pytest.raises(ValueError, match="none of the 4 masks in .*q has a labelled pixel"):
        write(spec, tmp_path / "q", labels=lambda n: empty, confidence=False)
    with pytest.raises(ValueError, match="holds no manifest.json"):
        read_manifest(tmp_path / "q")
    masks = external(tmp_path / "m", {"0": empty, "1": empty})
    assert main(["weak", "import", str(tmp_path), "--masks", str(masks), "--out", str(tmp_path / "out")]) == 2
    assert "none of the 2 masks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (PseudoMask("0", np.full(SIZE, 3, np.uint8)), r"hold 3, allowed are 0\.\.2 and 255"),
        (PseudoMask("0", np.zeros(SIZE, np.int64)), "must be uint8"),
        (PseudoMask("0", np.zeros(SIZE, np.uint8), np.zeros((3, 3))), "confidence of '0' is"),
        (PseudoMask("0", np.zeros(SIZE, np.uint8), np.full(SIZE, 1.5)), "must be in 0..1"),
        (PseudoMask("0", np.zeros(SIZE, np.uint8), np.full(SIZE, np.nan)), "must be in 0..1"),
    ],
)
def test_bad_pseudo_masks(spec, tmp_path, mask, message):
    with (
        pytest.raises(ValueError, match=message),
        PseudoMaskWriter(tmp_path / "p", spec, "train", producer="t") as writer,
    ):
        writer.add(mask)


def test_confidence_of_all_or_none(spec, tmp_path):
    def make(folder, *masks):
        with PseudoMaskWriter(folder, spec, "train", producer="t") as writer:
            for mask in masks:
                writer.add(mask)

    with pytest.raises(ValueError, match="1 of 2 pseudo-masks have a confidence"):
        make(tmp_path / "p", PseudoMask("0", truth(0)), PseudoMask("1", truth(1), np.ones(SIZE)))
    with pytest.raises(ValueError, match="no pseudo-mask was made"):
        make(tmp_path / "q")


def external(folder, masks):
    folder.mkdir(exist_ok=True)
    for name, values in masks.items():
        Image.fromarray(values).save(folder / f"{name}.png")
    return folder


def test_import_of_masks_made_elsewhere(spec, tmp_path, capsys):
    coded = np.where(truth(1) == 0, 3, truth(1)).astype(np.uint8)  # 3 = number of classes = unlabelled
    masks = external(tmp_path / "m", {"0": truth(0), "1": coded})
    sure = external(tmp_path / "c", {"0": np.full(SIZE, 128, np.uint8), "1": np.full(SIZE, 65535, np.uint16)})
    out = tmp_path / "out"
    command = ["weak", "import", str(tmp_path), "--masks", str(masks), "--confidence", str(sure), "--out", str(out)]
    assert main([*command, "--producer", "sam"]) == 0
    printed = capsys.readouterr()
    assert "2 masks" in printed.out
    count = (truth(1) == 0).sum()
    (said,) = [line for line in printed.err.splitlines() if "gss: warning: " in line]
    assert f"1.png marks {count} unlabelled pixels with 3" in said and "If 3 is a class, its name is missing" in said
    data = SegmentationDataset(load_spec(out), "train")
    assert data.ids == ["0", "1"] and read_manifest(out)["producer"] == "sam"
    np.testing.assert_array_equal(data.read(1)[1], np.where(truth(1) == 0, 255, truth(1)))
    assert data.read_weak(0)[1][0, 0] == pytest.approx(128 / 255, abs=1e-4) and data.read_weak(1)[1][0, 0] == 1


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"0": np.zeros((8, 8), np.uint8)}, r"0\.png is for an image of 8x8 pixels, but image '0' has 48x32"),
        ({"0": np.full(SIZE, 9, np.uint8)}, r"0\.png holds 9; allowed"),
        ({"zero": truth(0)}, r"1 masks in .* belong to no image of split 'train', first: zero\.png"),
        ({}, r"no mask in .* has the name of an image"),
    ],
)
def test_bad_imports(spec, tmp_path, masks, message):
    with pytest.raises(ValueError, match=message):
        list(import_masks(spec, "train", external(tmp_path / "m", masks)))


def test_thresholds_make_pixels_void():
    labels = torch.tensor([[[0, 1, 2, 255]]])
    confidence = torch.tensor([[[0.4, 0.6, 0.9, 0.0]]])

    class Data:
        label_space = load_spec("camvid").label_space

    def trust(**options):
        return Trust(WeakConfig(**options), Data())(labels, confidence)

    assert trust(weighting="threshold", threshold=0.6).labels.tolist() == [[[255, 1, 2, 255]]]
    assert trust(weighting="threshold", threshold=0.6).weights is None
    linear = trust(weighting="linear")
    assert torch.equal(linear.labels, labels) and torch.equal(linear.weights, confidence) and linear.doubt is None
    assert trust(weighting="none").weights is None
    rest, extra = trust(loss="soft").doubt
    torch.testing.assert_close((rest + extra)[0, 0], torch.tensor([0.4, 0.6, 0.9, 1 / 11]))
    assert Trust(WeakConfig(), Data())(labels, None) == (labels, None, None)


def test_share_keeps_the_best_of_each_class(spec, tmp_path):
    def labels(number):
        return np.where(truth(number) == 2, 255, truth(number)).astype(np.uint8)

    write(spec, tmp_path / "p", labels=labels)
    data = SegmentationDataset(load_spec(tmp_path / "p"), "train")
    thresholds = class_thresholds(data, 0.3)
    pairs = [(data.read(i)[1], data.read_weak(i)[1]) for i in range(4)]
    for k in range(2):
        sure = np.concatenate([c[m == k] for m, c in pairs])
        assert 0.3 <= (sure >= thresholds[k]).mean() < 0.3 + 0.03
        assert thresholds[k] == pytest.approx(np.quantile(sure, 0.7), abs=0.01)
    assert class_thresholds(data, 1.0).max() < 0.05


def test_doubt_is_a_distribution():
    confidence = torch.linspace(0, 1, 11)
    rest, extra = doubt(confidence, 4)
    torch.testing.assert_close(4 * rest + extra, torch.ones(11))
    torch.testing.assert_close(rest + extra, confidence.clamp(min=0.25))
    assert (extra >= 0).all()


@pytest.mark.parametrize("collision", [False, True])
def test_uncertain_cross_entropy_is_its_formula(collision):
    logits = torch.randn(2, 4, 5, 7, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4, (2, 5, 7))
    labels[0, 0] = 255
    confidence, weights = torch.rand(2, 5, 7), torch.rand(2, 5, 7)
    rest, extra = doubt(confidence, 4)
    loss = uncertain_cross_entropy(logits.log_softmax(1), labels, rest, extra, collision=collision, weights=weights)
    valid = labels != 255
    y = rest[:, None] + extra[:, None] * torch.nn.functional.one_hot(labels.clamp(max=3), 4).movedim(-1, 1)
    p = logits.softmax(1)
    each = -(y * p).sum(1).log() if collision else -(y * p.log()).sum(1)
    torch.testing.assert_close(
        loss.double(), (each * weights * valid).sum() / (weights * valid).sum(), rtol=1e-5, atol=1e-6
    )
    # A certain label leaves the ordinary cross-entropy.
    certain = doubt(torch.ones(2, 5, 7), 4)
    plain = weighted_cross_entropy(logits.float(), labels)
    torch.testing.assert_close(
        uncertain_cross_entropy(logits.float().log_softmax(1), labels, *certain, collision=collision),
        plain,
        rtol=1e-5,
        atol=1e-6,
    )
    nothing = uncertain_cross_entropy(
        logits.log_softmax(1), torch.full_like(labels, 255), rest, extra, collision=collision
    )
    assert nothing == 0


@pytest.mark.parametrize("kind", ["cross_entropy", "soft", "collision"])
def test_pixel_loss_of_a_latent_prior_with_weights_and_doubt(kind):
    B, V, R, f, h, w = 2, 6, 5, 2, 3, 4
    hidden = torch.randn(B, R, h, w, requires_grad=True)
    weight, bias = torch.randn(V, R, requires_grad=True), torch.randn(V, requires_grad=True)
    table = torch.rand(V, K, f, f) + 0.05
    table /= table.sum(1, keepdim=True)
    labels = torch.randint(0, K, (B, h * f, w * f))
    labels[0, :2] = 255
    targets = torch.randint(0, V, (B, 1, h, w))
    weights, confidence = torch.rand(B, h * f, w * f), torch.rand(B, h * f, w * f)
    unsure = None if kind == "cross_entropy" else doubt(confidence, K)
    total, _, pixel = token_and_pixel_loss(
        hidden, weight, bias, targets=targets, target_probs=torch.ones(B, 1, h, w), labels=labels, table=table,
        token_scale=0.3, pixel_scale=0.7, pixel_weights=weights, doubt=unsure, collision=kind == "collision", chunk=5,
    )  # fmt: skip
    grads = torch.autograd.grad(total, (hidden, weight, bias))
    z = (hidden.permute(0, 2, 3, 1).reshape(-1, R) @ weight.t() + bias).log_softmax(1)
    token = -z.gather(1, targets.flatten()[:, None]).mean()
    mixture = torch.einsum("nv,vkij->nkij", z.exp(), table)  # [N, K, f, f]
    cells, c, m = (to_cells(x, f).flatten(0, 2) for x in (labels, confidence, weights))
    rest, extra = (torch.zeros_like(c), torch.ones_like(c)) if unsure is None else doubt(c, K)
    y = rest[:, None] + extra[:, None] * torch.nn.functional.one_hot(cells.clamp(max=K - 1), K).permute(0, 3, 1, 2)
    each = -(y * mixture.log()).sum(1) if kind == "soft" else -(y * mixture).sum(1).log()
    m = m * (cells != 255)
    wanted = (each * m).sum() / m.sum()
    torch.testing.assert_close(pixel, wanted.detach(), rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(
        grads, torch.autograd.grad(0.3 * token + 0.7 * wanted, (hidden, weight, bias)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_classes_without_seeds(spec, tmp_path):
    def two(number):
        return np.where(truth(number) == 2, 255, truth(number)).astype(np.uint8)

    write(spec, tmp_path / "p", labels=two, confidence=False)
    assert read_manifest(tmp_path / "p")["never_labelled"] == ["c"]
    data = SegmentationDataset(load_spec(tmp_path / "p"), "train")
    with pytest.raises(ValueError, match=r"no pixel of split 'train' .* is labelled c: .*weak.allow_missing=true"):
        check_seeds(data, allow=False)
    with pytest.warns(UserWarning, match="is labelled c"):
        check_seeds(data, allow=True)
    write(spec, tmp_path / "q", labels=lambda n: truth(n) if n == 1 else np.full(SIZE, 255, np.uint8), confidence=False)
    assert read_manifest(tmp_path / "q")["all_abstain"] == ["0", "2", "3"]
    Image.fromarray(np.full(SIZE, 255, np.uint8)).save(tmp_path / "q" / "masks" / "1.png")
    with pytest.raises(ValueError, match="has a label: all of them are unlabelled"):
        check_seeds(SegmentationDataset(load_spec(tmp_path / "q"), "train"), allow=True)
    check_seeds(SegmentationDataset(load_spec(spec.root), "val"), allow=False)  # full masks are not looked at


def test_full_and_pseudo_masks_in_one_batch(spec, tmp_path):
    """Domains with and without confidence give samples of the same keys, and numbers keep their classes."""
    write(spec, tmp_path / "p")
    both = "classes: [{}]\ndomains:\n  full: {{spec: ./full.yaml}}\n  pseudo: {{spec: ./p}}\n"
    (tmp_path / "full.yaml").write_text(
        "root: .\nimage: images/val/{id}.png\nmask: masks/val/{id}.png\nsplits: [train]\nclasses: [a, b, c]\n"
    )
    (tmp_path / "both.yaml").write_text(both.format("a, b, c"))
    data = open_split(load_spec(tmp_path / "both.yaml"), "train")
    batch = torch.utils.data.default_collate([data[0], data[3]])
    assert data.ids[0] == "full/0" and data.ids[3] == "pseudo/1"
    assert batch["confidence"][0].eq(1).all() and not batch["confidence"][1].eq(1).all()
    assert not batch["tags"][0].any() and batch["tags"][1].any() and not batch["exhaustive"].any()
    (tmp_path / "both.yaml").write_text(both.format("c, b, a"))
    with pytest.raises(ValueError, match="are about its own classes"):
        open_split(load_spec(tmp_path / "both.yaml"), "train")


def twin(folder, *more):
    pairs = [pair for pair in PRIOR if not pair.startswith(("data.crop", "train.batch"))]
    return load_config(
        PriorConfig, [], [f"data.spec={folder}", "data.crop=[32,48]", "train.batch_size=2", *pairs, *more]
    )


def test_training_on_pseudo_masks(spec, tmp_path):
    def some(number):
        labels = truth(number)
        labels[:, :16] = 255
        return np.full(SIZE, 255, np.uint8) if number == 3 else labels

    write(spec, tmp_path / "p", labels=some)
    for more in ((), ("weak.weighting=threshold", "weak.loss=collision"), ("weak.weighting=share", "weak.loss=soft")):
        out = tmp_path / f"run{len(more) and more[0][-1]}"
        metrics = train("twin", twin(tmp_path / "p", "train.steps=3", *more), out)
        assert 0 <= metrics["aux_miou"] <= 1
        losses = [json.loads(line).get("loss") for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert all(np.isfinite(value) for value in losses if value is not None)
    with pytest.raises(ValueError, match="is labelled c"):
        write(spec, tmp_path / "q", labels=lambda n: np.minimum(truth(n), 1))
        train("twin", twin(tmp_path / "q", "train.steps=1"), tmp_path / "no")


def test_linear_weights_reach_the_loss(spec, tmp_path):
    """Pixels of confidence 0 might as well be void, and a constant confidence changes nothing."""
    from gss.posterior.bundle import Posterior
    from gss.training.prior.task import PriorTask
    from gss.training.prior.train import load_posterior

    write(spec, tmp_path / "p")
    cfg = twin(tmp_path / "p", "loss.token=0", "loss.pixel=0")
    data = build_dataset(cfg.data, "train", train=False)
    posterior: Posterior = load_posterior(cfg, data, twin=True)
    task = PriorTask(cfg, posterior, data, data).eval()
    batch = torch.utils.data.default_collate([data[0], data[1]])
    upper = batch["labels"].clone()
    upper[:, 16:] = 255
    masked = task({**batch, "labels": upper, "confidence": torch.ones_like(batch["confidence"])}, 0)["loss"]
    zeroed = torch.ones_like(batch["confidence"])
    zeroed[:, 16:] = 0
    torch.testing.assert_close(task({**batch, "confidence": zeroed}, 0)["loss"], masked)
    plain = task({key: value for key, value in batch.items() if key != "confidence"}, 0)["loss"]
    half = torch.full_like(batch["confidence"], 0.5)
    torch.testing.assert_close(task({**batch, "confidence": half}, 0)["loss"], plain)
