"""Mapping files, where a mapping comes from, and `gss data map`."""

import json

import pytest
from mseg_toys import TABLE, write

from gss import cli
from gss.data.mapping import find_mapping
from gss.data.mapping import read_mapping as load_mapping
from gss.data.specs.load import load_spec
from gss.labels.mapping import LabelMapping
from gss.labels.mapping_files import format_mapping, save_mapping
from gss.labels.mseg import MSegTaxonomy
from gss.labels.space import LabelSpace

OURS, THEIRS = LabelSpace(("Sky", "Building", "Lamp")), LabelSpace(("building", "house", "sky", "no"))
TEXT = """from: [Sky, Building, Lamp]
to: [building, house, sky, 'no']
map: {Sky: sky, Building: [house, building], Lamp: null}
"""


def put(tmp_path, text, name="map.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def spec(tmp_path, name, classes, more=""):
    text = f"image: i/{{id}}.png\nmask: m/{{id}}.png\nclasses: [{classes}]\n{more}"
    return load_spec(put(tmp_path, text, f"{name}.yaml"))


def test_read_and_write(tmp_path):
    mapping = load_mapping(put(tmp_path, TEXT))
    assert mapping.matrix.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    save_mapping(mapping, tmp_path / "out.yaml")
    assert load_mapping(tmp_path / "out.yaml") == mapping
    assert (tmp_path / "out.yaml").read_text().startswith("# Classes of `to` that nothing maps to: house, no\n")
    shares = LabelMapping.from_names(
        OURS, THEIRS, {"Sky": {"sky": 0.7, "no": 0.3}, "Building": ["house", "no"], "Lamp": "no"}
    )
    save_mapping(shares, tmp_path / "out.yaml")
    assert load_mapping(tmp_path / "out.yaml") == shares


def test_the_order_asked_for_wins(tmp_path):
    turned = LabelSpace(OURS.names[::-1])
    assert load_mapping(put(tmp_path, TEXT), turned, THEIRS).table.tolist() == [255, 0, 2]
    assert load_mapping(put(tmp_path, "map: {Sky: sky}\nunmapped: drop\n"), OURS, THEIRS).dropped == (
        "Building",
        "Lamp",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "must be a YAML mapping"),
        ("map: [a]\n", "must be a YAML mapping"),
        ("map: {a: [\n", "not valid YAML"),
        ("map: {Sky: sky, Sky: house}\n", "'Sky' is given twice"),
        (TEXT + "form: x\n", "unknown key 'form', did you mean 'from'"),
        (TEXT + "unmapped: skip\n", "must be error or drop"),
        (TEXT + "one_to_one: true\n", "not one-to-one: Building -> building, house"),
        (TEXT.replace("Lamp: null", "lamp: null"), "'lamp' .did you mean 'Lamp'"),
        (TEXT.replace(", Lamp: null", ""), "lacks 1 source classes: Lamp"),
        (TEXT.replace("from: [Sky,", "from: [Sea,"), "only in the file: Sea; only asked for: Sky"),
        (TEXT.replace("to: [building, house, sky, 'no']", "to: nowhere"), "unknown data spec 'nowhere'"),
        (TEXT.replace("to: [building, house, sky, 'no']", "to: 3"), "to is 3"),
    ],
)
def test_mistakes_in_a_file(tmp_path, text, message):
    path = put(tmp_path, text)
    with pytest.raises(ValueError, match=message) as raised:
        load_mapping(path, OURS, THEIRS)
    assert str(path) in str(raised.value)
    with pytest.raises(ValueError, match="from is None"):
        load_mapping(put(tmp_path, "map: {a: b}\n"))
    with pytest.raises(ValueError, match="No such file"):
        load_mapping(tmp_path / "none.yaml")


def test_a_spec_says_what_its_classes_are_elsewhere(tmp_path):
    fine = spec(tmp_path, "fine", "wall, door, lawn", "maps: {coarse: {wall: house, door: house, lawn: null}}\n")
    coarse = spec(tmp_path, "coarse", "house, lake")
    forward, origin = find_mapping(fine, coarse)
    assert (forward.table.tolist(), origin) == ([0, 0, 255], "by what fine says of coarse")
    backward, origin = find_mapping(coarse, fine)
    assert backward.matrix.tolist() == [[0.5, 0.5, 0], [0, 0, 0]]
    assert origin == "by what fine says of coarse, reversed"
    assert [m.target.names for m in backward.common()] == [("wall + door",)] * 2
    broken = spec(tmp_path, "broken", "wall, door", "maps: {coarse: {wall: house}}\n")
    with pytest.raises(ValueError, match="maps of broken: .*lacks 1 source classes: door"):
        find_mapping(broken, coarse)


def test_camvid_and_labelmefacade():
    mapping, _ = find_mapping(load_spec("camvid"), load_spec("labelmefacade"))
    ours, theirs = mapping.common()
    assert mapping.unreachable == ("door", "window")
    assert ours.dropped == ("Pole", "SignSymbol", "Fence", "Pedestrian", "Bicyclist")
    assert theirs.siblings == {"building + door + window": ("building", "door", "window")}
    assert ours.target.num_classes == 6


def test_a_model_with_the_classes_of_a_builtin_spec(tmp_path):
    model = LabelSpace(load_spec("camvid").label_space.names)
    mapping, origin = find_mapping(model, load_spec("labelmefacade"))
    assert origin == "by what labelmefacade says of the model, reversed"
    assert mapping.table.tolist()[:2] == [5, 0]
    scenes, _ = find_mapping(load_spec("scenes_fog"), model)
    assert scenes.siblings == {}
    assert scenes.dropped == scenes.unreachable == ()
    fewer, _ = find_mapping(load_spec("scenes"), load_spec("camvid_known"))
    assert fewer.dropped == ("person", "cyclist")
    assert fewer.target.num_classes == 9


