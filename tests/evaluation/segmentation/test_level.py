"""Modes that are within noise of each other are said to be level, and the page names what it shows."""

import dataclasses

import numpy as np
import pytest
from page_checks import check_answer
from PIL import Image
from tiny_pipeline import tiny_pipeline

from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.evaluation.segmentation.evaluate import evaluate
from gss.evaluation.segmentation.level import difference_errors, level_modes, level_note
from gss.evaluation.segmentation.page import build_page
from gss.evaluation.segmentation.tables import segmentation_tables


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """An evaluation of two classes, background and car."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for index in range(3):
        for part, array in (("images", rng.integers(0, 255, (16, 24, 3))), ("masks", rng.integers(0, 2, (16, 24)))):
            (root / part).mkdir(exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(root / part / f"frame{index}.png")
    (root / "val.txt").write_text("frame0\nframe1\nframe2\n")
    (root / "classes.json").write_text('{"classes": {"0": "background", "1": "car"}}')
    pipeline = tiny_pipeline(classes=2)
    pipeline.prior.config.id2label = {0: "background", 1: "car"}
    return evaluate(pipeline, open_split(load_spec(root), "val"), pictures=0, throughput=False)


def test_errors_are_those_of_paired_differences():
    rng = np.random.default_rng(0)
    unions = np.full((400, 3, 2), 100)
    first = rng.integers(30, 90, (400, 2))
    noise = rng.normal(0, 10, (400, 2))
    hits = np.stack([first, first - 5, first - 5 + noise], axis=1)
    errors = difference_errors(hits, unions)
    assert errors[0] == 0.0 and errors[1] < 1e-9  # the same difference on every image is no chance
    assert errors[2] == pytest.approx(0.1 / np.sqrt(2 * 400), rel=0.2)


def with_mious(result, mious, errors, images=100):
    base = next(iter(result.modes.values()))
    modes = {mode: dataclasses.replace(base, miou=miou) for mode, miou in mious.items()}
    return dataclasses.replace(
        result, modes=modes, difference_errors=errors, images=images, default_mode=next(iter(mious))
    )


def test_level_modes_are_named_with_the_rule(result):
    mious = {"hard": 0.5, "marginal": 0.6, "fused": 0.597, "aux": 0.59}
    errors = {"hard": 0.01, "marginal": 0.0, "fused": 0.002, "aux": 0.004}
    some = with_mious(result, mious, errors)
    assert level_modes(some) == ["marginal", "fused"]
    assert level_note(some).startswith("marginal and fused are level in mIoU") and "100 images" in level_note(some)
    assert level_note(some) in segmentation_tables(some).text() and level_note(some) in build_page(some).html()
    assert level_note(with_mious(result, mious, {**errors, "fused": 0.001})) == ""
    assert level_modes(with_mious(result, mious, {}, images=49)) == ["marginal", "fused"]
    assert level_modes(with_mious(result, mious, {}, images=50)) == []


def test_page_of_one_object_names_it_first_and_lists_images_worst_first(result):
    assert set(result.difference_errors) == set(result.modes) and min(result.difference_errors.values()) == 0.0
    page = build_page(result).html()
    assert "the masks reach an IoU of" in check_answer(page) and "for car and a mIoU of" in check_answer(page)
    assert "IoU of car" in page and page.count(f"{result.default_mode} decode, ") >= 4
    listed = page.partition("All 3 images, worst first")[2]
    order = sorted(result.image_scores, key=lambda one: one.miou)
    places = [listed.index(one.id) for one in order]
    assert places == sorted(places)
