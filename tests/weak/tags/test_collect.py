"""Collecting images that look like a class: scores, choice, folder, manifest, review page and its list."""

import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from lockstep import Lockstep
from PIL import Image
from torch import nn

from gss.cli import main
from gss.models.tags import TagClassifier
from gss.weak.tags import collect as collecting
from gss.weak.tags import scores as tag_scores
from gss.weak.tags.collect import collect, read_excluded
from gss.weak.tags.scores import score_images

NAMES = ("red", "green", "blue")


class Colours(nn.Module):
    """Logits from the mean colour: the class of a channel where that is bright and the others are not."""

    def __init__(self):
        super().__init__()
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(3, 3)
        with torch.no_grad():
            self.head.weight.copy_(12 * torch.eye(3) - 4)
            self.head.bias.fill_(-2)
        self.shapes = []

    def forward(self, images):
        assert images.min() >= 0 and images.max() <= 1
        self.shapes.append(tuple(images.shape))
        return self.head(self.pool(images))


def paint(path, color, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(color))
    pixels = np.clip(np.array(color) + rng.integers(-5, 6, (size[1], size[0], 3)), 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture
def files(tmp_path):
    """Three red images, brightest first, one green, two dull; one file of the same name in two folders."""
    root = tmp_path / "found"
    return [
        paint(root / "a/one.png", (250, 10, 10)),
        paint(root / "a/two.png", (200, 10, 10), (30, 61)),
        paint(root / "b/one.png", (160, 10, 10)),
        paint(root / "b/meadow.png", (10, 230, 10)),
        paint(root / "b/fog.png", (128, 128, 128)),
        paint(root / "b/night.png", (5, 5, 5)),
    ]


def run(files, tmp_path, **options):
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    return collect(Colours().eval(), NAMES, files, out, size=64, **options), out


def test_scores_are_those_of_the_classifier_whatever_the_batch(files):
    net = Colours().eval()
    found, failed = score_images(net, 3, files, size=64, batch_size=2)
    assert not failed and [one.image for one in found] == [str(path) for path in files]
    for one, path in zip(found, files, strict=True):
        means = np.asarray(Image.open(path)).mean((0, 1)) / 255
        logits = net.head.weight.detach().numpy() @ means - 2
        assert one.predicted == logits.argmax()
        assert one.score == pytest.approx(1 / (1 + np.exp(-logits.max())), abs=2e-3)
    # Shapes share batches, sides are multiples of 32 and the aspect is nearly kept.
    assert {shape[2:] for shape in net.shapes} == {(64, 32), (64, 64)}
    assert max(shape[0] for shape in net.shapes) == 2
    again, _ = score_images(net, 3, files, size=64, batch_size=1)
    for one, other in zip(found, again, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-6)


def test_the_best_of_each_class_become_a_folder_of_images(files, tmp_path):
    result, out = run(files, tmp_path, per_class=2, source="pipelines/tags")
    assert [one.image for one in result.kept] == [str(files[0]), str(files[1]), str(files[3])]
    assert len(result.others) == 3 and not result.failed
    assert sorted(path.name for path in (out / "images").iterdir()) == ["meadow.png", "one.png", "two.png"]
    assert (out / "images/one.png").read_bytes() == files[0].read_bytes()
    assert not any(path.is_symlink() for path in (out / "images").iterdir())
    manifest = json.loads((out / "ood.json").read_text())
    assert manifest["classifier"] == "pipelines/tags" and manifest["per_class"] == 2 and manifest["threshold"] == 0.5
    assert manifest["classes"] == {"red": 2, "green": 1, "blue": 0} and manifest["kept"] == 3
    assert len(manifest["images"]) == 6
    scores = [entry["score"] for entry in manifest["images"]]
    assert scores == sorted(scores, reverse=True)
    first = manifest["images"][0]
    assert (first["image"], first["predicted"], first["kept"]) == (str(files[0]), "red", True)
    assert first["file"] == "images/one.png" and 0.5 < first["score"] <= 1
    assert [entry["kept"] for entry in manifest["images"] if entry["image"] == str(files[2])] == [False]


def test_a_second_run_leaves_rejected_images_out_and_nothing_stale(files, tmp_path):
    run(files, tmp_path, per_class=2)
    rejected = tmp_path / "rejected.txt"
    rejected.write_text(f"{files[1]}\n\n")
    excluded = read_excluded(rejected, files)
    result, out = run(files, tmp_path, per_class=2, excluded=excluded, link=True)
    # The next best takes the place; names are told apart by their folders.
    assert [one.file for one in result.kept] == ["images/a_one.png", "images/b_one.png", "images/meadow.png"]
    assert sorted(path.name for path in (out / "images").iterdir()) == ["a_one.png", "b_one.png", "meadow.png"]
    assert (out / "images/b_one.png").is_symlink() and (out / "images/b_one.png").resolve() == files[2].resolve()
    assert Image.open(out / "images/b_one.png").size == (40, 30)
    assert json.loads((out / "ood.json").read_text())["excluded"] == [str(files[1])]
    page = (out / "review.html").read_text()
    assert json.loads(re.search(r"const earlier = (.*);", page)[1]) == [str(files[1])]


def test_the_page_shows_kept_images_by_class_and_escapes_their_names(files, tmp_path):
    odd = paint(tmp_path / 'found/c/<b>&"x.png', (10, 10, 240))
    _, out = run([*files, odd], tmp_path)
    page = (out / "review.html").read_text()
    assert page.count('<input type="checkbox"') == 5 and page.count("data:image/") == 5
    values = re.findall(r'<input type="checkbox" value="([^"]*)">([\d.]+) holds', page)
    assert [value for value, _ in values[:4]] == [str(path) for path in files[:4]]
    assert "&lt;b&gt;&amp;&quot;x.png" in values[4][0] and "<b>&" not in page
    scores = [float(score) for _, score in values]
    assert scores[0] > scores[1] > scores[2]
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert headings == ["red (3)", "green (1)", "blue (1)"]
    assert "rejected.txt" in page and "localStorage" in page


def test_unreadable_files_are_named_and_the_others_go_on(files, tmp_path):
    broken = tmp_path / "found/b/broken.jpg"
    broken.write_bytes(b"no picture")
    result, out = run([broken, *files], tmp_path)
    assert len(result.kept) == 4 and [failure.image for failure in result.failed] == [str(broken)]
    failed = json.loads((out / "ood.json").read_text())["failed"]
    assert str(broken) in failed[0]["error"] and "cannot read image" in failed[0]["error"]
    with pytest.raises(ValueError, match="none of the 1 images can be read; the first: cannot read image"):
        run([broken], tmp_path)


def test_bad_input_is_refused(files, tmp_path):
    with pytest.raises(ValueError, match="threshold is 1.5"):
        run(files, tmp_path, threshold=1.5)
    with pytest.raises(ValueError, match="threshold is -0.1"):
        run(files, tmp_path, threshold=-0.1)
    with pytest.raises(ValueError, match="per_class is 0"):
        run(files, tmp_path, per_class=0)
    with pytest.raises(ValueError, match="no image to score; give some"):
        run([], tmp_path)
    with pytest.raises(ValueError, match="all 6 are excluded"):
        run(files, tmp_path, excluded=[str(path) for path in files])
    with pytest.raises(ValueError, match=r"none of 2 images .* the highest is 0\.119, for \w+ in .*fog.png; lower"):
        run(files[4:], tmp_path)
    with pytest.raises(ValueError, match=r"logits are \[1, 3\]; they must be \[1, 2\]"):
        score_images(Colours(), 2, files[:1])
    with pytest.raises(ValueError, match="night.png: a logit of the classifier is NaN"):
        score_images(lambda images: torch.full((len(images), 3), torch.nan), 3, files[5:])
    assert not list((tmp_path / "out").iterdir())


def test_a_list_that_names_other_images_is_refused(files, tmp_path):
    rejected = tmp_path / "rejected.txt"
    rejected.write_text(f"{files[0]}\n{tmp_path}/fund/a/two.png\n")
    with pytest.raises(ValueError, match=r"rejected.txt line 2: .* is not among the 6 images") as refused:
        read_excluded(rejected, files)
    assert f"did you mean '{files[1]}'?" in str(refused.value)
    with pytest.raises(ValueError, match="cannot read .*none.txt"):
        read_excluded(tmp_path / "none.txt", files)


class Processes(Lockstep):
    """What collecting asks of `gss.core.distributed`."""

    def __init__(self):
        super().__init__()
        self.barrier = type("Barrier", (threading.Barrier,), {"__call__": threading.Barrier.wait})(2)

    def is_main(self):
        return self.process_index() == 0

    def shard(self, count):
        return range(self.process_index(), count, 2)

    def gather_objects(self, value):
        self.parts[self.process_index()] = value
        self.barrier.wait()
        both = list(self.parts)
        self.barrier.wait()
        return both


def test_two_processes_collect_what_one_does(files, tmp_path, monkeypatch):
    alone, _ = run(files, tmp_path)
    processes = Processes()
    monkeypatch.setattr(tag_scores, "distributed", processes)
    monkeypatch.setattr(collecting, "distributed", processes)
    for found in processes.run(lambda rank: run(files, tmp_path)[0]):
        assert [one.image for one in found.kept] == [one.image for one in alone.kept]
        assert [one.score for one in found.others] == pytest.approx([one.score for one in alone.others])


@pytest.fixture
def classifier(tmp_path):
    """A saved tag classifier of background, red and green that has learned colours in a few steps."""
    torch.manual_seed(0)
    backbone = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1]}
    model = TagClassifier(("background", "red", "green"), 0, backbone, freeze_batch_norm=False, image_size=64)
    colours = torch.eye(3)[:, :, None, None].expand(3, 3, 32, 32)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(40):
        loss = nn.functional.binary_cross_entropy_with_logits(model(colours).logits, torch.eye(3)[:, :2])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2
    model.save_pretrained(tmp_path / "classifier")
    return tmp_path / "classifier"


