import json

import numpy as np
import pytest
from object_toys import GREEN, RED, folder

from gss.data.outliers.scenes import open_scenes


def test_foreign_scenes(tmp_path):
    root = folder(tmp_path / "scenes", {"a": RED, "b": GREEN})
    _, labels = open_scenes(root, objects=["object"]).read(0)
    assert set(np.unique(labels)) == {0, 254, 255} and labels[0, 0] == 255 and labels[15, 25] == 254
    _, labels = open_scenes(root, exclude=["object"]).read(0)
    assert set(np.unique(labels)) == {0, 255} and labels[15, 25] == 255
    pictures = open_scenes(root / "images")
    assert pictures.ids == ["a", "b"] and not pictures.read(1)[1].any()
    with pytest.raises(ValueError, match="unknown class 'dog'"):
        open_scenes(root, objects=["dog"])
    with pytest.raises(ValueError, match="has no masks/"):
        open_scenes(root / "images", objects=["object"])
    generated = open_scenes("scenes_fog", "val", objects=["car"], exclude=["person"])
    assert len(generated) == 60 and set(np.unique(generated.read(0)[1])) == {0, 254, 255}
    (tmp_path / "void").mkdir()
    with pytest.raises(ValueError, match="holds no picture"):
        open_scenes(tmp_path / "void")


def test_things_are_those_of_coco(tmp_path):
    root = folder(tmp_path / "scenes", {"a": RED})
    (root / "classes.json").write_text(json.dumps({"classes": {"0": "sky", "1": "zebra"}}))
    assert open_scenes(root, objects=["things"]).read(0)[1][15, 25] == 254
