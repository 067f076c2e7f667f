"""Losses of out-of-distribution images in the training of a tag classifier."""

import pytest
import torch
from tag_toys import SETTINGS, write

from gss.config.io import load_config
from gss.config.tags import WeakTagsConfig
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.training.weak.tags import TagTask
from gss.training.weak.wood import everywhere_if_unseen


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("toys"))


def test_a_class_that_is_seen_nowhere_leaves_no_window():
    maps, tags = torch.zeros(2, 2, 3, 4), torch.tensor([[True, False], [True, True]])
    maps[1, 0, 1, 1] = 1
    found = everywhere_if_unseen(maps, tags)
    assert (found[0, 0] == 1).all() and (found[0, 1] == 0).all()
    assert torch.equal(found[1, 0], maps[1, 0]) and (found[1, 1] == 1).all()


def test_images_without_windows_cost_nothing(data):
    """A classifier that sees a tagged class nowhere may have it everywhere: no window is background."""
    cfg = load_config(WeakTagsConfig, [], [f"data.spec={data}", *SETTINGS, "wood.ood=self"])
    model = (task := TagTask(cfg, open_split(load_spec(data), "train"), None, None)).classifier
    with torch.no_grad():
        model.classifier.weight.zero_()
    batch = {"image": torch.rand(2, 3, 64, 96), "index": torch.arange(2), "exhaustive": torch.ones(2, dtype=torch.bool)}
    tags = torch.ones(2, 2, dtype=torch.bool)
    terms = task.ood(model, model(batch["image"], features=True), batch, tags, 0)
    assert list(terms) == ["absent"] and terms["absent"] == 0 and terms["absent"].requires_grad
