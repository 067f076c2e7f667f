"""What `gss cross-domain` makes of its arguments."""

import pytest
from domain_toys import NAMES, SPACE, map_file, write_domain, write_domains
from tiny_pipeline import tiny_pipeline

from gss.data.specs.load import load_spec
from gss.evaluation.cross_domain.inputs import find_mappings, find_training_domain, group_folders, open_test_sets
from gss.labels.space import LabelSpace


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp("domains"))


def test_groups_of_pipelines():
    assert group_folders(["x/prior_s0/pipeline", "x/prior_s1/pipeline", "x/twin-seed3", "y/other"]) == {
        "prior": {"prior_s0": "x/prior_s0/pipeline", "prior_s1": "x/prior_s1/pipeline"},
        "twin": {"twin-seed3": "x/twin-seed3"},
        "other": {"other": "y/other"},
    }
    assert group_folders(["gen=a/one/pipeline,b/two", "c/key=value"]) == {
        "key=value": {"key=value": "c/key=value"},
        "gen": {"one": "a/one/pipeline", "two": "b/two"},
    }
    for entries, message in (
        (["=a"], "write NAME=FOLDER"),
        (["a="], "write NAME=FOLDER"),
        (["g=a", "g=b"], "every NAME once"),
        (["x/a_s0", "a=b"], "rename yours"),
        (["x/a", "g=x/a/"], "given twice"),
    ):
        with pytest.raises(ValueError, match=message):
            group_folders(entries)


def test_test_sets(folders):
    home, far = (str(folders[name]) for name in ("home", "far"))
    found = open_test_sets([home, f"{far}:test"], [], "val")
    assert {name: (test.split, len(test.images)) for name, test in found.items()} == {
        "home": ("val", 3),
        "far": ("test", 3),
    }
    # Two splits of one data set, and a root for a built-in one.
    write_domain(folders["home"], NAMES, split="other", count=2)
    assert list(open_test_sets([home, f"{home}:other"], [], "val")) == ["home val", "home other"]
    assert list(open_test_sets(["scenes:val", "scenes_night:test"], [], "val")) == ["scenes", "scenes_night"]
    for refs, roots, message in (
        ([home, home], [], "two test sets have the same name and split"),
        ([far], [], "has no split 'val'"),
        ([home], ["camvd=x"], "'camvd'"),
        ([home], ["camvid"], "write NAME=FOLDER"),
        (["camvid"], ["camvid=/nowhere"], "does not exist"),
    ):
        with pytest.raises(ValueError, match=message):
            open_test_sets(refs, roots, "val")


def test_mappings_between_pipelines_and_test_sets(folders, tmp_path):
    tests = open_test_sets([str(folders["home"]), f"{folders['far']}:test"], [], "val")
    spaces = {"model": SPACE}
    by_names = find_mappings(spaces, tests)  # only the sky is called the same
    assert by_names["model", "far"][0].to_names()["sky"] == "sky" and by_names["model", "far"][1] == "by spelling"
    file = str(map_file(tmp_path))
    found = find_mappings(spaces, tests, files=[file])
    assert found["model", "home"][0].to_names() == {name: name for name in SPACE.names}
    assert found["model", "far"][0].reachable[:2] == ("street", "greenery")
    assert file in found["model", "far"][1]
    assert find_mappings(spaces, tests, files=[file], one_to_one=True)["model", "far"][0] == found["model", "far"][0]

    merged = {"tree": "greenery", "pole": "greenery", "sky": "sky"}
    many = str(map_file(tmp_path, names=merged, file="many"))
    assert find_mappings(spaces, tests, files=[many])["model", "far"][0].siblings == {"greenery": ("tree", "pole")}
    for arguments, message in (
        ({"files": [many], "one_to_one": True}, "model on far: .*not one-to-one: tree, pole -> greenery"),
        ({"files": [file, many]}, "are both for model on far"),
        ({"files": [str(map_file(tmp_path, names={"tree": "gren"}, file="a"))]}, "no target class is called 'gren'"),
        ({"files": [str(map_file(tmp_path, names={"treee": "sky"}, file="b"))]}, "no source class is called 'treee'"),
        (
            {"files": [str(map_file(tmp_path, source=["a"], names={"a": "sky"}, file="c"))]},
            "fits no pipeline and test set",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            find_mappings(spaces, tests, **arguments)
    with pytest.raises(ValueError, match="model on home: .*lion, zebra.* against .*road, sky"):
        find_mappings({"model": LabelSpace(("lion", "zebra"))}, tests)


def test_what_classes_json_says(tmp_path):
    more = {"camvid_map": {"meadow": "Tree", "lane": "Road", "barn": "Building", "house": "Building"}}
    folder = write_domain(tmp_path / "country", ["meadow", "lane", "barn", "house"], more=more)
    camvid = load_spec("camvid").label_space
    mapping, origin = find_mappings({"m": camvid}, open_test_sets([str(folder)], [], "val"))["m", "country"]
    assert "country says" in origin
    assert mapping.divided == {"Building": ("barn", "house")} and mapping.unreachable == ("house",)


def test_where_a_group_comes_from(folders, tmp_path):
    twin = tiny_pipeline(vqvae=False)
    tests = open_test_sets([f"{folders['far']}:test", str(folders["home"])], [], "val")
    paths = {}
    for name, recorded in (("a", "home, split train"), ("b", f"{folders['home']}, split train"), ("c", None)):
        paths[name] = str(tmp_path / name)
        twin.save_pretrained(paths[name], training_data=recorded)
    for name in "ab":
        home = find_training_domain("g", [paths[name]], tests)
        assert (home.in_domain, home.source) == ("home", "model card")
    assert find_training_domain("g", [paths["a"]], tests, "far").in_domain == "far"
    twin.save_pretrained(tmp_path / "run" / "pipeline", training_data="home, split train")
    assert find_training_domain("g", [str(tmp_path / "run")], tests).source == "model card"
    unknown = find_training_domain("g", [paths["c"]], tests)
    assert unknown.in_domain == "far" and "records nothing" in unknown.source
    away = find_training_domain("g", [paths["a"]], {"far": tests["far"]})
    assert away.in_domain is None and away.training_data == "home, split train"
    with pytest.raises(ValueError, match="did you mean 'home'"):
        find_training_domain("g", [paths["a"]], tests, "hme")
    with pytest.raises(ValueError, match="differ in training data: home, split train against nothing recorded"):
        find_training_domain("g", [paths["a"], paths["c"]], tests)
