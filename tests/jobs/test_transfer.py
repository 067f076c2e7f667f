"""A posterior for other classes: colours by name, by outlines, new ones; codes untouched unless they are refined."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_pipeline import tiny_pipeline

from gss.cli import main
from gss.config.io import load_config
from gss.config.posterior import PosteriorConfig
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.evaluation.reconstruction import reconstruct
from gss.jobs.transfer import describe, format_classes, transfer
from gss.labels.space import LabelSpace
from gss.posterior.bundle import Posterior
from gss.posterior.palette import extend, lattice, maxmin, min_distance
from gss.posterior.reassign import assign_colors, match_names, outline_values
from gss.training.run import train


def space(*names):
    return LabelSpace(names)


def test_names_match_exactly_first_then_whatever_their_case():
    assert match_names(space("Sky", "road", "x"), space("road", "sky")) == {0: 1, 1: 0}
    assert match_names(space("Sky", "sky"), space("sky", "tree")) == {1: 0}
    assert match_names(space("sky"), space("SKY", "Sky")) == {}  # which one?


@given(st.integers(1, 30), st.integers(0, 20))
def test_more_colours_keep_their_distance(count, more):
    palette = lattice(count)
    whole = np.concatenate([palette, extend(palette, more)])
    assert whole.shape == (count + more, 3) and len(np.unique(whole, axis=0)) == len(whole)
    if more:
        # Greedy farthest points: no further colour could lie farther from the rest than the last one does.
        last = np.linalg.norm(whole[:-1].astype(float) - whole[-1], axis=1).min()
        following = np.linalg.norm(whole.astype(float) - extend(whole, 1)[0], axis=1).min()
        assert following <= last + 1e-9
    with pytest.raises(ValueError, match="outside 1 to 255"):
        extend(palette, 256 - count)


def test_outline_values_against_loops():
    cells = torch.randint(0, 3, (40, 2, 2))
    cells[torch.rand(40, 2, 2) < 0.2] = 255
    table = torch.rand(5, 4, 2, 2).softmax(1)
    found = outline_values(cells, table, [2, 0], [3, 1, 0])
    for row, label in enumerate([2, 0]):
        for column, color in enumerate([3, 1, 0]):
            total = 0.0
            for cell in cells:
                if not (cell == label).any():
                    continue
                fits = []
                for z in range(5):
                    p = table[z, color].double()
                    terms = torch.where(cell == label, p.log(), (1 - p).log())
                    fits.append(float(terms[cell != 255].sum()))
                total += max(fits)
            assert float(found[row, column]) == pytest.approx(total, rel=1e-4)


def test_outlines_find_the_colour_with_the_right_shapes():
    """Codes draw colour 1 in columns and colour 2 in rows; a class of columns must take colour 1."""
    column, row = torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0, 0], [1, 1]])
    drawings = [torch.zeros(2, 2).long(), 1 * column, 2 * row]
    table = torch.stack([torch.nn.functional.one_hot(d, 3).movedim(-1, 0) * 0.94 + 0.02 for d in drawings])
    cells = torch.stack([row, column * 2] * 5)  # rows of class 1, columns of class 2
    common = {"cells": cells, "counts": torch.tensor([30, 10, 10]), "table": table}
    found = assign_colors(space("base", "rows", "columns"), space("base", "a", "b"), maxmin(3), **common)
    assert found.origins == (0, 2, 1) and found.named == (True, False, False)
    assert found.colors == tuple(tuple(color) for color in maxmin(3)[[0, 2, 1]].tolist())


def test_left_over_classes_get_new_colours_and_rare_ones_first():
    palette = maxmin(3)
    parts = {"cells": torch.zeros(4, 2, 2).long(), "table": None}
    counts = torch.tensor([5, 0, 50, 7])
    found = assign_colors(space("b", "d", "e", "f"), space("a", "b", "c"), palette, counts=counts, **parts)
    assert found.origins[0] == 1 and found.origins[1] is None
    assert {found.origins[2], found.origins[3]} == {0, 2}
    # Without a table the most frequent class takes the free colour that is farthest from those taken.
    distance = np.linalg.norm(palette[[0, 2]].astype(float) - palette[1], axis=1)
    assert found.origins[2] == [0, 2][int(distance.argmax())]
    assert min_distance(np.array(found.colors)) > 60


NAMES = ("sky", "house", "wall", "road", "lane", "car")
MERGED = (
    "classes: [above, ground, sky]\ndomains:\n  one:\n    spec: ./wide\n"
    "    map: {house: above, wall: above, road: ground, lane: ground, car: above}\n"
)


def rectangles(root, rng):
    """Pictures of overlapping rectangles of six classes."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for split, count in (("train", 6), ("val", 2)):
        for number in range(count):
            mask = np.zeros((32, 44), np.uint8)
            for label in (1, 2, 3, 4, 5) * 2:
                top, left = rng.integers(0, 24), rng.integers(0, 34)
                mask[top : top + rng.integers(4, 14), left : left + rng.integers(4, 18)] = label
            Image.new("RGB", (44, 32)).save(root / f"images/{split}{number}.png")
            Image.fromarray(mask).save(root / f"masks/{split}{number}.png")
        (root / f"{split}.txt").write_text("\n".join(f"{split}{number}" for number in range(count)))
    (root / "classes.json").write_text(json.dumps({"classes": dict(enumerate(NAMES)), "ignore_index": 255}))


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A posterior for six classes, trained for a moment, and the same masks with three classes."""
    root = tmp_path_factory.mktemp("transfer")
    rectangles(root / "wide", np.random.default_rng(0))
    (root / "merged.yaml").write_text(MERGED)
    options = ["data.crop=[32,44]", "vq.hidden_dim=32", "vq.depth=1", "vq.codebook_size=64", "loss.cells=256"]
    options += ["loss.repaint_steps=120", "optim.lr=3e-3", "train.steps=40", "train.batch_size=2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gss.training.posterior.refine._POOL_CELLS", 1500)
        train("posterior", load_config(PosteriorConfig, [], [f"data.spec={root / 'wide'}", *options]), root / "a")
        yield root


def test_posterior_serves_other_classes_without_training(local, tmp_path, capsys):
    arguments = ["transfer", str(local / "a"), "--data", str(local / "merged.yaml"), "--out", str(tmp_path / "b")]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    before, after = Posterior.from_pretrained(local / "a"), Posterior.from_pretrained(tmp_path / "b")
    assert after.label_space.names == ("above", "ground", "sky")
    for name, value in before.vqvae.state_dict().items():
        assert torch.equal(value, after.vqvae.state_dict()[name])
    # The sky keeps its colour, the others take colours of classes that look like them, no two the same.
    rows = json.loads((tmp_path / "b" / "transfer.json").read_text())["classes"]
    assert (rows[2]["from"], rows[2]["how"]) == ("sky", "same name")
    assert len({row["from"] for row in rows}) == 3 and rows[0]["how"] == "best outlines"
    palette = before.codec.palette.round().int().tolist()
    names = before.label_space.names
    assert [row["color"] for row in rows] == [palette[names.index(row["from"])] for row in rows]
    assert after.codec.palette.int().tolist() == [row["color"] for row in rows]
    assert "ceiling on merged val" in text and "best outlines" in text
    # The table is a distribution over the new classes, and its ceiling that of the command.
    assert after.likelihood.table.shape == (64, 3, 4, 4)
    found = json.loads((tmp_path / "b" / "recon.json").read_text())["exact"]
    assert found["miou"] > 0.6
    assert (
        main(["recon", str(tmp_path / "b"), "--data", str(local / "merged.yaml"), "--json", str(tmp_path / "r")]) == 0
    )
    again = json.loads((tmp_path / "r").read_text())["results"][0]["exact"]
    assert again["miou"] == pytest.approx(found["miou"])
    assert main(arguments) == 2  # the folder is taken
    assert "--overwrite" in capsys.readouterr().err


def test_refinement_repaints_and_lifts_classes_that_codes_cannot_paint(local):
    """Back from three colours to six classes: three new colours, which no code was trained to paint."""
    wide, merged = (open_split(load_spec(local / name), "train") for name in ("wide", "merged.yaml"))
    three = transfer(Posterior.from_pretrained(local / "a"), merged).posterior
    plain = transfer(three, wide)
    assert plain.assignment.origins.count(None) == 3
    assert torch.equal(plain.posterior.vqvae.code_embeddings(), three.vqvae.code_embeddings())
    refined = transfer(three, wide, refine_steps=120)
    assert not torch.equal(refined.posterior.vqvae.code_embeddings(), three.vqvae.code_embeddings())
    ceilings = [reconstruct(found.posterior, wide) for found in (plain, refined)]
    assert ceilings[1]["exact"]["miou"] > ceilings[0]["exact"]["miou"] + 0.1
    rows = describe(plain, ceilings[0])
    assert sum(row.how == "new color" for row in rows) == 3
    text = format_classes(rows, refined=False)
    poor = [row.name for row in rows if row.iou < 0.7]
    assert poor and f"hard to express with these codes (IoU below 70%): {', '.join(poor)}; --refine" in text


def test_contextual_decoders_and_void_masks(tmp_path):
    parts = tiny_pipeline(classes=3, codes=16, decoder_type="contextual", likelihood=False)
    posterior = Posterior(parts.codec, parts.vqvae, None, space("road", "sky", "tree"))
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (20, 12)).save(tmp_path / "images" / "a.png")
    mask = np.zeros((12, 20), np.uint8)
    mask[:, 5:] = 1
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    (tmp_path / "train.txt").write_text("a\n")
    (tmp_path / "classes.json").write_text('{"classes": {"0": "Sky", "1": "lake"}, "ignore_index": 255}')
    data = open_split(load_spec(tmp_path), "train")
    found = transfer(posterior, data)
    assert found.posterior.likelihood is None
    assert found.assignment.named == (True, False) and found.assignment.origins[0] == 1
    assert found.posterior.tokens(torch.zeros(1, 8, 8).long(), torch.zeros(1, 8, 8).long()).shape == (1, 2, 2)
    with pytest.raises(ValueError, match="--refine 5: a contextual decoder"):
        transfer(posterior, data, refine_steps=5)
    Image.fromarray(np.full_like(mask, 255)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(ValueError, match="every pixel of the training masks is void"):
        transfer(posterior, open_split(load_spec(tmp_path), "train"))