def test_the_command(classifier, files, tmp_path, capsys):
    out, folder = tmp_path / "out", tmp_path / "found"
    (folder / "a/broken.png").write_bytes(b"")
    command = ["weak", "collect", str(classifier), "--images", str(folder / "a"), str(folder / "b"), "--out", str(out)]
    assert main([*command, "--threshold", "0", "--per-class", "2"]) == 1
    said = capsys.readouterr()
    assert f"cannot read image {folder}/a/broken.png" in said.err and "of 6 images look like a class" in said.out
    manifest = json.loads((out / "ood.json").read_text())
    assert list(manifest["classes"]) == ["red", "green"] and max(manifest["classes"].values()) <= 2
    by_image = {entry["image"]: entry for entry in manifest["images"]}
    assert by_image[str(files[0])]["predicted"] == "red" and by_image[str(files[3])]["predicted"] == "green"
    kept = [entry for entry in manifest["images"] if entry["kept"]]
    assert sorted(path.name for path in (out / "images").iterdir()) == sorted(e["file"][7:] for e in kept)

    (folder / "a/broken.png").unlink()
    assert main(command) == 2 and "already holds" in capsys.readouterr().err
    rejected = tmp_path / "rejected.txt"
    rejected.write_text(str(files[0]) + "\n")
    again = [*command, "--overwrite", "--exclude", str(rejected)]
    assert main([*again, "--threshold", "0"]) == 0
    manifest = json.loads((out / "ood.json").read_text())
    assert manifest["kept"] == 5 and str(files[0]) not in {entry["image"] for entry in manifest["images"]}
    capsys.readouterr()

    rejected.write_text("elsewhere.png\n")
    assert main(again) == 2 and "line 1: 'elsewhere.png' is not among the 6 images" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--threshold", "2"]) == 2
    assert "threshold is 2.0" in capsys.readouterr().err
    command[2] = str(folder)
    assert main([*command, "--overwrite"]) == 2 and "no tag classifier at" in capsys.readouterr().err
    command[4:6] = [str(tmp_path / "classifier")]
    assert main([*command, "--overwrite"]) == 2 and "holds no image" in capsys.readouterr().err


def test_an_image_that_cannot_be_copied_is_named_and_the_others_are_kept(files, tmp_path):
    name = "n" * 245 + ".png"  # fits a folder, but not with the name of its folder in front
    long = [paint(tmp_path / folder / name, (250, 10, 10)) for folder in ("one_folder", "another")]
    result, out = run([*long, files[0]], tmp_path)
    assert [Path(candidate.image).name for candidate in result.kept] == ["one.png"]
    assert {failure.image for failure in result.failed} == {str(path) for path in long}
    assert "too long" in result.failed[0].error
    manifest = json.loads((out / "ood.json").read_text())
    assert manifest["kept"] == 1 and len(manifest["failed"]) == 2
    assert [path.name for path in (out / "images").iterdir()] == ["one.png"]