def test_same_classes_and_spelling(tmp_path):
    mapping, origin = find_mapping(load_spec("cityscapes"), load_spec("acdc"))
    assert mapping == LabelMapping.identity(load_spec("cityscapes").label_space)
    assert origin == "the classes are the same"
    turned = LabelSpace(OURS.names[::-1])
    assert find_mapping(OURS, turned)[0].table.tolist() == [2, 1, 0]
    assert find_mapping(OURS, THEIRS)[1] == "by spelling"


def test_by_the_table(tmp_path):
    table = MSegTaxonomy.read(write(tmp_path))
    city = spec(tmp_path, "city", "Car, Caravan, Rider", "mseg: city\n")
    town = spec(tmp_path, "town", "Bike, Car", "mseg: {from: {column: town-5, names: {Bike: Bicyclist}}}\n")
    mapping, origin = find_mapping(city, town, mseg=table)
    assert (mapping.table.tolist(), origin) == ([1, 1, 0], "by the MSeg table")
    assert find_mapping(city, table.universal, mseg=table)[0].target == table.universal
    with pytest.raises(ValueError, match="'town' names no column .*add mseg: COLUMN to its spec"):
        find_mapping(town, city, mseg=table)


def test_the_name_on_both_sides_counts_more_than_that_in_between(tmp_path):
    text = TABLE.replace("|universal|", "|universal|").replace("|car|car.n.01", "|motor_vehicle|car.n.01")
    table = MSegTaxonomy.read(write(tmp_path, text.replace("|Car|background", "|{Truck, Car}|background")))
    city = spec(tmp_path, "city", "Car", "mseg: city\n")
    town = spec(tmp_path, "town", "Truck, Car", "mseg: town-5\n")
    mapping, _ = find_mapping(city, town, mseg=table)
    assert mapping.matrix.tolist() == [[0, 1]]
    assert mapping.links.tolist() == [[True, True]]


def test_text(tmp_path):
    text = format_mapping(load_mapping(put(tmp_path, TEXT)))
    assert "  Building  -> building (covers house)\n" in text
    assert "  Lamp      -> (left out)\n" in text
    assert "never predicted, 2 of 4: house, no" in text
    assert "common classes, 2: building + house, sky" in text


def test_command(tmp_path, capsys):
    spec(tmp_path, "ours", "Sky, Building, Lamp, car")
    spec(tmp_path, "theirs", "building, sky, Car")
    ours, theirs, out = (str(tmp_path / name) for name in ("ours.yaml", "theirs.yaml", "map.yaml"))
    assert cli.main(["data", "map", ours, theirs, "--out", out]) == 0
    text = capsys.readouterr().out
    assert "ours.yaml (4 classes) -> " in text
    assert "theirs.yaml (3 classes), by spelling" in text
    assert load_mapping(out).table.tolist() == [1, 0, 255, 2]
    assert cli.main(["data", "map", ours, theirs, "--out", out]) == 2
    assert "exists and may hold corrections" in capsys.readouterr().err
    (tmp_path / "map.yaml").write_text((tmp_path / "map.yaml").read_text().replace("Lamp: null", "Lamp: Car"))
    assert cli.main(["data", "map", ours, theirs, "--map", out, "--out", out, "--overwrite"]) == 0
    assert "Lamp      -> Car" in capsys.readouterr().out
    assert load_mapping(out).siblings == {"Car": ("Lamp", "car")}


def test_command_with_the_table(tmp_path, capsys):
    table = str(write(tmp_path))
    assert cli.main(["data", "map", "city-relabeled", "town-5", "--mseg", table]) == 0
    assert "motorcyclist  -> Bicyclist" in capsys.readouterr().out
    assert cli.main(["data", "map", "universal", "rooms", "--mseg", table]) == 0
    assert "universal (6 classes)" in capsys.readouterr().out
    assert cli.main(["data", "map", "camvid", "rooms", "--mseg", table]) == 2
    assert "unknown column 'camvid-11'" in capsys.readouterr().err


def test_command_names_classes_the_table_leaves_apart(tmp_path, capsys):
    spec(tmp_path, "rooms", "cabinet, table, lamp", "mseg: rooms\n")
    spec(tmp_path, "flat", "background, Table, Lamp", "mseg: {from: {column: flat-3, leave_out: [Lamp]}}\n")
    files = [str(tmp_path / f"{name}.yaml") for name in ("rooms", "flat")]
    assert cli.main(["data", "map", *files, "--mseg", str(write(tmp_path))]) == 0
    assert "left out although the other side has a class of that name: lamp" in capsys.readouterr().out


def test_command_takes_a_pipeline(tmp_path, capsys):
    folder = tmp_path / "pipeline" / "prior"
    folder.mkdir(parents=True)
    names = dict(enumerate(load_spec("camvid").label_space.names))
    (folder / "config.json").write_text(json.dumps({"id2label": names}))
    assert cli.main(["data", "map", str(folder.parent), "labelmefacade"]) == 0
    assert "Building    -> building (covers door, window)" in capsys.readouterr().out
    (folder / "config.json").write_text("{}")
    assert cli.main(["data", "map", str(folder.parent), "labelmefacade"]) == 2
    assert "names no classes" in capsys.readouterr().err
