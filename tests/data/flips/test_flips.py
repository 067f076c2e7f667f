"""Ambiguous labels: the spec key label_flips."""

import pickle

import numpy as np
import pytest

from gss.core.errors import InputError
from gss.data.open import open_split
from gss.data.specs.load import load_spec

SCENES = "generator: scenes\nlength: {{train: 40, val: 60}}\nimage_size: [24, 32]\nname: ambiguous\n{}\n"


@pytest.fixture
def write(tmp_path):
    def write(flips, text=SCENES):
        path = tmp_path / "data.yaml"
        path.write_text(text.format(f"label_flips: {flips}"))
        return path

    return write


def test_classes_get_a_second_one(write):
    space = load_spec(write("{road: 0.25, sky: 0.5}")).label_space
    plain = load_spec("scenes").label_space
    assert space.names == (*plain.names, "road_2", "sky_2")
    assert len(set(space.colors[-2:])) == 2


def test_a_class_flips_for_the_whole_image(write):
    spec = load_spec(write("{road: 0.25, sky: 0.5}"))
    flipped, plain = open_split(spec, "val"), open_split(load_spec(write("{sky: 0}")), "val")
    road, sky = spec.label_space.index("road"), spec.label_space.index("sky")
    first = len(spec.label_space.names) - 2
    counts = np.zeros(2)
    for index in range(len(flipped)):
        labels, before = flipped.read(index)[1], plain.read(index)[1]
        assert labels.dtype == np.uint8
        for row, (label, second) in enumerate(((road, first), (sky, first + 1))):
            assert len(np.unique(labels[before == label])) <= 1
            counts[row] += (labels == second).any()
        other = (before != road) & (before != sky)
        assert np.array_equal(labels[other], before[other])
    # 60 images with probabilities 0.25 and 0.5: four standard deviations.
    assert np.abs(counts / 60 - [0.25, 0.5]).max() < 0.26


def test_the_flips_of_training_change_with_the_epoch_and_fit_filled_labels(write):
    dataset = open_split(load_spec(write("{road: 0.5}")), "train")
    seen = []
    for epoch in (0, 0, 1):
        dataset.set_epoch(epoch)
        seen.append([dataset[index]["labels"].numpy() for index in range(len(dataset))])
        item = dataset[3]
        assert np.array_equal(item["labels"][item["labels"] != 255], item["filled"][item["labels"] != 255])
    assert all(np.array_equal(a, b) for a, b in zip(seen[0], seen[1], strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(seen[0], seen[2], strict=True))
    assert all(np.array_equal(a, dataset.read(index)[1]) for index, a in enumerate(seen[0]))


def test_modes_are_all_masks_with_their_probabilities(write):
    dataset = open_split(load_spec(write("{road: 0.25, sky: 0.5}")), "val")
    masks, chances = dataset.modes(0)
    assert masks.shape[0] == 4
    np.testing.assert_allclose(chances, [0.375, 0.125, 0.375, 0.125])
    number = sum(does << bit for bit, does in enumerate(dataset.flipped(0)))
    assert np.array_equal(masks[number], dataset.read(0)[1])


def test_it_can_be_pickled(write):
    dataset = pickle.loads(pickle.dumps(open_split(load_spec(write("{road: 0.5}")), "val")))
    assert dataset.read(1)[1].shape == (24, 32)
    assert dataset.size == (24, 32)


@pytest.mark.parametrize(
    ("flips", "message"),
    [
        ("{raod: 0.5}", "unknown class 'raod', did you mean 'road'"),
        ("{road: 1.5}", "road is 1.5; it must be a probability"),
        ("{road: often}", "it must be a probability from 0 to 1"),
        ("[road]", "must map class names to probabilities"),
        ("{}", "must map class names to probabilities"),
    ],
)
def test_mistakes(write, flips, message):
    with pytest.raises(InputError, match="data spec .*data.yaml") as caught:
        load_spec(write(flips))
    assert message in str(caught.value)


def test_weak_labels_and_mixtures_do_not_flip(write):
    weak = "image: a/{{id}}.png\nclasses: [road, sky]\nweak: {{format: gss, path: 'w/{{id}}.json'}}\n{}\n"
    with pytest.raises(InputError, match="label_flips and weak exclude each other"):
        load_spec(write("{road: 0.5}", weak))
    with pytest.raises(InputError, match="belongs to the spec of a domain"):
        load_spec(write("{road: 0.5}", "domains: {{a: scenes}}\n{}\n"))
