"""The check that labels show something, and weak labels every class."""

import numpy as np
import pytest
from PIL import Image
from pseudo_toys import SIZE, truth, write_data, write_masks

from gss.data.datasets import SegmentationDataset
from gss.data.specs.load import load_spec
from gss.weak.manifest import read_manifest
from gss.weak.seeds import check_seeds


@pytest.fixture
def spec(tmp_path):
    return write_data(tmp_path)


def test_classes_without_seeds(spec, tmp_path):
    def two(number):
        return np.where(truth(number) == 2, 255, truth(number)).astype(np.uint8)

    write_masks(spec, tmp_path / "p", labels=two, confidence=False)
    assert read_manifest(tmp_path / "p").never_labelled == ["c"]
    data = SegmentationDataset(load_spec(tmp_path / "p"), "train")
    with pytest.raises(ValueError, match=r"no pixel of split 'train' .* is labelled c: .*weak.allow_missing=true"):
        check_seeds(data, allow=False)
    with pytest.warns(UserWarning, match="is labelled c"):
        check_seeds(data, allow=True)
    write_masks(
        spec, tmp_path / "q", labels=lambda n: truth(n) if n == 1 else np.full(SIZE, 255, np.uint8), confidence=False
    )
    assert read_manifest(tmp_path / "q").all_abstain == ["0", "2", "3"]
    Image.fromarray(np.full(SIZE, 255, np.uint8)).save(tmp_path / "q" / "masks" / "1.png")
    with pytest.raises(ValueError, match="has a label: all of them are unlabelled"):
        check_seeds(SegmentationDataset(load_spec(tmp_path / "q"), "train"), allow=True)


def test_full_masks_that_lack_a_class_stop_unless_allowed(spec):
    data = SegmentationDataset(load_spec(spec.root), "val")
    paths = [sample.mask for sample in data.samples]
    masks = [np.asarray(Image.open(path)) for path in paths]
    for path, mask in zip(paths, masks, strict=True):
        Image.fromarray(np.where(mask == 2, 255, mask).astype(np.uint8)).save(path)
    with pytest.raises(ValueError, match="no pixel of split 'val' .* is labelled c: check .*weak.allow_missing=true"):
        check_seeds(data, allow=False)
    with pytest.warns(UserWarning, match="no pixel of split 'val' .* is labelled c: these classes will not"):
        check_seeds(data, allow=True)
    for path in paths:
        Image.fromarray(np.full(SIZE, 255, np.uint8)).save(path)
    with pytest.raises(ValueError, match="no pixel of split 'val' .* has a label: .*gss data check"):
        check_seeds(data, allow=True)
