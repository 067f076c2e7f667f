"""Pseudo-masks: written once, a data set at once; failures beside results; refusals."""

import errno

import numpy as np
import pytest
import torch
from pseudo_toys import SIZE, truth, write_data, write_masks

from gss.cli import main
from gss.core.errors import InputError
from gss.data.datasets import SegmentationDataset
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.data.transforms import JointTransform
from gss.weak.manifest import read_manifest
from gss.weak.pseudo_masks import PseudoMask, PseudoMaskWriter


@pytest.fixture
def spec(tmp_path):
    return write_data(tmp_path)


@pytest.mark.parametrize("bits", [8, 16])
def test_round_trip(spec, tmp_path, bits):
    out = tmp_path / "pseudo"
    writer = write_masks(spec, out, bits=bits)
    manifest = read_manifest(out)
    assert manifest.producer == "test" and manifest.config_hash == writer.config_hash
    assert manifest.pixels["b"] == sum(int((truth(n) == 1).sum()) for n in range(4))
    assert [record.id for record in manifest.masks] == ["0", "1", "2", "3"] and manifest.labelled == 1.0
    data = SegmentationDataset(load_spec(out), "train", transform=JointTransform((40, 40), seed=1))
    for index in range(4):
        np.testing.assert_array_equal(data.read(index)[1], truth(index))
        sure = np.random.default_rng(index).random(SIZE)
        np.testing.assert_allclose(data.read_weak(index)[1], sure, atol=0.51 / (2**bits - 1))
    item = data[0]
    assert item["confidence"].dtype == torch.float32 and item["confidence"].shape == (40, 40)
    assert (item["confidence"][item["labels"] == 255] == 0).all() and item["confidence"].max() > 0.5
    val = SegmentationDataset(load_spec(out), "val")
    np.testing.assert_array_equal(val.read(1)[1], truth(1))
    assert "confidence" not in val[0]
    assert main(["data", "check", str(out)]) == 0


def test_confidence_follows_the_geometry_of_its_label(spec, tmp_path):
    # Where the confidence is a function of the label it must stay one under scaling, cropping and mirroring.
    with PseudoMaskWriter(tmp_path / "p", spec, "train", producer="t") as writer:
        for number in range(4):
            writer.add(PseudoMask(str(number), truth(number), truth(number) / 5 + 0.2))
    options = {"transform": JointTransform((24, 40), photometric=0.0), "size": (20, 40)}
    data = SegmentationDataset(load_spec(tmp_path / "p"), "train", **options)
    for index in range(4):
        item = data[index]
        known = item["labels"] != 255
        torch.testing.assert_close(item["confidence"][known], item["labels"][known] / 5 + 0.2, atol=0.003, rtol=0)


def test_a_stopped_producer_leaves_no_data_set(spec, tmp_path):
    out = tmp_path / "pseudo"
    with pytest.raises(KeyboardInterrupt), PseudoMaskWriter(out, spec, "train", producer="t") as writer:
        writer.add(PseudoMask("0", truth(0)))
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="holds no manifest.json"):
        read_manifest(out)
    with pytest.raises(ValueError, match="no images with labels found"):
        load_spec(out)
    with pytest.raises(ValueError, match="already holds"):
        write_masks(spec, out)
    write_masks(spec, out, overwrite=True)
    assert load_spec(out).weak is not None


def test_masks_without_any_label_are_refused(spec, tmp_path):
    empty = np.full(SIZE, 255, np.uint8)
    with pytest.raises(ValueError, match="none of the 4 masks in .*q has a labelled pixel"):
        write_masks(spec, tmp_path / "q", labels=lambda n: empty, confidence=False)
    with pytest.raises(ValueError, match="holds no manifest.json"):
        read_manifest(tmp_path / "q")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (PseudoMask("0", np.full(SIZE, 3, np.uint8)), r"hold 3, allowed are 0\.\.2 and 255"),
        (PseudoMask("0", np.zeros(SIZE, np.int64)), "must be uint8"),
        (PseudoMask("0", np.zeros(SIZE, np.uint8), np.zeros((3, 3))), "confidence of '0' is"),
        (PseudoMask("0", np.zeros(SIZE, np.uint8), np.full(SIZE, 1.5)), "must be in 0..1"),
        (PseudoMask("0", np.zeros(SIZE, np.uint8), np.full(SIZE, np.nan)), "must be in 0..1"),
    ],
)
def test_bad_pseudo_masks(spec, tmp_path, mask, message):
    with (
        pytest.raises(ValueError, match=message),
        PseudoMaskWriter(tmp_path / "p", spec, "train", producer="t") as writer,
    ):
        writer.add(mask)


