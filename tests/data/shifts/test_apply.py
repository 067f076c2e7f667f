"""Shifts of images: effects, seeds, data sets seen through them, augmentation and the contact sheet."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from shift_checks import shifted, textured

from gss.cli import main
from gss.config.io import load_config
from gss.config.prior import PriorConfig
from gss.data.generated import ScenesDataset
from gss.data.open import build_dataset
from gss.data.shifts.apply import (
    GROUPS,
    SEVERITIES,
    SHIFTS,
    RandomShift,
    ShiftedImages,
    choose_severities,
    choose_shifts,
    shift_generator,
)
from gss.data.transforms import JointTransform


def test_the_same_everywhere():
    script = (
        "import hashlib, numpy as np\n"
        "from gss.data.shifts.apply import SHIFTS, apply_shift, shift_generator\n"
        "image = (np.arange(31 * 47 * 3) ** 2 % 251).astype(np.uint8).reshape(31, 47, 3)\n"
        "pairs = {s: apply_shift(image, s, 3, shift_generator(0, s, 'a')).tobytes() for s in reversed(SHIFTS)}\n"
        "found = [hashlib.sha256(pairs[shift]).hexdigest() for shift in SHIFTS]\n"
    )
    own = {}
    exec(script, own)
    run = [sys.executable, "-c", script + "import sys; print(*found); assert 'torch' not in sys.modules"]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.split() == own["found"]
    assert shift_generator(0, "fog", "a").integers(1 << 32) == 1980962764  # on any machine


def test_labels_ids_and_space_are_untouched():
    plain = ScenesDataset("val", length=3, size=(48, 64), cache=True)
    for shift in SHIFTS:
        seen = ShiftedImages(plain, shift, 3, seed=4)
        assert len(seen) == 3 and seen.ids == plain.ids and seen.label_space is plain.label_space
        image, labels = seen.read(1)
        before, truth = plain.read(1)
        np.testing.assert_array_equal(labels, truth)
        assert image.mode == "RGB" and image.size == before.size
        np.testing.assert_array_equal(image, shifted(np.asarray(before), shift, 3, id=plain.ids[1], seed=4))
        np.testing.assert_array_equal(image, seen.read(1)[0])


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5])
def test_severity_out_of_range(severity):
    image = textured(4, 4)
    for call in (
        lambda: shifted(image, "fog", severity),
        lambda: ShiftedImages(ScenesDataset("val", length=1), "fog", severity),
        lambda: choose_severities([1, severity]),
    ):
        with pytest.raises(ValueError, match=f"severity is {severity}; choose from 1"):
            call()


def test_names():
    assert choose_shifts([]) == tuple(SHIFTS) and choose_severities([5, 1, 5]) == (1, 5)
    assert choose_shifts(["fog", "blur", "fog", "weather"]) == ("fog", *GROUPS["blur"], "rain", "snow", "night")
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(SHIFTS)
    for call, message in (
        (lambda: choose_shifts(["motion_blurr"]), "did you mean 'motion_blur'"),
        (lambda: choose_shifts(["wether"]), "did you mean 'weather'"),
        (lambda: choose_shifts("fog"), "give a list"),
        (lambda: choose_severities([]), "severities is empty"),
        (lambda: shifted(textured(4, 4), "weather", 1), "is a group of fog, rain"),
        (lambda: ShiftedImages(ScenesDataset("val", length=1), "fogg", 1), "did you mean 'fog'"),
        (lambda: shifted(textured(4, 4)[..., 0], "fog", 1), r"uint8 RGB \[H, W, 3\]"),
        (lambda: shifted(textured(4, 4) / 255, "fog", 1), "got float64"),
        (lambda: shifted(textured(4, 4)[:0], "fog", 1), "with pixels"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


SIZE = {"crop": (40, 56), "scale": (0.5, 2.0), "seed": 3}


def test_augmentation_changes_pixels_alone():
    image, labels = ScenesDataset("train", length=1, size=(60, 80)).read(0)
    plain, never, always = (
        JointTransform(**SIZE, shift=shift, shifts=names)
        for shift, names in ((0.0, ()), (0.0, ("fog",)), (1.0, ("fog",)))
    )
    changed = 0
    for epoch in range(6):
        pixels, cropped = plain(image, labels, epoch=epoch, index=0)
        again, truth = never(image, labels, epoch=epoch, index=0)
        assert (pixels == again).all() and (cropped == truth).all()
        foggy, truth = always(image, labels, epoch=epoch, index=0)
        np.testing.assert_array_equal(cropped, truth)  # the same window, mirrored or not
        assert foggy.shape == pixels.shape and foggy.min() >= 0 and foggy.max() <= 1
        changed += bool((foggy != pixels).any())
        assert (foggy == always(image, labels, epoch=epoch, index=0)[0]).all()  # a resumed run sees the same
    assert changed == 6


def test_augmentation_keeps_to_its_probability_and_names():
    image = textured(30, 40)
    chance = RandomShift(0.3, ["photometric"])
    assert chance.shifts == GROUPS["photometric"]
    found = [chance(image, np.random.default_rng(number)) for number in range(400)]
    assert sum(result is not image for result in found) == pytest.approx(120, abs=35)
    possible = {shifted(image, "saturation", severity).tobytes() for severity in SEVERITIES}
    one = RandomShift(1.0, ("saturation",))
    assert {one(image, np.random.default_rng(number)).tobytes() for number in range(60)} == possible


def test_augmentation_is_configured(tmp_path):
    config = load_config(PriorConfig, [], ["data.shift=1", "data.shifts=[noise,fog]", "data.crop=[32,48]"])
    assert config.data.shifts == ["noise", "fog"]
    dataset = build_dataset(config.data, "train", train=True, seed=5)
    assert dataset.transform.shift == 1 and dataset.transform.shifts == ("noise", "fog")
    plain = load_config(PriorConfig, [], ["data.crop=[32,48]"])
    assert plain.data.shift == 0 and plain.data.shifts == []
    first, second = (build_dataset(c.data, "train", train=True, seed=5)[0] for c in (config, plain))
    assert (first["labels"] == second["labels"]).all() and (first["image"] != second["image"]).any()
    assert build_dataset(config.data, "val", train=False).transform is None
    for override, message in (
        ("data.shifts=[fogg]", "did you mean 'fog'"),
        ("data.shift=1.5", "at most 1"),
        ("data.shifts=3", "a list such as"),
    ):
        with pytest.raises(ValueError, match=message):
            build_dataset(load_config(PriorConfig, [], [override]).data, "train", train=True)
    with pytest.raises(ValueError, match="shift is 2; it must be at most 1"):
        JointTransform((8, 8), shift=2)


def test_sheet_command(tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    options = ["--shifts", "weather,jpeg", "--severities", "1,5", "--image", "val_00001", "--sheet", str(sheet)]
    assert main(["data", "shifts", "scenes", *options]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("fog", "night", "jpeg", "val_00001")) and "gamma" not in printed
    picture = Image.open(sheet)
    assert picture.width == 8 + 3 * 248 and picture.height > 5 * 180
    for options, message in (
        (["--shifts", "foog", "--sheet", str(sheet)], "did you mean 'fog'"),
        (["--severities", "1,6", "--sheet", str(sheet)], "severity is 6"),
        (["--image", "nobody", "--sheet", str(sheet)], "no image 'nobody'"),
    ):
        assert main(["data", "shifts", "scenes", *options]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    with pytest.raises(SystemExit):
        main(["data", "shifts", "scenes", "--sheet", str(tmp_path / "sheet.txt")])
    assert "must end in .png" in capsys.readouterr().err
