"""Classes that several models and data sets have in common, against pairs and by hand."""

import numpy as np
import pytest
from hypothesis import given
from mapping_toys import mappings, space

from gss.labels.mapping import LabelMapping, common_classes


@given(mappings())
def test_one_pair_has_the_common_classes_of_its_mapping(mapping):
    found = common_classes([[mapping]])
    source, target = mapping.common()
    assert found.space.names == source.target.names
    assert np.array_equal(found.sources[0].matrix, source.matrix)
    assert np.array_equal(found.targets[0].matrix, target.matrix)


def test_three_sides_merge_what_any_of_them_merges():
    model = space("Building", "Road", "Car", "Pole")
    city, town = space("building", "road", "car", "pole"), space("house", "shop", "street", "vehicle", "sea")
    to_city = LabelMapping.by_spelling(model, city)
    to_town = LabelMapping.from_names(
        model, town, {"Building": ["house", "shop"], "Road": "street", "Car": "vehicle", "Pole": None}
    )
    found = common_classes([[to_city, to_town]])
    assert found.space.names == ("building", "road", "car")  # named by the first test set; it has no pole in town
    assert found.sources[0].table.tolist() == [0, 1, 2, 255]
    assert found.targets[0].table.tolist() == [0, 1, 2, 255]
    assert found.targets[1].table.tolist() == [0, 0, 1, 2, 255]
    assert common_classes([[to_town, to_city]]).space.names == ("house + shop", "street", "vehicle")

    coarse = space("built", "ground")  # a second model that cannot tell roads from cars
    to_city2 = LabelMapping.from_names(coarse, city, {"built": ["building", "pole"], "ground": ["road", "car"]})
    to_town2 = LabelMapping.from_names(coarse, town, {"built": ["house", "shop"], "ground": ["street", "vehicle"]})
    both = common_classes([[to_city, to_town], [to_city2, to_town2]])
    assert both.space.names == ("building + pole", "road + car")
    assert both.sources[0].table.tolist() == [0, 1, 1, 0]
    assert both.sources[1].table.tolist() == [0, 1]


def test_nothing_in_common():
    model, first, second = space("a", "b"), space("a"), space("b")
    assert common_classes([[LabelMapping.by_spelling(model, first), LabelMapping.by_spelling(model, second)]]) is None
    with pytest.raises(ValueError, match="no class of the one label space"):
        LabelMapping.by_spelling(first, second)
