"""`gss weak import`: masks of other programs become pseudo-masks."""

import numpy as np
import pytest
from PIL import Image
from pseudo_toys import SIZE, truth, write_data

from gss.cli import main
from gss.data.datasets import SegmentationDataset
from gss.data.specs.load import load_spec
from gss.weak.imported import MaskFolder, import_masks
from gss.weak.manifest import read_manifest


@pytest.fixture
def spec(tmp_path):
    return write_data(tmp_path)


def external(folder, masks):
    folder.mkdir(exist_ok=True)
    for name, values in masks.items():
        Image.fromarray(values).save(folder / f"{name}.png")
    return folder


def test_import_of_masks_made_elsewhere(spec, tmp_path, capsys):
    coded = np.where(truth(1) == 0, 3, truth(1)).astype(np.uint8)  # 3 = number of classes = unlabelled
    masks = external(tmp_path / "m", {"0": truth(0), "1": coded})
    sure = external(tmp_path / "c", {"0": np.full(SIZE, 128, np.uint8), "1": np.full(SIZE, 65535, np.uint16)})
    out = tmp_path / "out"
    command = ["weak", "import", str(tmp_path), "--masks", str(masks), "--confidence", str(sure), "--out", str(out)]
    assert main([*command, "--producer", "sam"]) == 0
    printed = capsys.readouterr()
    assert "2 masks" in printed.out
    count = (truth(1) == 0).sum()
    (said,) = [line for line in printed.err.splitlines() if "gss: warning: " in line]
    assert f"1.png marks {count} unlabelled pixels with 3" in said and "If 3 is a class, its name is missing" in said
    data = SegmentationDataset(load_spec(out), "train")
    assert data.ids == ["0", "1"] and read_manifest(out).producer == "sam"
    np.testing.assert_array_equal(data.read(1)[1], np.where(truth(1) == 0, 255, truth(1)))
    assert data.read_weak(0)[1][0, 0] == pytest.approx(128 / 255, abs=1e-4) and data.read_weak(1)[1][0, 0] == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((8, 8), np.uint8), "0.png is for an image of 8x8 pixels, but image '0' has 48x32"),
        (np.full(SIZE, 9, np.uint8), "0.png holds 9; allowed"),
    ],
)
def test_a_mask_that_does_not_fit_is_named_and_the_others_are_imported(spec, tmp_path, capsys, wrong, message):
    masks = external(tmp_path / "m", {"0": wrong, "1": truth(1)})
    command = ["weak", "import", str(tmp_path), "--masks", str(masks), "--out", str(tmp_path / "p")]
    assert main(command) == 1
    assert message in capsys.readouterr().err
    manifest = read_manifest(tmp_path / "p")
    assert [record.id for record in manifest.masks] == ["1"] and message in manifest.failed[0].error
    (masks / "1.png").unlink()
    before = {path: path.read_bytes() for path in (tmp_path / "p").rglob("*") if path.is_file()}
    assert main([*command, "--overwrite"]) == 2 and message in capsys.readouterr().err
    # A producer that never began leaves the folder as it was.
    assert {path: path.read_bytes() for path in (tmp_path / "p").rglob("*") if path.is_file()} == before


def test_what_fits_no_image_is_refused(spec, tmp_path):
    with pytest.raises(ValueError, match=r"1 masks in .* belong to no image of split 'train', first: zero\.png"):
        MaskFolder(spec, "train", external(tmp_path / "m", {"zero": truth(0)}))
    with pytest.raises(ValueError, match=r"no mask in .* has the name of an image"):
        MaskFolder(spec, "train", external(tmp_path / "n", {}))
    masks, sure = external(tmp_path / "a", {"0": truth(0), "1": truth(1)}), external(tmp_path / "c", {"0": truth(0)})
    with pytest.raises(ValueError, match="no confidence for '1' in .*c: give it for all masks or none"):
        import_masks(spec, "train", masks, tmp_path / "p", confidence=sure)
    assert not (tmp_path / "p").exists()
