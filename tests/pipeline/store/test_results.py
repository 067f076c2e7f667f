"""Results that are added to a saved card, and those that training puts there."""

import re

import yaml
from tiny_pipeline import NAMES, tiny_pipeline

from gss.evaluation.segmentation.result import by_mode
from gss.pipeline.store.card import read_training_data
from gss.pipeline.store.results import add_results

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
