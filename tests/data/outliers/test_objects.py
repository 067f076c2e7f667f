import json

import numpy as np
import pytest
from object_toys import GREEN, RED, folder

from gss.core.errors import InputError
from gss.data.outliers.objects import check_unknown, fingerprint, open_objects


def test_objects_of_a_folder(tmp_path):
    root = folder(tmp_path / "objects", {"a": RED, "b": GREEN, "c": RED, "d": GREEN, "e": RED})
    objects = open_objects(root)
    assert objects.ids == ["a", "b", "c", "d", "e"] and objects.categories[1] == "thing b"
    picture = np.asarray(objects.cut(1))
    assert picture.shape == (20, 30, 4) and (picture[picture[..., 3] == 255][:, :3] == GREEN).all()
    assert set(np.unique(picture[..., 3])) == {0, 255}
    assert open_objects(root, "train").ids == ["a", "b", "c", "d"] and open_objects(root, "val").ids == ["e"]
    assert open_objects(root, exclude=["Thing A", "thing e"]).ids == ["b", "c", "d"]
    with pytest.raises(ValueError, match="holds no object .* 10000 pixels"):
        open_objects(root, min_pixels=10_000)
    (root / "held.txt").write_text("e\n")
    assert open_objects(root, "held").ids == ["e"]


def test_bad_object_folders(tmp_path):
    root = folder(tmp_path / "some", {"a": RED, "b": RED, "c": GREEN}, empty=("b", "c"))
    with pytest.raises(ValueError, match=r"2 of 3 masks of .* show no object, first: .*b\.png"):
        open_objects(root)
    with pytest.raises(ValueError, match="no images with labels found"):
        open_objects(folder(tmp_path / "none", {}))
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="no images with labels found"):
        open_objects(tmp_path / "bare")
    with pytest.raises(ValueError, match="no data set .*nowhere.: there is no such folder"):
        open_objects(tmp_path / "nowhere")
    lost = folder(tmp_path / "lost", {"a": RED, "b": RED})
    (lost / "masks" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"1 objects of .* lack a file, first: .*b"):
        open_objects(lost)
    (lost / "objects.json").write_text('{"a": 1}')
    (lost / "images" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"objects.json must be a list, but is {'a': 1}"):
        open_objects(lost)


def test_objects_of_known_classes_are_refused(tmp_path):
    objects = open_objects(folder(tmp_path / "objects", {"a": RED, "b": GREEN}))
    check_unknown(objects, ["road", "thing"])
    with pytest.raises(ValueError, match=r"'thing b' are no outliers, because 'Thing B' .* add thing b to"):
        check_unknown(objects, ["road", "Thing B"])


def test_fingerprint_of_ids():
    assert fingerprint(["a", "b"], []) == fingerprint(("a", "b"), ())
    assert len({fingerprint(*ids) for ids in ((["a", "b"],), (["b", "a"],), (["a"], ["b"]), (["ab"],))}) == 4


def test_objects_of_a_spec_in_another_folder(tmp_path):
    folder(tmp_path / "here", {"a": RED, "b": GREEN})
    spec = tmp_path / "own.yaml"
    spec.write_text("image: images/{id}.png\nmask: masks/{id}.png\nclasses: [background, object]\nignore: 255\n")
    assert open_objects(spec, root=tmp_path / "here").ids == ["a", "b"]


def test_objects_of_generated_scenes():
    objects = open_objects("scenes_unknown", "val", min_pixels=60)
    assert len(objects) == 60 and objects.ids[3].endswith("/val_00003")
    half = open_objects("scenes_outliers", "val")
    assert half.ids[3] == "clear 0 crate+ball+sofa+suitcase/val_00003" and not set(half.ids) & set(objects.ids)
    pictures = [objects.cut(index) for index in (0, 1)]
    assert all((np.asarray(picture)[..., 3] == 255).sum() >= 60 for picture in pictures)
    assert np.array_equal(pictures[0], objects.cut(0)) and not np.array_equal(
        *map(np.asarray, (pictures[0], pictures[1]))
    )


def test_categories_of_other_objects_are_refused(tmp_path):
    root = folder(tmp_path / "objects", {"a": RED, "b": GREEN})
    (root / "objects.json").write_text(json.dumps([{"name": "a", "category": "ball"}]))
    (root / "held.txt").write_text("b\n")
    assert open_objects(root, "held").ids == ["b"]  # the file is about objects of another split
    (root / "held.txt").unlink()
    (root / "objects.json").write_text(json.dumps([{"name": "a.png", "category": "ball"}]))
    with pytest.raises(InputError, match=r"objects.json names none of the 2 objects, such as 'a', but 'a.png'"):
        open_objects(root)
