"""Panoptic masks: segment ids to categories, and every mistake named."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from gss.data.check.split import check_split
from gss.data.datasets import SegmentationDataset
from gss.data.files.panoptic import load_panoptic, read_segments
from gss.data.specs.load import load_spec

SPEC = """image: images/{id}.png
mask: masks/{id}.png
panoptic: panoptic_{split}.json
splits: [train, val]
ignore: 0
label_map: [7, 300]
classes: [thing, stuff]
"""


def build(root, ids, segments, name="a"):
    """One image whose mask holds the given segment ids."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(exist_ok=True)
    ids = np.asarray(ids)
    colour = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
    Image.fromarray(colour).save(root / f"masks/{name}.png")
    Image.fromarray(colour).save(root / f"images/{name}.png")
    entry = {"file_name": f"{name}.png", "segments_info": [{"id": i, "category_id": c, "area": 1} for i, c in segments]}
    path = root / "panoptic_train.json"
    path.write_text(json.dumps({"annotations": [entry], "licenses": [{"id": 3}]}))
    (root / "own.yaml").write_text(SPEC)
    read_segments.cache_clear()
    return path


def test_ids_become_categories(tmp_path):
    rng = np.random.default_rng(0)
    known = np.unique(rng.integers(1, 1 << 24, 40))
    categories = rng.choice([7, 300], len(known))
    pick = rng.integers(0, len(known), (13, 17))
    path = build(tmp_path, known[pick], list(zip(known.tolist(), categories.tolist(), strict=True)))
    raw = load_panoptic(tmp_path / "masks/a.png", path)
    assert raw.dtype == np.uint16
    assert (raw == categories[pick]).all()
    dataset = SegmentationDataset(load_spec(tmp_path / "own.yaml", tmp_path), "train")
    assert (dataset.read(0)[1] == (categories[pick] == 300)).all()
    again = pickle.loads(pickle.dumps(dataset))  # as loader workers get it
    assert (again.read(0)[1] == dataset.read(0)[1]).all()


def test_black_is_void(tmp_path):
    build(tmp_path, [[0, 9], [9, 0]], [(9, 7)])
    dataset = SegmentationDataset(load_spec(tmp_path / "own.yaml", tmp_path), "train")
    assert dataset.read(0)[1].tolist() == [[255, 0], [0, 255]]


def test_a_mask_without_segments_is_all_void(tmp_path):
    path = build(tmp_path, [[0, 0, 0]], [])
    assert load_panoptic(tmp_path / "masks/a.png", path).tolist() == [[0, 0, 0]]


def test_findings(tmp_path):
    path = build(tmp_path, [[9, 10, 11, 11]], [(9, 7), (8, 7)])
    spec = load_spec(tmp_path / "own.yaml", tmp_path)
    with pytest.raises(ValueError, match=r"holds 2 segment ids that .*panoptic_train\.json lacks, such as 10"):
        load_panoptic(tmp_path / "masks/a.png", path)
    assert "segment ids" in check_split(spec, "train").unreadable[0]
    build(tmp_path, [[9]], [(9, 8)])
    report = check_split(spec, "train")
    assert report.unknown == {"8": {"pixels": 1, "files": 1, "examples": [str(tmp_path / "masks/a.png")]}}
    build(tmp_path, [[9]], [(9, 7)], name="b")
    with pytest.raises(ValueError, match=r"a\.png has no entry in"):
        load_panoptic(tmp_path / "masks/a.png", path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ('{"annotations": []}', "describe no mask"),
        ('{"annotations": [{"segments_info": []}]}', "malformed .*file_name"),
        ('{"annotations": [{"file_name": "a.png", "segments_info": [{"id": 1}]}]}', "malformed"),
        (None, "No such file"),
    ],
)
def test_unusable_annotations_stop_at_once(tmp_path, text, message):
    path = build(tmp_path, [[9]], [(9, 7)])
    path.unlink() if text is None else path.write_text(text)
    spec = load_spec(tmp_path / "own.yaml", tmp_path)
    for use in (lambda: SegmentationDataset(spec, "train"), lambda: check_split(spec, "train")):
        with pytest.raises(ValueError, match=message):
            use()
