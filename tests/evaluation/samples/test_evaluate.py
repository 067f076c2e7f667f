"""Evaluation of drawn masks with a tiny pipeline."""

import json
import math

import numpy as np
import pytest
import torch
from joint_toys import joint_pipeline
from page_checks import check_answer
from PIL import Image
from tiny_pipeline import NAMES, tiny_pipeline

from gss import cli
from gss.core.errors import InputError
from gss.evaluation import SampleProtocol, evaluate_samples, write_html, write_markdown
from gss.evaluation.samples.bits import BitsCounts
from gss.evaluation.samples.corrections import next_cell
from gss.evaluation.samples.given import choose_given
from gss.evaluation.samples.names import KINDS
from gss.labels.space import LabelSpace

SMALL = {
    "n": 4,
    "steps": 2,
    "orders": 2,
    "kinds": ("random", "strokes"),
    "shares": (0.1, 0.3),
    "completion_images": 2,
    "completion_paths": 1,
    "corrections": 2,
    "correction_images": 1,
    "generated": 7,
}


class Layouts:
    """Images whose classes lie in blocks."""

    def __init__(self, count, *, seed=0, flips=()):
        random = np.random.default_rng(seed)
        self.masks = []
        for _ in range(count):
            mask = np.kron(random.integers(0, 4, (4, 5)), np.ones((8, 10), int))[:30, :44].astype(np.uint8)
            mask[0, :3] = 255
            self.masks.append(mask)
        self.images = [Image.fromarray(random.integers(0, 256, (30, 44, 3), dtype=np.uint8)) for _ in range(count)]
        self.ids = [f"{number}" for number in range(count)]
        self.label_space = LabelSpace(tuple(NAMES))
        self.flips = flips

    def __len__(self):
        return len(self.masks)

    def read(self, index):
        return self.images[index], self.masks[index]


@pytest.fixture(scope="module")
def pipeline():
    return joint_pipeline(one_class_codes=True, window_size=(32, 48))


@pytest.fixture(scope="module")
def result(pipeline):
    data, train = Layouts(8), Layouts(9, seed=1)
    return evaluate_samples(pipeline, data, train=train, protocol=SampleProtocol(**SMALL), pictures=2)


def test_every_part_is_there_and_is_json(result, tmp_path):
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert content["images"] == 8
    assert all(content[part] is not None for part in ("bits", "hypotheses", "completion", "corrections", "layouts"))
    write_html(result, tmp_path / "page.html")
    write_markdown(result, tmp_path / "page.md")
    page, text = ((tmp_path / name).read_text() for name in ("page.html", "page.md"))
    assert "With the joint prior the true masks" in check_answer(page)
    for word in ("Bits per pixel", "Hypotheses", "Completion", "Corrections", "Masks without image"):
        assert word in page and word in text
    assert "mutual information" in page
    assert [picture.width for picture, _ in result.generated] == [4 * (2 * 64 + 2)] * 6
    assert "nearest training mask" in page


def test_hypotheses(result):
    sources = result.hypotheses.sources
    assert set(sources["joint"].energy) == {"prob_unet", "ccdm", "mose", "atfm", "unbiased"}
    assert sources["joint"].several.counts == (1, 4)
    assert sources["joint"].several.best_of[1] >= 0
    assert sources["argmax"].energy["unbiased"].diversity == 0
    assert sources["factorised"].components > sources["argmax"].components
    assert all(0 <= part.auroc <= 1 for part in result.hypotheses.uncertainty.values())
    assert set(result.hypotheses.decodes) == {"hard", "marginal", "refined"}


def test_completion_is_about_pixels_not_given(result):
    points = result.completion.points
    assert [(point.kind, point.share) for point in points] == [
        (kind, share) for kind in SMALL["kinds"] for share in SMALL["shares"]
    ]
    assert all(point.reached == pytest.approx(point.share, abs=0.08) for point in points)
    assert result.completion.images == 2


def test_corrections(result):
    corrections = result.corrections
    assert len(corrections.miou) == len(corrections.paste_miou) == 3
    # Pasting changes nothing else, so it never gets worse.
    assert corrections.paste_miou == sorted(corrections.paste_miou)
    assert corrections.leverage > 0
    assert corrections.images == 1


def test_layouts(result):
    layouts = result.layouts
    assert set(layouts) == {"joint", "unigram", "train", "held out"}
    assert layouts["unigram"].distance.components > layouts["train"].distance.components
    assert layouts["joint"].nearest.mean > 0
    assert layouts["train"].nearest is None
    assert layouts["joint"].distance.masks == (7, 8)


