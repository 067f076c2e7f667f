"""Results that are added to a saved card, and those that training puts there."""

import re

import yaml
from tiny_pipeline import NAMES, tiny_pipeline

from gss.evaluation.segmentation.result import by_mode
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.store.card import NO_RESULTS
from gss.pipeline.store.results import add_results
from gss.pipeline.store.trained import MAYBE_SEEN, SEEN, read_training_data, seen_in_training, training_record

METRICS = {"hard": {"miou": 0.5, "ece": None, "iou": [0.5, None, 0.25, 0.125, 1.0]}, "fused": {"miou": 0.625}}


def head(card: str):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---", card, re.DOTALL)[1])


def test_results_are_added_by_data_and_replaced_by_the_same_data(tmp_path):
    tiny_pipeline().save_pretrained(tmp_path, training_data="streets, split train")
    bare = (tmp_path / "README.md").read_text()
    assert "Not recorded; `gss evaluate` measures them." in bare
    assert add_results(tmp_path, METRICS, "streets val", names=NAMES, mode="hard") == tmp_path / "README.md"
    first = (tmp_path / "README.md").read_text()
    assert "### streets val\n" in first and "| mIoU | 50.0% | 62.5% |" in first
    assert "`gss evaluate` measures them" not in first
    assert "road 50.0%, sky -, tree 25.0%" in first
    add_results(tmp_path, {"hard": {"miou": 0.1}}, "fog val")
    add_results(tmp_path, {"hard": {"miou": 0.9}}, "streets val")
    card = (tmp_path / "README.md").read_text()
    assert card.count("### ") == 2 and "| mIoU | 10.0% |" in card and "| mIoU | 90.0% |" in card and "50.0%" not in card
    # Everything else stays, and the hub reads the same numbers.
    assert (
        card.partition("\n## Results\n")[2].partition("\n## ")[2]
        == bare.partition("\n## Results\n")[2].partition("\n## ")[2]
    )
    assert read_training_data(tmp_path) == "streets, split train"
    results = head(card)["model-index"][0]["results"]
    assert [one["dataset"]["name"] for one in results] == ["fog val", "streets val"]
    assert results[1]["metrics"] == [{"type": "miou", "name": "mIoU (hard)", "value": 0.9}]


def test_a_card_that_is_not_ours_is_left_alone(tmp_path):
    assert add_results(tmp_path, METRICS, "streets val") is None
    (tmp_path / "README.md").write_text("# My model\n")
    assert add_results(tmp_path, METRICS, "streets val") is None
    assert (tmp_path / "README.md").read_text() == "# My model\n"


def test_training_states_what_it_measured(tmp_path):
    figures = {"hard_miou": 0.5, "hard_boundary_f": 0.25, "aux_miou": 0.75, "hard_miou/fog": 0.1, "hard_classes": 4.0}
    metrics = by_mode(figures)
    assert metrics == {"hard": {"miou": 0.5, "boundary_f": 0.25}, "aux": {"miou": 0.75}}
    tiny_pipeline().save_pretrained(tmp_path, metrics=metrics, measured_on="streets val")
    card = (tmp_path / "README.md").read_text()
    assert "### streets val" in card and "| boundary F (3 px) | 25.0% | - |" in card


def test_figures_of_training_images_are_marked_and_stay_out_of_the_model_index(tmp_path):
    tiny_pipeline().save_pretrained(tmp_path)
    add_results(tmp_path, METRICS, "streets val", images=12, command="gss evaluate run --data streets")
    add_results(tmp_path, METRICS, "streets train", images=48, seen=SEEN)
    card = (tmp_path / "README.md").read_text()
    assert "### streets val (12 images)\n" in card and "Made with `gss evaluate run --data streets`." in card
    assert "### streets train (48 images), on the training images\n" in card
    assert [one["dataset"]["name"] for one in head(card)["model-index"][0]["results"]] == ["streets val (12 images)"]
    add_results(tmp_path, METRICS, "streets train", images=47, seen=SEEN)
    add_results(tmp_path, METRICS, "streets val", images=11, seen=SEEN)  # trained on it since
    card = (tmp_path / "README.md").read_text()
    assert card.count("### ") == 2 and "(48 images)" not in card and "(12 images)" not in card
    assert "model-index" not in head(card)


def test_a_pipeline_knows_what_it_was_trained_on(tmp_path):
    assert seen_in_training(tmp_path, "photos", "photos", "train") == MAYBE_SEEN
    assert seen_in_training(tmp_path, "photos", "photos", "val") == ""
    record = training_record("photos", "train", images=48, steps=500, batch_size=8)
    tiny_pipeline().save_pretrained(tmp_path, training_data=record)
    assert "photos, split train (48 images, 500 steps of 8 images)" in (tmp_path / "README.md").read_text()
    assert read_training_data(tmp_path) == "photos, split train"
    assert seen_in_training(tmp_path, "/data/photos", "photos", "train") == SEEN
    assert seen_in_training(tmp_path, "mixture", "photos", "town:train") == SEEN
    assert seen_in_training(tmp_path, "fog", "fog", "train") == seen_in_training(tmp_path, "x", "photos", "val") == ""


def test_a_card_saved_again_keeps_what_is_not_given(tmp_path):
    tiny_pipeline().save_pretrained(tmp_path / "first", training_data="streets, split train", metrics=METRICS)
    add_results(tmp_path / "first", METRICS, "streets val")
    pipeline = GSSPipeline.from_pretrained(tmp_path / "first")
    pipeline.save_pretrained(tmp_path / "again", licence="cc-by-4.0")
    before, card = ((tmp_path / name / "README.md").read_text() for name in ("first", "again"))
    section = before.partition("\n## Results\n")[2].partition("\n## Limits")[0]
    assert "62.5%" in section and section in card  # with the IoU of each class
    assert "streets, split train" in card and "## Licence\n\ncc-by-4.0" in card
    assert head(card) == {**head(before), "license": "cc-by-4.0"}
    # Figures of one's own replace them, and those of other weights do not hold.
    pipeline.save_pretrained(tmp_path / "own", metrics={"hard": {"miou": 0.125}})
    card = (tmp_path / "own" / "README.md").read_text()
    assert "12.5%" in card and "62.5%" not in card and "streets, split train" in card
    pipeline.prior.aux_head.bias.data += 1
    pipeline.save_pretrained(tmp_path / "changed")
    assert NO_RESULTS in (tmp_path / "changed" / "README.md").read_text()
    pipeline = GSSPipeline.from_pretrained(tmp_path / "first", prior=pipeline.prior)
    pipeline.save_pretrained(tmp_path / "other")
    assert NO_RESULTS in (tmp_path / "other" / "README.md").read_text()


def test_loading_draws_no_bars(tmp_path, capsys):
    tiny_pipeline().save_pretrained(tmp_path)
    capsys.readouterr()
    GSSPipeline.from_pretrained(tmp_path)
    assert capsys.readouterr().err == ""
