"""Data specs: built-in ones on folder trees as their headers show, label maps, and every mistake named."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from benchmark_trees import TREES as OOD_TREES
from image_folders import write_folder
from mixture_trees import TREES as DOMAIN_TREES
from PIL import Image

from gss.cli import main
from gss.config.shared import DataConfig
from gss.core.errors import InputError
from gss.data.check.report import check_data
from gss.data.check.text import format_data
from gss.data.label_map import LabelMap
from gss.data.open import build_dataset
from gss.data.specs.load import builtin_specs, load_spec
from gss.data.specs.spec import named_split

TREES = {  # one image and mask below the root of each file-based spec, and the list file if it has one
    "camvid": ("images/train/a.jpg", "masks/train/a.png", "train.txt"),
    "camvid_known": ("images/train/a.jpg", "masks/train/a.png", "train.txt"),
    "camvid_segnet": ("train/a.png", "trainannot/a.png", None),
    "cityscapes": (
        "leftImg8bit/train/aachen/aachen_0_1_leftImg8bit.png",
        "gtFine/train/aachen/aachen_0_1_gtFine_labelIds.png",
        None,
    ),
    "cityscapes_trainids": (
        "leftImg8bit/train/aachen/aachen_0_1_leftImg8bit.png",
        "gtFine/train/aachen/aachen_0_1_gtFine_labelTrainIds.png",
        None,
    ),
    "ade20k": ("images/training/a.jpg", "annotations/training/a.png", None),
    "voc2012": ("JPEGImages/a.jpg", "SegmentationClass/a.png", "ImageSets/Segmentation/train.txt"),
    "cocostuff": ("images/train2017/a.jpg", "annotations/train2017/a.png", None),
}
CLASSES = {"camvid": 11, "camvid_known": 9, "camvid_segnet": 11, "ade20k": 150, "voc2012": 21, "cocostuff": 171}


def put(root, name, values):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


def yaml_spec(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return path


OWN = "image: images/{id}.png\nmask: masks/{id}.png\nclasses: [sky, road]\n"


def test_every_file_based_builtin_is_covered():
    generated = {name for name in builtin_specs() if load_spec(name).generator or load_spec(name).domains}
    assert generated == {
        "scenes",
        "scenes_fog",
        "scenes_mixed",
        "scenes_night",
        "scenes_outliers",
        "scenes_strangers",
        "scenes_unknown",
    }
    assert set(TREES) | set(OOD_TREES) | set(DOMAIN_TREES) == set(builtin_specs()) - generated


@pytest.mark.parametrize("name", TREES)
def test_builtin_spec_finds_the_tree_in_its_header(tmp_path, name):
    image, mask, listing = TREES[name]
    put(tmp_path, image, np.zeros((2, 3, 3)))
    put(tmp_path, mask, np.zeros((2, 3)))
    if listing:
        (tmp_path / listing).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / listing).write_text("a\n")
    spec = load_spec(name, tmp_path)
    assert spec.label_space.num_classes == CLASSES.get(name, 19)
    assert spec.available_splits()[0] == "train"
    (sample,) = spec.samples("train")
    assert sample.missing == ()
    assert sample.image == tmp_path / image
    assert sample.mask == tmp_path / mask
    assert spec.stray_masks("train") == []


def mapped(name, raw):
    return load_spec(name).label_map.apply(np.array([raw], np.uint8))


def test_builtin_label_maps():
    labels, unknown = mapped("cityscapes", [7, 0, 33, 255, 11, 29])
    assert labels.tolist() == [[0, 255, 18, 255, 2, 255]]
    assert unknown.tolist() == []
    assert mapped("cityscapes_trainids", [0, 18, 255])[0].tolist() == [[0, 18, 255]]
    assert mapped("ade20k", [0, 1, 150])[0].tolist() == [[255, 0, 149]]
    assert mapped("camvid", [0, 10, 11])[0].tolist() == [[0, 10, 255]]
    assert mapped("voc2012", [0, 20, 255])[0].tolist() == [[0, 20, 255]]
    labels, unknown = mapped("cocostuff", [0, 10, 12, 89, 91, 181, 255, 11])
    assert labels.tolist() == [[0, 10, 11, 79, 80, 170, 255, 255]]
    assert unknown.tolist() == [11]  # "street sign" was never annotated
    assert load_spec("cocostuff").label_space.names[80] == "banner"
    assert load_spec("cityscapes").label_space.colors[18] == (119, 11, 32)


def test_generated_specs_carry_the_scene_classes():
    spec = load_spec("scenes_fog")
    assert (spec.generator, spec.options["domain"]) == ("scenes", "fog")
    assert spec.available_splits() == ["train", "val", "test"]
    assert spec.label_space.num_classes == 11


def test_root_comes_from_argument_then_environment_then_spec(tmp_path, monkeypatch):
    spec = yaml_spec(tmp_path, OWN + "root: data\n")
    assert load_spec(spec).root == tmp_path / "data"
    monkeypatch.setenv("GSS_DATA_OWN", str(tmp_path / "variable"))
    assert load_spec(spec).root == tmp_path / "variable"
    assert load_spec(spec, tmp_path / "argument").root == tmp_path / "argument"


@pytest.mark.parametrize("root", [None, "/nowhere/at/all"])
def test_missing_root_says_how_to_set_it(root, monkeypatch):
    monkeypatch.delenv("GSS_DATA_CAMVID", raising=False)
    with pytest.raises(ValueError, match=r"data\.root=FOLDER, --root FOLDER .* GSS_DATA_CAMVID"):
        load_spec("camvid", root).samples("train")


def test_lists_hold_ids_with_or_without_suffix(tmp_path):
    for name in ("a", "b.c", "sub/d"):
        put(tmp_path, f"images/{name}.png", np.zeros((2, 2, 3)))
        put(tmp_path, f"masks/{name}.png", np.zeros((2, 2)))
    (tmp_path / "train.txt").write_text("sub/d.png\n\n a \nb.c\na\n")
    (tmp_path / "val.txt").write_text("\n")
    (tmp_path / "._val.txt").write_bytes(b"left by a file browser")
    spec = load_spec(yaml_spec(tmp_path, OWN + "list: '{split}.txt'\nroot: .\n"))
    assert spec.available_splits() == ["train", "val"]
    samples = spec.samples("train")
    assert [sample.id for sample in samples] == ["sub/d", "a", "b.c"]
    assert not any(sample.missing for sample in samples)
    with pytest.raises(ValueError, match=r"split 'val' .* is empty: .*val\.txt"):
        spec.samples("val")
    with pytest.raises(ValueError, match="no split 'trian', did you mean 'train'. existing splits: train, val"):
        spec.samples("trian")


def test_missing_files_and_stray_masks(tmp_path):
    for name in ("a", "b"):
        put(tmp_path, f"images/{name}.png", np.zeros((2, 2, 3)))
    for name in ("b", "c"):
        put(tmp_path, f"masks/{name}.png", np.zeros((2, 2)))
    (tmp_path / "images" / "._b.png").write_bytes(b"left by a file browser")
    spec = load_spec(yaml_spec(tmp_path, OWN), tmp_path)
    assert [(s.id, s.missing) for s in spec.samples("all")] == [("a", ("mask",)), ("b", ())]
    assert spec.stray_masks("all") == [tmp_path / "masks" / "c.png"]


def test_empty_folder_split(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match="split 'all' .* is empty"):
        load_spec(yaml_spec(tmp_path, OWN), tmp_path).samples("all")


def test_any_suffix_and_repeated_id(tmp_path):
    put(tmp_path, "a/a.jpg", np.zeros((2, 2, 3)))
    put(tmp_path, "a/a_mask.png", np.zeros((2, 2)))
    put(tmp_path, "a/b.jpg", np.zeros((2, 2, 3)))
    text = "image: '{id}/{id}.*'\nmask: '{id}/{id}_mask.*'\nclasses: [x]\n"
    (sample,) = load_spec(yaml_spec(tmp_path, text), tmp_path).samples("all")
    assert (sample.id, sample.missing) == ("a", ())


def test_wildcards_are_part_of_the_id(tmp_path):
    for name in ("a/x1", "a/y1", "b/x2"):
        folder, _, number = name.rpartition("/")
        put(tmp_path, f"{folder}/rgb/{number[0]}_{number[1]}.png", np.zeros((2, 2, 3)))
        put(tmp_path, f"{folder}/label/{number[0]}_{number[1]}.png", np.zeros((2, 2)))
    text = "image: '*/rgb/*_{id}.*'\nmask: '*/label/*_{id}.png'\nclasses: [x]\n"
    spec = load_spec(yaml_spec(tmp_path, text), tmp_path)
    samples = spec.samples("all")
    assert [sample.id for sample in samples] == ["a/x/1", "a/y/1", "b/x/2"]
    assert samples[1].mask == tmp_path / "a/label/y_1.png"
    assert spec.stray_masks("all") == []
    (tmp_path / "a/label/y_1.png").unlink()
    assert spec.samples("all")[1].mask == tmp_path / "a/label/y_1.png"


def test_lists_may_hold_paths_and_folders(tmp_path):
    for name in ("a", "sub/b", "sub/c.d", "sub/deep/e"):
        put(tmp_path, f"images/{name}.png", np.zeros((2, 2, 3)))
        put(tmp_path, f"masks/{name}.png", np.zeros((2, 2)))
    (tmp_path / "train.txt").write_text("images/sub/c.d.png\na\nsub\nimages/none\n")
    spec = load_spec(yaml_spec(tmp_path, OWN + "list: '{split}.txt'\n"), tmp_path)
    samples = spec.samples("train")
    assert [sample.id for sample in samples] == ["sub/c.d", "a", "sub/b", "sub/deep/e", "images/none"]
    assert [sample.missing for sample in samples] == [(), (), (), (), ("image", "mask")]


def test_relations_to_other_label_spaces(tmp_path):
    spec = load_spec(yaml_spec(tmp_path, "base: cityscapes\nname: mine\nmaps: {camvid: {road: Road}}\n"))
    assert (spec.mseg["to"].column, spec.mseg["from"].column) == ("cityscapes-19", "kitti-19")
    assert spec.maps == {"camvid": {"road": "Road"}}
    assert load_spec("scenes").maps["camvid"]["cyclist"] == "Bicyclist"


def test_named_label_map_merges_and_ignores(tmp_path):
    text = OWN + "label_map: {0: sky, 4: road, 5: road, 9: ignore}\nignore: [200]\n"
    labels, unknown = load_spec(yaml_spec(tmp_path, text)).label_map.apply(np.array([[0, 4, 5, 9, 200, 1]]))
    assert labels.tolist() == [[0, 1, 1, 255, 255, 255]]
    assert unknown.tolist() == [1]
    text = OWN + "label_map: [[0, 3], []]\nunlisted: ignore\n"
    labels, unknown = load_spec(yaml_spec(tmp_path, text)).label_map.apply(np.array([[0, 3, 1]]))
    assert (labels.tolist(), unknown.tolist()) == ([[0, 0, 255]], [])


def test_sixteen_bit_values():
    label_map = LabelMap(((1000,), (26000,)), ignore=(65535,))
    labels, unknown = label_map.apply(np.array([[1000, 26000, 65535, 300]], np.uint16))
    assert labels.tolist() == [[0, 1, 255, 255]]
    assert unknown.tolist() == [300]


def test_color_coded_masks(tmp_path):
    text = (
        "image: i/{id}.png\nmask: m/{id}.png\ncolor_coded: true\nignore: [[0, 0, 0], [9, 9, 9]]\n"
        "classes: {sky: [128, 128, 128], road: [128, 64, 128]}\n"
    )
    label_map = load_spec(yaml_spec(tmp_path, text)).label_map
    raw = np.array([[[128, 64, 128], [128, 128, 128], [0, 0, 0], [9, 9, 9], [1, 2, 3]]], np.uint8)
    labels, unknown = label_map.apply(raw)
    assert labels.tolist() == [[1, 0, 255, 255, 255]]
    assert [label_map.show(value) for value in unknown.tolist()] == ["(1, 2, 3)"]


def test_own_spec_over_a_builtin_base(tmp_path):
    spec = load_spec(yaml_spec(tmp_path, "base: voc2012\nname: mine\nmask: SegmentationClassAug/{id}.png\n"))
    assert (spec.name, spec.label_space.num_classes) == ("mine", 21)
    assert (spec.image, spec.mask) == ("JPEGImages/{id}.jpg", "SegmentationClassAug/{id}.png")


def test_bases_in_a_circle(tmp_path):
    (tmp_path / "other.yaml").write_text("base: own\n")
    with pytest.raises(ValueError, match="leads back to itself"):
        load_spec(yaml_spec(tmp_path, "base: other\n"))


def test_specs_in_the_documentation_load(tmp_path):
    text = (Path(__file__).parents[3] / "docs" / "data.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        assert load_spec(yaml_spec(tmp_path, block)).label_space.num_classes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "YAML mapping"),
        ("a: [", "not valid YAML"),
        (OWN + "ignor: 3\n", "unknown key 'ignor', did you mean 'ignore'"),
        ("image: a/{id}\nmask: b/{id}\n", "'classes' is missing"),
        ("image: a.png\nmask: b/{id}\nclasses: [x]\n", "must contain {id}"),
        ("image: '{split}/{id}'\nmask: b/{id}\nclasses: [x]\n", "splits is missing"),
        (OWN + "list: ids.txt\n", "must contain {split}"),
        (OWN.replace("[sky, road]", "[sky, sky]"), "repeated: sky"),
        (OWN.replace("[sky, road]", "{sky: [1, 2, 3], sky: [4, 5, 6]}"), "'sky' is given twice"),
        (OWN.replace("[sky, road]", "{sky: [1, 2, 3], road: [1, 2]}"), "colour of class 'road'"),
        (OWN.replace("[sky, road]", "sky"), "classes must be"),
        (OWN + "label_map: [1]\n", "1 entries for 2 classes"),
        (OWN + "label_map: [1, 1]\n", "value 1 means both class 0 and class 1"),
        (OWN + "ignore: 1\n", "value 1 means both class 1 and ignore"),
        (OWN + "label_map: {0: skyy}\n", "did you mean 'sky'"),
        (OWN + "label_map: {0: sky, 70000: road}\n", "outside 0..65535"),
        (OWN + "label_map: [a, b]\n", "not a raw label value"),
        (OWN + "unlisted: skip\n", "must be error or ignore"),
        (OWN.replace("images/{id}.png", "'*/{id}.png'"), "same number of \\*, all before {id}"),
        ("image: '{id}/*.png'\nmask: '{id}/*.png'\nclasses: [x]\n", "same number of"),
        (OWN + "panoptic: a.json\ncolor_coded: true\nignore: []\n", "panoptic and color_coded exclude each other"),
        (OWN + "maps: [camvid]\n", "maps is .*must be a mapping"),
        (OWN + "maps: {camvid: Sky}\n", "maps must be a mapping"),
        (OWN + "mseg: {to: a, form: b}\n", "mseg has the key 'form'"),
        (OWN + "mseg: [a]\n", "mseg must be COLUMN"),
        (OWN + "color_coded: true\nignore: 3\n", "not a colour"),
        ("base: nothing\n", "base: no spec nothing.yaml"),
        ("base: own\n", "base: no spec own.yaml"),
        ("generator: cubes\n", "only generator is 'scenes'"),
        ("generator: scenes\n", "length is missing"),
        ("generator: scenes\nlength: {train: many}\n", "length of 'train' is 'many'"),
        ("generator: scenes\nlength: {train: 3}\nimage_size: 64\n", "image_size is 64"),
        ("generator: scenes\nlength: {train: 3}\nseed: x\n", "seed is 'x'"),
        (OWN.replace("[sky, road]", "[sky, no]"), "YAML reads the name no as False; put it in quotes: 'no'"),
        (OWN + "label_map: {0: sky, 1: off}\n", "YAML reads the name off"),
        (OWN + "maps: {camvid: {sky: yes}}\n", "YAML reads the name yes"),
        (OWN + "list: [a]\n", "list is .'a'.; it must be text"),
        (OWN + "splits: 3\n", "splits is 3; it must be a list or a mapping"),
        (OWN.replace("images/{id}.png", "{a: b}"), "image is .* must be text"),
        (OWN + "root: [a]\n", "root is .*must be text"),
        ("classes: " + "[" * 3000, "nested too deeply"),
    ],
)
def test_mistakes_in_a_spec_name_file_and_fix(tmp_path, text, message):
    path = yaml_spec(tmp_path, text)
    with pytest.raises(ValueError, match=message) as raised:
        load_spec(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_unknown_spec_suggests_a_builtin():
    with pytest.raises(ValueError, match=r"unknown data spec 'camvd', did you mean 'camvid'.*voc2012"):
        load_spec("camvd")


def folder(tmp_path, masks, classes=None, prefix=""):
    for name, values in masks.items():
        put(tmp_path, f"images/{prefix}{name}.jpg", np.zeros((*np.shape(values), 3)))
        put(tmp_path, f"masks/{prefix}{name}.png", values)
    if classes is not None:
        (tmp_path / "classes.json").write_text(json.dumps(classes))
    return tmp_path


def test_folder_with_classes_and_lists(tmp_path):
    root = folder(tmp_path, {"a": [[3, 0]], "b": [[7, 0]]}, {"classes": {"7": "x", "3": "y"}, "ignore_index": 0})
    (root / "train.txt").write_text("a\n")
    (root / "val.txt").write_text("b\n")
    (root / "README.txt").write_text("These pictures are mine.\n")
    spec = load_spec(root)
    assert spec.label_space.names == ("y", "x")
    assert spec.available_splits() == ["train", "val"]
    assert [sample.id for sample in spec.samples("val")] == ["b"]
    assert spec.label_map.apply(np.array([[3, 7, 0]]))[0].tolist() == [[0, 1, 255]]


@pytest.mark.parametrize("lists", [True, False])
def test_folder_with_a_subfolder_for_each_split(tmp_path, lists):
    for split in ("train", "val"):
        folder(tmp_path, {f"{split}1": [[0, 1]]}, {"classes": {"0": "a", "1": "b"}}, prefix=f"{split}/")
        if lists:
            (tmp_path / f"{split}.txt").write_text(f"{split}1\n")
    spec = load_spec(tmp_path)
    assert spec.available_splits() == ["train", "val"]
    (sample,) = spec.samples("val")
    assert (sample.id, sample.missing) == ("val1", ())


def test_folder_that_says_what_its_classes_are_elsewhere(tmp_path):
    classes = {"classes": {"0": "lawn"}, "camvid_map": {"lawn": "Tree"}, "ignore_name": "various"}
    assert load_spec(folder(tmp_path, {"a": [[0]]}, classes)).maps == {"camvid": {"lawn": "Tree"}}


def test_flat_folder_is_one_split(tmp_path):
    spec = load_spec(folder(tmp_path, {"a": [[0]], "b": [[0]]}, {"classes": {"0": "a"}}))
    assert spec.available_splits() == ["all"]
    assert len(spec.samples("all")) == 2
    assert [len(spec.samples(split)) for split in ("train", "val")] == [1, 1]
    assert {sample.id for split in ("train", "val") for sample in spec.samples(split)} == {
        sample.id for sample in spec.samples("all")
    }


def test_folder_without_classes_infers_and_says_so(tmp_path):
    spec = load_spec(folder(tmp_path, {"a": [[0, 2]], "b": [[255, 0]]}))
    assert spec.label_space.names == ("class_0", "class_1", "class_2")
    assert "inferred 3 classes class_0..class_2" in spec.note


@pytest.mark.parametrize(
    ("masks", "classes", "message"),
    [
        ({"a": [[255]]}, None, "only 255"),
        ({"a": [[0]]}, {"names": ["a"]}, "classes.json: needs"),
        ({"a": [[0]]}, {"classes": {"0": "a", "1": "a"}}, "classes.json: .*repeated: a"),
        ({"a": [[0]]}, {"classes": {"0": "a"}, "ignore_index": 0}, "ignore_index 0 is also class 'a'"),
        ({"a": [[0]]}, {"classes": {"x": "a"}}, "classes.json.*'x', which is not a value of masks"),
        ({"a": [[0]]}, {"classes": {"sky": 0, "sea": 1}}, r'turn it round, as {"0": "sky", ...}'),
        ({"a": [[0]]}, {"classes": {"0": None}}, "name of class 0 is None; write text in quotes"),
        ({"a": [[0]]}, {"classes": {"0": True}}, "name of class 0 is True; write text in quotes"),
        ({"a": [[0]]}, {"classes": ["sky"]}, "classes.json: needs"),
        ({"a": [[0]]}, {"classes": {"0": "a"}, "ignore_index": [255, 0]}, "ignore_index is .*; give one value"),
        ({"a": [[0]]}, {"classes": {"0": "a"}, "ignore_index": "255"}, "ignore_index is '255'; give one value"),
        ({"a": [[0]]}, {"classes": {"1": "a", "01": "b"}}, "twice"),
        ({"a": [[0]]}, {"classes": {"0": "a"}, "camvid_map": "Tree"}, "camvid_map"),
        ({"a": [[0]]}, {"classes": {"0": "a"}, "colors": {"1": [0, 0, 0]}}, "colors must name"),
    ],
)
def test_folders_that_cannot_be_understood(tmp_path, masks, classes, message):
    root = folder(tmp_path, masks, classes)
    with pytest.raises(ValueError, match=message):
        load_spec(root)


def test_binary_masks_with_255_as_a_class(tmp_path):
    classes = {"classes": {"0": "background", "255": "object"}, "ignore_index": None}
    spec = load_spec(folder(tmp_path, {"a": [[0, 255]]}, classes))
    assert spec.label_map.apply(np.array([[0, 255]]))[0].tolist() == [[0, 1]]


def test_repeated_key_in_classes_json(tmp_path):
    folder(tmp_path, {"a": [[0]]})
    (tmp_path / "classes.json").write_text('{"classes": {"0": "a", "0": "b"}}')
    with pytest.raises(ValueError, match="'0' is given twice"):
        load_spec(tmp_path)


def test_folder_without_masks(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match="no images with labels found"):
        load_spec(tmp_path)


def test_split_of_another_data_set(tmp_path):
    assert named_split("camvid:val") == ("camvid", "val") and named_split("C:\\data:val") == ("C:\\data", "val")
    assert named_split("val") is None and named_split("C:/data") is None and named_split("camvid:") is None
    for name, count in (("mine", 3), ("other", 2)):
        folder(tmp_path / name, {f"{name}_{k}": [[0, 1]] for k in range(count)})
    cfg = DataConfig(spec=str(tmp_path / "mine"), root=str(tmp_path / "mine"))
    assert build_dataset(cfg, f"{tmp_path / 'other'}:all", train=False).ids == ["other_0", "other_1"]
    assert len(build_dataset(cfg, "all", train=False)) == 3


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"[" * 100_000, b'{"classes": {"0": "a"}, "ignore_index": 1e999}']
)
def test_damaged_classes_json_is_named(tmp_path, content):
    folder(tmp_path, {"a": [[0]]})
    (tmp_path / "classes.json").write_bytes(content)
    with pytest.raises(InputError, match=r"classes\.json"):
        load_spec(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_classes_json_with_a_byte_order_mark(tmp_path, encoding):
    folder(tmp_path, {"a": [[0]]})
    (tmp_path / "classes.json").write_text('{"classes": {"0": "Straße"}}', encoding=encoding)
    assert load_spec(tmp_path).label_space.names == ("Straße",)


@pytest.mark.parametrize("extra", [{"ignore": 0}, {"ignore_indx": 0}, {"void": [3]}, {"palette": {}}, {"Classes": {}}])
def test_a_setting_of_classes_json_that_is_not_known_is_refused(tmp_path, extra):
    root = write_folder(tmp_path / "street")
    content = {"classes": {str(k): f"c{k}" for k in range(5)}}
    (root / "classes.json").write_text(json.dumps({**content, **extra}))
    with pytest.raises(InputError, match=f"classes.json: unknown key '{next(iter(extra))}'"):
        load_spec(root)
    notes = {"note": "by hand", "ignore_name": "void", "version": 2, "num_classes": 5, "license": {"id": 1}}
    (root / "classes.json").write_text(json.dumps({**content, **notes}))
    assert load_spec(root).label_space.num_classes == 5


def test_a_misspelt_folder_names_the_one_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match=r"no data set 'photoz': .*; did you mean photos\?"):
        load_spec("photoz")
    with pytest.raises(ValueError, match="there is no such folder or file; it looks like a path of Windows"):
        load_spec("C:\\photos")
    with pytest.raises(ValueError, match="there is no such folder or file, did you mean photos/holiday"):
        (tmp_path / "photos/holiday").mkdir()
        load_spec("photoz/holiday")
    with pytest.raises(ValueError, match=r"no data set '/nowhere/else': there is no such folder or file"):
        load_spec("/nowhere/else")


def test_without_a_list_to_validate_on_a_part_of_the_other_validates(tmp_path, capsys):
    root = folder(tmp_path, {id: [[0, 1]] for id in "abcdef"}, {"classes": {"0": "a", "1": "b"}})
    (root / "train.txt").write_text("f\na\nb\nc\nd\n")
    spec = load_spec(root)
    assert "splits train from lists, no val: the first 4 of 5 train, 1 validate" in spec.note
    assert [[sample.id for sample in spec.samples(split)] for split in ("train", "val")] == [[*"fabc"], ["d"]]
    assert (spec.validation_advice(), spec.readable_splits()) == ("", ["train", "val"])
    assert main(["data", "init", str(root)]) == 0
    assert "splits train, val" in capsys.readouterr().out
    written = (root / "data.yaml").read_text()
    assert "the first 4 of 5 train, 1 validate" in written and "\nvalidate: 0.2\n" in written
    (root / "data.yaml").write_text(written.replace("validate: 0.2", "validate: 0.4"))
    assert [len(load_spec(root).samples(split)) for split in ("train", "val")] == [3, 2]


def test_a_misspelt_split_is_told_those_that_were_inferred(tmp_path):
    root = folder(tmp_path, {id: [[0, 1]] for id in "abcdef"}, {"classes": {"0": "a", "1": "b"}})
    with pytest.raises(InputError, match="no split 'vaal', did you mean 'val'. existing splits: train, val, all$"):
        load_spec(root).check_split("vaal")


def test_the_next_commands_of_data_init_are_quoted_for_the_shell(tmp_path, capsys):
    root = folder(tmp_path / "my photos (1)", {id: [[0, 1]] for id in "abcdef"}, {"classes": {"0": "a", "1": "b"}})
    assert main(["data", "init", str(root)]) == 0
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines() if line.startswith(("next:", "then:"))]
    assert [line[:3] for line in lines] == [["next:", "gss", "data"], ["then:", "gss", "quickstart"]]
    assert all(str(root) in line for line in lines)


def test_data_init_names_the_folder_that_may_be_meant(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for given, words in (("photoz", "there is no such folder, did you mean photos?"), ("C:\\photos", "of Windows")):
        assert main(["data", "init", given]) == 2
        assert words in capsys.readouterr().err


def test_a_spec_without_a_split_to_validate_on_says_what_to_add(tmp_path, capsys):
    root = folder(tmp_path, {id: [[0, 1]] for id in "abc"}, {"classes": {"0": "a", "1": "b"}})
    (root / "train.txt").write_text("a\nb\nc\n")
    text = "root: .\nimage: images/{id}.*\nmask: masks/{id}.*\nlist: '{split}.txt'\nsplits: [train]\nclasses: [a, b]\n"
    (root / "data.yaml").write_text(text)
    advice = "write val.txt and name it in splits of the spec, or add 'validate: 0.2' there: a fifth of train"
    with pytest.raises(InputError, match=f"no split 'val'.* existing splits: train; {advice}$"):
        load_spec(root).check_split("val")
    assert main(["data", "check", str(root)]) == 0
    printed = capsys.readouterr().out
    assert f"no split validates: {advice}" in " ".join(printed.split()) and "1 warning" in printed
    assert check_data(load_spec(root), "train").domains[0].warnings == ()
    (root / "data.yaml").write_text(f"{text}validate: 0.2\n")
    assert [len(load_spec(root).samples(split)) for split in ("train", "val")] == [2, 1]


@pytest.mark.parametrize(
    ("splits", "share", "words"),
    [
        ("[train, val]", "0.2", "there are the splits train, val"),
        ("[train]", "1.5", "validate is 1.5; it is the share"),
        ("[train]", "yes", "validate is True; it must be a number between 0 and 1"),
    ],
)
def test_a_share_to_validate_on_that_makes_no_sense_is_refused(tmp_path, splits, share, words):
    files = "image: i/{id}.*\nmask: m/{id}.*\nlist: '{split}.txt'\nclasses: [a]"
    (tmp_path / "own.yaml").write_text(f"{files}\nsplits: {splits}\nvalidate: {share}\n")
    with pytest.raises(InputError, match=words):
        load_spec(tmp_path / "own.yaml")


def test_folders_to_train_on_without_one_to_validate_on(tmp_path):
    spec = load_spec(folder(tmp_path, {"a": [[0]], "b": [[0]]}, {"classes": {"0": "a"}}, prefix="train/"))
    assert "splits train from folders, no val: the first 1 of 2 train, 1 validate" in spec.note
    assert [[sample.id for sample in spec.samples(split)] for split in ("train", "val")] == [["a"], ["b"]]
    assert len(spec.as_listed().samples("train")) == 2  # as objects and outliers are read


def test_the_check_counts_the_parts_of_an_undivided_folder(tmp_path):
    root = folder(tmp_path, {id: [[0, 1]] for id in "abcdef"}, {"classes": {"0": "a", "1": "b"}})
    splits = check_data(load_spec(root)).domains[0].splits
    assert [(split.split, split.images) for split in splits] == [("train", 5), ("val", 1)]
    text = format_data(check_data(load_spec(root)))
    assert text.count(f"\n{'train'}: 5 images") == 1 and "\nval: 1 image;" in text