def test_bits_are_those_of_sums_over_codes(pipeline):
    """Independent cells and pixels against loops in float64, of one image."""
    data = Layouts(1, seed=3)
    counts = BitsCounts(pipeline, SampleProtocol(**SMALL))
    counts.update(0, *data.read(0))
    bits = counts.compute()
    image = torch.from_numpy(np.asarray(data.images[0]).astype(np.float32) / 255).movedim(-1, 0)[None]
    padded = torch.nn.functional.pad(image, (0, 0, 0, 2), mode="replicate")
    with torch.no_grad():
        chances = pipeline.predict_tokens(padded).token_logits[0].double().softmax(0)  # [V, h, w]
    table, labels = pipeline.likelihood.table.double(), data.masks[0]
    cells = pixels = 0.0
    for row in range(8):
        for column in range(11):
            likely = torch.ones(len(table), dtype=torch.float64)
            for y in range(4):
                for x in range(4):
                    v, u = 4 * row + y, 4 * column + x
                    if v < 30 and labels[v, u] != 255:
                        p = table[:, labels[v, u], y, x]
                        likely *= p
                        pixels -= math.log2(float(chances[:, row, column] @ p))
            cells -= math.log2(float(chances[:, row, column] @ likely))
    count = (labels != 255).sum()
    assert bits.cells == pytest.approx(cells / count, rel=1e-4)
    assert bits.pixels == pytest.approx(pixels / count, rel=1e-3)


def test_a_part_alone_gives_the_same_numbers(pipeline, result):
    protocol = SampleProtocol(**SMALL, parts=("completion",))
    alone = evaluate_samples(pipeline, Layouts(8), protocol=protocol)
    assert alone.completion == result.completion
    assert alone.hypotheses is None


def test_a_baseline_that_is_handed_in_stands_beside_the_completion(pipeline, result):
    seen = []

    def spread(image, labels):
        seen.append((image.shape, (labels != 255).mean()))
        return np.where(labels == 255, 2, labels)

    protocol = SampleProtocol(**{**SMALL, "kinds": ("random",)}, parts=("completion",))
    points = evaluate_samples(pipeline, Layouts(8), protocol=protocol, spread=spread).completion.points
    assert [point.miou["image"] for point in points] == [point.miou["image"] for point in result.completion.points[:2]]
    assert all(0 < point.miou["walk"] < 0.2 for point in points)  # one class of four is right
    assert len(seen) == 4 and seen[0][0] == (30, 44, 3) and seen[0][1] == pytest.approx(0.1, abs=0.05)
    assert "walk" not in result.completion.points[0].miou


@pytest.mark.parametrize("kind", KINDS)
def test_given_pixels_have_their_share_and_no_void(kind):
    labels = Layouts(1, seed=5).masks[0]
    for share in (0.05, 0.3):
        given = choose_given(labels, kind, share, 4, np.random.default_rng(0))
        assert given.shape == labels.shape
        assert not given[labels == 255].any()
        # Regions are given as a whole, up to half more than the share.
        assert given.mean() == pytest.approx(share, abs=0.55 * share if kind == "components" else 0.08)


def test_the_next_cell_lies_deep_in_the_largest_wrong_region():
    labels, mask = np.zeros((24, 32), np.uint8), np.zeros((24, 32), np.uint8)
    mask[2:4, 2:30] = 1  # larger, but thin: 56 pixels
    mask[10:19, 12:21] = 1  # 81 pixels
    assert next_cell(mask, labels, 4) == (slice(12, 16), slice(16, 20))
    labels[10:19, 12:21] = 255
    assert next_cell(mask, labels, 4)[0] == slice(0, 4)
    assert next_cell(labels, labels, 4) is None


def test_ambiguous_labels_and_the_command(tmp_path, capsys):
    spec = tmp_path / "data.yaml"
    spec.write_text(
        "generator: scenes\nname: two\nlength: {train: 7, val: 2}\nimage_size: [32, 48]\n"
        "classes: [ground, rest]\nlabel_flips: {ground: 0.3}\n"
        "label_map: [[0, 1], [2, 3, 4, 5, 6, 7, 8, 9, 10]]\n"
    )
    pipeline = joint_pipeline(classes=3, one_class_codes=True)
    pipeline.prior.config.id2label = dict(enumerate(["ground", "rest", "ground_2"]))
    pipeline.save_pretrained(tmp_path / "pipeline")
    argv = ["evaluate-samples", str(tmp_path / "pipeline"), "--data", str(spec), "-n", "2", "--steps", "1"]
    argv += ["--completed", "1,1", "--corrections", "1", "--generated", "6", "--kinds", "random", "--shares", "0.2"]
    assert cli.main([*argv, "--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html")]) == 0
    assert "GED² prob_unet" in capsys.readouterr().out
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["hypotheses"]["flips"] == ["ground"]
    modes = content["hypotheses"]["sources"]["joint"]["modes"]
    assert modes["expected"] == pytest.approx([0.7, 0.3], abs=1e-6)
    assert 0 < content["completion"]["points"][0]["miou"]["walk"] <= 1
    assert "Walk along edges" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ("bitz",)}, "unknown part 'bitz', did you mean 'bits'"),
        ({"kinds": ("stroke",)}, "unknown kind of given pixels 'stroke', did you mean 'strokes'"),
        ({"shares": (1.5,)}, "shares holds 1.5"),
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"parts": ()}, "parts is empty"),
    ],
)
def test_bad_settings_are_one_line(options, message):
    with pytest.raises(InputError, match=message):
        SampleProtocol(**options)


def test_what_is_missing_is_named(pipeline):
    with pytest.raises(InputError, match="'gss train joint'"):
        evaluate_samples(tiny_pipeline(), Layouts(1))
    with pytest.raises(InputError, match="train is None"):
        evaluate_samples(pipeline, Layouts(1))
