"""Label mappings: construction, algebra, and both ways of applying them, against float64 loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_toys import mappings, random_probs, space

from gss.labels.mapping import LabelMapping
from gss.labels.space import LabelSpace

STREET = LabelSpace(("Sky", "Building", "Wall", "Pavement", "Lamp"))
TOWN = LabelSpace(("sky", "building", "sidewalk", "curb", "sea"))
NAMES = {"Sky": "sky", "Building": "building", "Wall": "building", "Pavement": ["sidewalk", "curb"], "Lamp": None}


def street():
    return LabelMapping.from_names(STREET, TOWN, NAMES)


def test_names_give_the_matrix():
    mapping = street()
    expected = [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0.5, 0.5, 0], [0, 0, 0, 0, 0]]
    assert mapping.matrix.tolist() == expected
    assert mapping.dropped == ("Lamp",)
    assert mapping.siblings == {"building": ("Building", "Wall")}
    assert mapping.divided == {"Pavement": ("sidewalk", "curb")}
    assert mapping.reachable == ("sky", "building", "sidewalk")  # curb is never more probable than sidewalk
    assert mapping.unreachable == ("curb", "sea")
    assert mapping.table.tolist() == [0, 1, 1, 2, 255]


def test_the_general_class_takes_all_and_covers_the_others():
    mapping = LabelMapping.from_names(space("building", "road"), space("road", "house", "Building", "tower"), {
        "building": ["house", "Building", "tower"], "road": "road",
    })  # fmt: skip
    assert mapping.matrix.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]
    assert mapping.links.tolist() == [[False, True, True, True], [True, False, False, False]]
    assert mapping.unreachable == ("house", "tower")
    assert mapping.inverse().to_names() == {
        "road": "road",
        "house": "building",
        "Building": "building",
        "tower": "building",
    }


def test_given_shares():
    mapping = LabelMapping.from_names(space("a"), space("x", "y", "z"), {"a": {"y": 0.75, "x": 0.25}})
    assert mapping.matrix.tolist() == [[0.25, 0.75, 0]]
    assert mapping.table.tolist() == [1]
    partly = LabelMapping.from_names(space("a"), space("x"), {"a": {"x": 0.25}})
    assert partly.table.tolist() == [255]
    assert partly.dropped == ()


def test_combinations_of_divided_classes_can_win():
    shares = {"a": {"x": 0.6, "y": 0.4}, "b": {"z": 0.6, "y": 0.4}}
    mapping = LabelMapping.from_names(space("a", "b"), space("x", "y", "z"), shares)
    assert mapping.reachable == ("x", "y", "z")
    assert mapping.predict(torch.full((2, 1, 1), 0.5)).item() == 1


def test_by_spelling():
    mapping = LabelMapping.by_spelling(space("Traffic Light", "road", "sea"), space("Road", "traffic-light", "ski"))
    assert mapping.to_names() == {"Traffic Light": "traffic-light", "road": "Road", "sea": None}
    with pytest.raises(ValueError, match="no class of the one.*: sea, ski against sky"):
        LabelMapping.by_spelling(space("sea", "ski"), space("sky"))
    with pytest.raises(ValueError, match="'t v' and 'TV' differ in case"):
        LabelMapping.by_spelling(space("tv"), space("t v", "TV"))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"Buildin": "building"}, {}, "source class is called 'Buildin' .did you mean 'Building'"),
        ({"Sky": "skyy"}, {}, "target class is called 'skyy' .did you mean 'sky'"),
        ({"Sky": "skyy", "Lamp": "seaa"}, {}, "'skyy' .did you mean 'sky'\\?., 'seaa' .did you mean 'sea'"),
        ({"Wall": ...}, {}, "lacks 1 source classes: Wall; map them, or write NAME: null"),
        ({"Sky": 3}, {}, "target of 'Sky' is 3"),
        ({"Sky": []}, {}, "target of 'Sky' is \\[\\]"),
        ({"Sky": {"sky": "all"}}, {}, "shares of 'Sky' are .* give numbers"),
        ({"Sky": {"sky": 0.9, "sea": 0.2}}, {}, "shares of 'Sky' are \\[0.9, 0.2\\]"),
        ({"Sky": {"sky": -1.0}}, {}, "shares of 'Sky'"),
        ({"Sky": {"sky": float("nan")}}, {}, "shares of 'Sky'"),
        ({}, {"one_to_one": True}, "not one-to-one: Building, Wall -> building; Pavement -> sidewalk, curb"),
        ({name: None for name in NAMES}, {}, "no class of the one label space"),
    ],
)
def test_mistakes_in_names(change, options, message):
    names = {name: target for name, target in {**NAMES, **change}.items() if target is not ...}
    with pytest.raises(ValueError, match=message) as raised:
        LabelMapping.from_names(STREET, TOWN, names, **options)
    assert "\n" not in str(raised.value)


def test_unmentioned_classes_can_be_dropped():
    mapping = LabelMapping.from_names(STREET, TOWN, {"Sky": "sky"}, unmapped="drop", one_to_one=True)
    assert mapping.dropped == STREET.names[1:]


def test_malformed_shares():
    a, b = space("a"), space("b")
    for shares in ((), (((1, 1.0),),), (((0, 0.5), (0, 0.5)),), (((0, 1.5),),)):
        with pytest.raises(ValueError, match="shares|targets"):
            LabelMapping(a, b, shares)


@settings(max_examples=60, deadline=None)
@given(mappings())
def test_probabilities_match_a_loop(mapping):
    K, T = mapping.source.num_classes, mapping.target.num_classes
    probs = random_probs(K, 2, 3)
    kept = mapping.apply_probabilities(probs, other="keep")
    assert kept.shape == (T + 1, 2, 3)
    expected = np.zeros((T + 1, 2, 3))
    for s in range(K):
        for t in range(T):
            expected[t] += mapping.matrix[s, t] * probs[s].numpy().astype(np.float64)
    expected[T] = 1 - expected[:T].sum(0)
    np.testing.assert_allclose(kept.numpy(), expected, atol=1e-6)
    excluded = mapping.apply_probabilities(probs)
    np.testing.assert_allclose(excluded.numpy(), expected[:T] / expected[:T].sum(0), atol=1e-5)
    np.testing.assert_allclose(excluded.sum(0).numpy(), 1, atol=1e-5)
    batch = mapping.apply_probabilities(torch.stack([probs, probs.flip(0)]))
    torch.testing.assert_close(batch[0], excluded)


@settings(max_examples=60, deadline=None)
@given(mappings())
def test_hard_mapping_is_soft_mapping_of_certain_predictions(mapping):
    K = mapping.source.num_classes
    labels = torch.arange(K).reshape(1, K)
    certain = torch.nn.functional.one_hot(labels, K).movedim(-1, 0).float()
    assert mapping.predict(certain, other="keep").tolist() == mapping.apply_labels(labels).tolist()


@settings(max_examples=60, deadline=None)
@given(mappings())
def test_reachable_classes_are_all_that_is_predicted(mapping):
    K = mapping.source.num_classes
    certain = torch.eye(K)[:, None]
    mixed = random_probs(K, 1, 200).pow(8)
    predicted = torch.cat([mapping.predict(p / p.sum(0)).flatten() for p in (certain, mixed)])
    dropped = [s for s, row in enumerate(mapping.matrix) if not row.any()]
    predicted = predicted[~torch.isin(torch.arange(len(predicted)), torch.tensor(dropped, dtype=torch.long))]
    assert {mapping.target.names[t] for t in predicted.tolist()} <= set(mapping.reachable)


@settings(max_examples=60, deadline=None)
@given(mappings())
def test_common_classes_are_many_to_one_on_both_sides(mapping):
    ours, theirs = mapping.common()
    assert ours.target == theirs.target
    assert not ours.divided
    assert not theirs.divided
    for s, t in zip(*np.nonzero(mapping.links), strict=True):
        assert ours.table[s] == theirs.table[t] != 255
    assert set(ours.table.tolist()) - {255} == set(range(ours.target.num_classes))
    for t, row in enumerate(mapping.links.T):
        assert (theirs.table[t] == 255) == (not row.any())


@settings(max_examples=60, deadline=None)
@given(mappings())
def test_names_rebuild_the_mapping(mapping):
    again = LabelMapping.from_names(mapping.source, mapping.target, mapping.to_names())
    np.testing.assert_allclose(again.matrix, mapping.matrix)
    assert (again.links == mapping.links).all()


@settings(max_examples=60, deadline=None)
@given(mappings(), st.data())
def test_composition_is_one_mapping_after_the_other(mapping, data):
    names = [f"u{k}" for k in range(3)]
    onwards = {t: data.draw(st.sampled_from([*names, None, names[:2]])) for t in mapping.target.names}
    onwards[mapping.reachable[0]] = "u2"
    second = LabelMapping.from_names(mapping.target, space(*names), onwards)
    if not (mapping.matrix @ second.matrix).any():
        return
    both = mapping.then(second)
    probs = random_probs(mapping.source.num_classes, 4, 5)
    one_by_one = second.apply_probabilities(mapping.apply_probabilities(probs, other="keep")[:-1], other="keep")
    torch.testing.assert_close(both.apply_probabilities(probs, other="keep")[:-1], one_by_one[:-1])
    identity = LabelMapping.identity(mapping.target)
    assert identity.matrix.tolist() == np.eye(mapping.target.num_classes).tolist()
    assert mapping.then(identity) == mapping


def test_composition_needs_the_same_classes_in_between():
    with pytest.raises(ValueError, match="only in the first: .*curb.*only in the second: .*Lamp"):
        street().then(LabelMapping.by_spelling(STREET, TOWN))
    turned = LabelSpace(TOWN.names[::-1])
    with pytest.raises(ValueError, match="in another order"):
        street().then(LabelMapping.identity(turned))


def test_inverse_uses_frequencies():
    mapping = LabelMapping.from_names(space("a", "b"), space("x", "y"), {"a": ["x", "y"], "b": "y"})
    assert mapping.inverse().matrix.tolist() == [[1, 0], [1 / 3, 2 / 3]]
    assert mapping.inverse([6, 1]).matrix.tolist() == [[1, 0], [0.75, 0.25]]
    assert mapping.inverse([0, 1]).matrix.tolist() == [[1, 0], [0, 1]]  # x is covered by a alone
    for wrong in ([1], [1, -1], [1, float("nan")]):
        with pytest.raises(ValueError, match="frequency must be 2 numbers"):
            mapping.inverse(wrong)


def test_labels_keep_type_shape_and_void():
    mapping = street()
    labels = np.array([[0, 1, 2], [3, 4, 255]], np.uint8)
    mapped = mapping.apply_labels(labels)
    assert (mapped.dtype, mapped.tolist()) == (np.uint8, [[0, 1, 1], [2, 255, 255]])
    tensor = mapping.apply_labels(torch.from_numpy(labels).long()[None])
    assert (tensor.dtype, tensor.tolist()) == (torch.int64, [mapped.tolist()])
    assert labels.tolist() == [[0, 1, 2], [3, 4, 255]]


@pytest.mark.parametrize("labels", [np.array([5, 254]), torch.tensor([0, 5, 254]), np.array([-1, 5, 254])])
def test_labels_of_another_space_are_refused(labels):
    with pytest.raises(ValueError, match="5, 254, but the source space has the classes 0..4 and void is 255"):
        street().apply_labels(labels)


def test_all_probability_on_dropped_classes():
    mapping = street()
    probs = torch.zeros(5, 1, 1)
    probs[4] = 1
    assert mapping.apply_probabilities(probs).flatten().tolist() == pytest.approx([0.25, 0.25, 0.25, 0.25, 0])
    assert mapping.predict(probs, other="keep").item() == 255
    probs = torch.tensor([1e-30, 0, 0, 3e-30, 1])[:, None, None]
    assert mapping.apply_probabilities(probs).flatten().tolist() == pytest.approx([0.25, 0, 0.375, 0.375, 0])


def test_dropped_classes_win_only_when_kept():
    probs = torch.tensor([0.3, 0.1, 0.15, 0, 0.45])[:, None, None]
    assert street().predict(probs).item() == 0
    assert street().predict(probs, other="keep").item() == 255
    assert street().apply_probabilities(probs).flatten().tolist() == pytest.approx([6 / 11, 5 / 11, 0, 0, 0])


def test_probabilities_of_another_shape_are_refused():
    for probs in (torch.rand(4, 2, 2), torch.rand(5, 2), torch.ones(5, 2, 2, dtype=torch.long)):
        with pytest.raises(ValueError, match=r"probs must be class probabilities \[..., 5, H, W\]"):
            street().apply_probabilities(probs)
    with pytest.raises(ValueError, match="exclude or keep"):
        street().apply_probabilities(torch.rand(5, 2, 2), other="drop")


def test_half_precision_stays():
    probs = random_probs(5, 3, 4).half()
    assert street().apply_probabilities(probs).dtype == torch.float16
