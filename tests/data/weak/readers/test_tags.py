"""Tags that others wrote."""

import numpy as np
import pytest
from weak_readers import ReaderChecks, each, opened


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.txt", "a car\nb.png person aeroplane\nc\n"),
        ("t.txt", "a, car\nb, person, aeroplane\nc,\n"),
        ("t.txt", "a 2\nb 3 1\nc\n"),
        ("t.csv", "image,aeroplane,car,person\na,0,1,0\nb,1,0,1\nc,0,0,0\n"),
        ("t.csv", "image,tags\na,car\nb,person;aeroplane\nc,\n"),
        ("t.json", '{"a": ["car"], "b": ["person", 1], "c": []}'),
        (
            "t.json",
            '{"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"},'
            '{"id": 3, "file_name": "c"}],'
            '"categories": [{"id": 5, "name": "car"}, {"id": 6, "name": "person"}, {"id": 8, "name": "aeroplane"}],'
            '"annotations": [{"image_id": 1, "category_id": 5}, {"image_id": 2, "category_id": 6},'
            '{"image_id": 2, "category_id": 8}, {"image_id": 2, "category_id": 6}]}',
        ),
    ],
)
def test_tags_of_every_format_agree(root, name, text):
    (root / name).write_text(text)
    data = opened(root, {"format": "tags", "path": name})
    wanted = [[1, 0, 1, 0], [1, 1, 0, 1], [1, 0, 0, 0]]
    for index in range(3):
        item = data[index]
        assert item["tags"].int().tolist() == wanted[index] and bool(item["exhaustive"])
        assert item["labels"].eq(255).all() and item["filled"].eq(0).all()


def test_tags_as_arrays_folders_and_xml(root):
    (root / "ids.txt").write_text("c\na.png\nb\n")
    weak = {"format": "tags", "path": "t.npy", "ids": "ids.txt"}
    values = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], np.float32)  # c person, a car, b aeroplane
    np.save(root / "t.npy", values)
    data = opened(root, weak)
    assert [data[i]["tags"].nonzero()[:, 0].tolist() for i in range(3)] == [[0, 2], [0, 1], [0, 3]]
    np.save(root / "t.npy", np.hstack([np.ones((3, 1)), values]))
    assert opened(root, weak)[0]["tags"].nonzero()[:, 0].tolist() == [0, 2]
    with pytest.raises(ValueError, match="do not name their images; set 'ids'"):
        opened(root, {"format": "tags", "path": "t.npy"})
    np.save(root / "t.npy", values[:2])
    with pytest.raises(ValueError, match=r"have shape \[2, 3\]; 3 ids and 4 classes"):
        opened(root, weak)
    np.save(root / "t.npy", np.array({"a": values[0]}, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"t\.npy holds no plain array.*pickled .* refused.*CSV or JSON"):
        opened(root, weak)
    for name, ids in (("car", "ab"), ("person", "bc")):
        (root / "sorted" / name).mkdir(parents=True)
        for id in ids:
            (root / "sorted" / name / f"{id}.png").touch()
    data = opened(root, {"format": "tags", "path": "sorted"})
    assert data[1]["tags"].tolist() == [True, False, True, True]
    each(root, "ID.xml", "<a><object><name>car</name></object><object><name>Car</name></object></a>")
    assert opened(root, {"format": "voc_tags", "path": "w/{id}.xml"})[0]["tags"].tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "image,car,person\na,0,2\n", "the row of 'a' needs 0 or 1"),
        ("t.csv", "", r"t\.csv names no image with its classes: it needs a header"),
        ("t.csv", "image,car\n", r"t\.csv names no image with its classes"),
        ("t.txt", "a car\na person\n", "image 'a' has two lines"),
        ("t.json", '{"a": [1}', "not valid JSON"),
        ("t.json", '{"images": [], "annotations": []}', r"t\.json has no 'categories'"),
        ("t.dat", "a car", "must end in .txt, .csv, .json, .npy"),
    ],
)
def test_bad_tags(root, name, text, message):
    (root / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        opened(root, {"format": "tags", "path": name})


class TestTagText(ReaderChecks):
    sample = "tags in text"


class TestTagTable(ReaderChecks):
    sample = "tags by column"


class TestTagNames(ReaderChecks):
    sample = "tags by name"


class TestTagMapping(ReaderChecks):
    sample = "tags in JSON"


class TestTagInstances(ReaderChecks):
    sample = "tags of instances"


class TestTagArray(ReaderChecks):
    sample = "tags in an array"


class TestVocTagReader(ReaderChecks):
    sample = "voc_tags"
