"""Manifests of pseudo-masks: read as written; one line for a damaged one."""

import json

import pytest
from pseudo_toys import write_data, write_masks

from gss.core.errors import InputError
from gss.weak.manifest import Manifest, read_manifest


@pytest.fixture
def folder(tmp_path):
    write_masks(write_data(tmp_path), tmp_path / "p")
    return tmp_path / "p"


def test_a_manifest_is_read_as_written(folder):
    manifest = read_manifest(folder)
    assert manifest.to_json() == json.loads((folder / "manifest.json").read_text())
    assert manifest.has_confidence and manifest.failed == () and manifest.never_labelled == []
    assert "4 masks, 100.0 % of their pixels labelled" in manifest.summary(folder)


def test_manifests_of_version_0_1_have_no_failures(folder):
    content = json.loads((folder / "manifest.json").read_text())
    del content["failed"]
    (folder / "manifest.json").write_text("\ufeff" + json.dumps(content), encoding="utf-8")
    assert isinstance(read_manifest(folder), Manifest)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content.pop("classes"), "the file is without 'classes'"),
        (lambda content: content.update(labelled="all"), "the file is without a valid 'labelled'"),
        (lambda content: content["masks"][1].pop("id"), r"masks\[1\] is without 'id'"),
        (lambda content: content["masks"].insert(0, "0.png"), r"masks\[0\] is a list or a plain value"),
        (lambda content: content["masks"][0].update(size=7), r"masks\[0\] is without a valid 'size'"),
        (lambda content: content.update(masks=[]), "no masks"),
        (lambda content: content.update(failed=[{"image": 3}]), r"failed\[0\] is without a valid 'image'"),
        (lambda content: content.update(failed="1.png"), "without a valid 'failed'"),
        (lambda content: content["pixels"].update(a="many"), "'pixels' must be whole numbers"),
        (lambda content: content.update(classes=[1, 2]), "'classes' must be names"),
    ],
)
def test_a_damaged_manifest_is_one_line(folder, damage, reason):
    content = json.loads((folder / "manifest.json").read_text())
    damage(content)
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"manifest.json is damaged: .*{reason}"):
        read_manifest(folder)


def test_what_is_not_a_manifest(folder):
    for text in ("[1, 2]", "3", '"a"'):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(InputError, match="the file is a list or a plain value"):
            read_manifest(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="manifest.json is not valid JSON"):
        read_manifest(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="holds no manifest.json"):
        read_manifest(folder)