def test_confidence_of_all_or_none(spec, tmp_path):
    def make(folder, *masks):
        with PseudoMaskWriter(folder, spec, "train", producer="t") as writer:
            for mask in masks:
                writer.add(mask)

    with pytest.raises(ValueError, match="1 of 2 pseudo-masks have a confidence"):
        make(tmp_path / "p", PseudoMask("0", truth(0)), PseudoMask("1", truth(1), np.ones(SIZE)))
    with pytest.raises(ValueError, match="no pseudo-mask was made"):
        make(tmp_path / "q")


def test_full_and_pseudo_masks_in_one_batch(spec, tmp_path):
    """Domains with and without confidence give samples of the same keys, and numbers keep their classes."""
    write_masks(spec, tmp_path / "p")
    both = "classes: [{}]\ndomains:\n  full: {{spec: ./full.yaml}}\n  pseudo: {{spec: ./p}}\n"
    (tmp_path / "full.yaml").write_text(
        "root: .\nimage: images/val/{id}.png\nmask: masks/val/{id}.png\nsplits: [train]\nclasses: [a, b, c]\n"
    )
    (tmp_path / "both.yaml").write_text(both.format("a, b, c"))
    data = open_split(load_spec(tmp_path / "both.yaml"), "train")
    batch = torch.utils.data.default_collate([data[0], data[3]])
    assert data.ids[0] == "full/0" and data.ids[3] == "pseudo/1"
    assert batch["confidence"][0].eq(1).all() and not batch["confidence"][1].eq(1).all()
    assert not batch["tags"][0].any() and batch["tags"][1].any() and not batch["exhaustive"].any()
    (tmp_path / "both.yaml").write_text(both.format("c, b, a"))
    with pytest.raises(ValueError, match="are about its own classes"):
        open_split(load_spec(tmp_path / "both.yaml"), "train")


def test_an_image_that_fails_is_named_and_the_others_are_written(spec, tmp_path):
    def make(position):
        if position == 1:
            raise InputError("image 1 is\ndamaged")
        if position == 2:
            raise OSError(errno.ENAMETOOLONG, "File name too long")
        return PseudoMask(str(position), truth(position))

    with PseudoMaskWriter(tmp_path / "p", spec, "train", producer="t") as writer:
        writer.add_all(["0", "1", "2", "3"], make, title="making")
    manifest = read_manifest(tmp_path / "p")
    assert manifest == writer.manifest and [record.id for record in manifest.masks] == ["0", "3"]
    assert [failure.image for failure in manifest.failed] == ["1", "2"]
    assert manifest.failed[0].error == "image 1 is damaged" and "too long" in manifest.failed[1].error
    assert open_split(load_spec(tmp_path / "p"), "train").ids == ["0", "3"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyError("bug")])
def test_a_full_disk_and_a_bug_end_the_run(spec, tmp_path, error):
    def make(position):
        if position == 1:
            raise error
        return PseudoMask(str(position), truth(position))

    with pytest.raises(type(error)), PseudoMaskWriter(tmp_path / "p", spec, "train", producer="t") as writer:
        writer.add_all(["0", "1"], make, title="making")
    with pytest.raises(InputError, match="holds no manifest.json"):
        read_manifest(tmp_path / "p")


def test_only_failures(spec, tmp_path):
    def make(position):
        raise InputError(f"image {position} is damaged")

    writer = PseudoMaskWriter(tmp_path / "p", spec, "train", producer="t")
    with pytest.raises(InputError, match=r"no pseudo-mask was made .*: image 0 is damaged \(2 images failed\)"), writer:
        writer.add_all(["0", "1"], make, title="making")
