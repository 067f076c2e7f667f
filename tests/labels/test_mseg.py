"""The MSeg table: cell syntax, both directions, bridging, mistakes; and the published file where it is given."""

import os
from pathlib import Path

import pytest
from mseg_toys import TABLE, write

from gss.data.mapping import find_mapping
from gss.data.specs.load import builtin_specs, load_spec
from gss.labels.mseg import MSegColumn, MSegTaxonomy, read_columns
from gss.labels.space import LabelSpace


@pytest.fixture
def table(tmp_path):
    return MSegTaxonomy.read(write(tmp_path))


def test_universal_classes_and_columns(table):
    assert table.universal.names == ("car", "bicyclist", "motorcyclist", "table", "cabinet", "vegetation")
    assert list(table.columns) == ["city", "city-relabeled", "rooms", "town-5", "flat-3"]
    assert table.classes("city").names == ("Car", "Caravan", "Rider", "Veg. (high)", "Ego Car", "Out of ROI")
    assert table.classes("rooms").names == ("coffee table", "table", "cabinet", "buffet", "lamp")
    assert table.classes("flat-3").names == ("background", "Table")


def test_from_a_training_set(table):
    mapping = table.to_universal("city")
    assert mapping.to_names() == {
        "Car": "car",
        "Caravan": "car",
        "Rider": "bicyclist",
        "Veg. (high)": "vegetation",
        "Ego Car": None,
        "Out of ROI": None,
    }


def test_to_a_test_set(table):
    mapping = table.from_universal("town-5")
    assert mapping.to_names() == {
        "car": "Car",
        "bicyclist": "Bicyclist",
        "motorcyclist": "Bicyclist",
        "table": None,
        "cabinet": None,
        "vegetation": "Tree",
    }
    assert table.from_universal("flat-3").siblings["background"] == tuple(
        name for name in table.universal.names if name != "table"
    )


def test_to_a_training_set_prefers_the_general_class(table):
    names = table.from_universal("rooms").to_names()
    assert names["table"] == ["coffee table", "table"]
    mapping = table.from_universal("rooms")
    assert mapping.target.names[mapping.table[3]] == "table"
    assert mapping.unreachable == ("coffee table", "buffet", "lamp")


def test_from_a_test_set_covers_several(table):
    mapping = table.to_universal("town-5")
    assert mapping.divided == {"Bicyclist": ("bicyclist", "motorcyclist")}
    assert mapping.table.tolist() == [0, 1, 5]


def test_bridge(table):
    bridge = table.to_universal("city").then(table.from_universal("town-5"))
    assert bridge.to_names() == {
        "Car": "Car",
        "Caravan": "Car",
        "Rider": "Bicyclist",
        "Veg. (high)": "Tree",
        "Ego Car": None,
        "Out of ROI": None,
    }
    with pytest.raises(ValueError, match="no class of the one label space"):
        table.to_universal("rooms").then(table.from_universal("town-5"))


def test_own_order_and_spelling(table):
    space = LabelSpace(("greenery", "car", "truck"))
    column = MSegColumn("town-5", {"greenery": ("Tree",)}, ("truck",))
    assert table.from_universal(column, space).to_names()["vegetation"] == "greenery"
    assert table.to_universal(column, space).to_names() == {"greenery": "vegetation", "car": "car", "truck": None}


@pytest.mark.parametrize(
    ("names", "column", "message"),
    [
        (("Car", "Tre"), MSegColumn("town-5"), "column 'town-5' .* lacks 'Tre' .did you mean 'Tree'"),
        (("a", "b"), MSegColumn("town-5", {"a": ("Car",)}), "lacks 'b'; name them under mseg"),
        (("Car",), MSegColumn("town-5", {"Car": ("Cra",)}), "lacks 'Car' .did you mean 'Car'"),
        (("Car",), MSegColumn("town-5", {"car": ("Car",)}), "unknown class 'car'"),
        (("Car",), MSegColumn("town-5", {}, ("Cat",)), "unknown class 'Cat'"),
        (("Car",), MSegColumn("town5"), "unknown column 'town5', did you mean 'town-5'"),
    ],
)
def test_classes_and_columns_that_are_not_there(table, names, column, message):
    for direction in (table.to_universal, table.from_universal):
        with pytest.raises(ValueError, match=message):
            direction(column, LabelSpace(names))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("universal", "common"), "no MSeg master table"),
        (lambda text: text.replace("|city|", "|rooms|"), "no MSeg master table"),
        (lambda text: "", "no MSeg master table"),
        (lambda text: text.replace("{coffee table", "coffee table"), "line 5, column 'rooms', has unpaired braces"),
        (lambda text: text.replace("{lamp}", "{lamp, }"), "has an empty name"),
        (lambda text: text.replace("|Car|background", "|Car"), "line 2 has 8 cells, the first line 9"),
        (lambda text: text.replace("|bicyclist||bicyclist|", "|bicyclist|||"), "line 3 has no name"),
        (lambda text: text.replace("|motorcyclist||motorcyclist|", "|x||car|"), "repeated: car"),
    ],
)
def test_files_that_are_no_table(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as raised:
        MSegTaxonomy.read(write(tmp_path, change(TABLE)))
    assert "table.tsv" in str(raised.value)


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match="cannot read the MSeg table"):
        MSegTaxonomy.read(tmp_path / "no.tsv")


def test_columns_of_a_spec():
    both = read_columns("city")
    assert both == {"to": MSegColumn("city"), "from": MSegColumn("city")}
    entry = {"to": {"column": "city", "names": {"a": "b", "c": ["d", "e"]}, "leave_out": ["f"]}, "from": "town-5"}
    expected = MSegColumn("city", {"a": ("b",), "c": ("d", "e")}, ("f",))
    assert read_columns(entry) == {"to": expected, "from": MSegColumn("town-5")}
    assert read_columns(None) == {}
    for wrong in ({"to": "a", "form": "b"}, {"column": 3}, ["a"], {"column": "a", "name": {}}, {"to": ["a"]}):
        with pytest.raises(ValueError, match="mseg"):
            read_columns(wrong)


PUBLISHED = Path(os.environ.get("GSS_MSEG_TABLE", "MSeg_master.tsv"))
published = pytest.mark.skipif(
    not PUBLISHED.is_file(), reason="needs MSeg_master.tsv in the working folder or at GSS_MSEG_TABLE"
)


@published
def test_published_table():
    table = MSegTaxonomy.read(PUBLISHED)
    assert table.universal.num_classes == 194
    for column in table.columns:
        table.to_universal(column)
        assert table.from_universal(column).target == table.classes(column)
    for column in ("voc2012", "pascal-context-60", "camvid-11", "wilddash-19", "kitti-19", "scannet-20"):
        assert table.from_universal(column).divided == {}
    assert table.to_universal("cityscapes-19").then(table.from_universal("kitti-19")).dropped == ()


@published
@pytest.mark.parametrize("name", [name for name in builtin_specs() if load_spec(name).mseg])
def test_specs_find_their_columns_in_the_published_table(name):
    table, spec = MSegTaxonomy.read(PUBLISHED), load_spec(name)
    train, _ = find_mapping(spec, table.universal, mseg=table)
    test, _ = find_mapping(table.universal, spec, mseg=table)
    assert train.source.names == test.target.names == spec.label_space.names
