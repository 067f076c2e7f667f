"""Shifts of images: effects, seeds, data sets seen through them, augmentation and the contact sheet."""

import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

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
    apply_shift,
    choose_severities,
    choose_shifts,
    shift_generator,
)
from gss.data.shifts.tools import clouds, convolve, disk, line, particles
from gss.data.transforms import JointTransform


def textured(height=96, width=131, seed=0):
    """Colourful smooth areas with grain, like a photograph with most tones in use."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(20, 236, (7, 9, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return (smooth + rng.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8)


def psnr(image, other):
    error = np.mean((image.astype(float) - other.astype(float)) ** 2)
    return 10 * math.log10(255**2 / error) if error else math.inf


def shifted(image, shift, severity, id="a", seed=0):
    return apply_shift(image, shift, severity, shift_generator(seed, shift, id))


@pytest.mark.parametrize("shift", SHIFTS)
def test_severity_grows(shift):
    for seed in range(3):
        image = textured(seed=seed)
        found = [psnr(image, shifted(image, shift, severity, seed=seed)) for severity in SEVERITIES]
        assert all(worse < better for better, worse in zip(found[:-1], found[1:], strict=True)), found
        assert 6 < found[2] < 34  # changed, and still the same picture
        restored = np.corrcoef(image.mean(axis=2).ravel(), shifted(image, shift, 3, seed=seed).mean(axis=2).ravel())
        assert restored[0, 1] > 0.5


@pytest.mark.parametrize("shift", SHIFTS)
def test_any_size_and_no_writing(shift):
    for height, width in ((1, 1), (1, 40), (57, 1), (3, 2), (17, 90)):
        image = textured(height, width)
        image.setflags(write=False)
        for severity in (1, 5):
            result = shifted(image, shift, severity)
            assert result.dtype == np.uint8 and result.shape == image.shape
            assert not np.shares_memory(result, image)


@pytest.mark.parametrize("shift", SHIFTS)
def test_white_and_black_do_not_wrap_round(shift):
    white, black = (shifted(np.full((40, 60, 3), value, np.uint8), shift, 5) for value in (255, 0))
    if shift in ("brightness", "gamma", "saturation", "defocus_blur", "motion_blur", "pixelate"):
        assert white.min() == 255 and black.max() == 0
    if shift in ("gaussian_noise", "shot_noise"):
        assert white.mean() > 200 and black.mean() < 50
    assert white.mean() >= black.mean()


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


RANDOM = [name for name in SHIFTS if name not in (*GROUPS["photometric"], *GROUPS["digital"], "defocus_blur")]


@pytest.mark.parametrize("shift", [*RANDOM, "white_balance"])
def test_seed_and_image_choose_the_draw(shift):
    image = textured()
    first = shifted(image, shift, 3)
    np.testing.assert_array_equal(first, shifted(image, shift, 3))
    assert (first != shifted(image, shift, 3, id="b")).any()
    assert (first != shifted(image, shift, 3, seed=1)).any()


def test_looks_alike_at_every_size():
    """An image of twice the size, shifted and then reduced, is nearly the shifted small image."""
    large = np.asarray(Image.fromarray(textured(120, 160)).resize((320, 240), Image.Resampling.BICUBIC))
    small = np.asarray(Image.fromarray(large).resize((160, 120), Image.Resampling.BOX))
    for shift in ("defocus_blur", "motion_blur", "fog", "rain", "snow"):
        reduced = Image.fromarray(shifted(large, shift, 4)).resize((160, 120), Image.Resampling.BOX)
        assert psnr(np.asarray(reduced), shifted(small, shift, 4)) > psnr(small, shifted(small, shift, 4)) + 8, shift


def test_brightness_and_darkness_are_stops_of_light():
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    light = (ramp / 255) ** 2.2
    for shift, stops in (("brightness", 1.7), ("darkness", -2.1)):
        expected = (light * 2**stops).clip(0, 1) ** (1 / 2.2) * 255
        assert np.abs(shifted(ramp, shift, 3) - expected).max() <= 0.51
    assert shifted(textured(), "saturation", 5).std(axis=2).max() == 0


def test_noise_has_the_stated_size():
    grey = np.full((200, 300, 3), 128, np.uint8)
    assert np.std(shifted(grey, "gaussian_noise", 3) / 255) == pytest.approx(0.11, rel=0.02)
    photons = 22 * 128 / 255
    assert np.std(shifted(grey, "shot_noise", 3) / 255) == pytest.approx(math.sqrt(photons) / 22, rel=0.03)


def test_fog_is_thicker_far_away():
    for id in "abc":
        change = np.abs(shifted(np.zeros((120, 160, 3), np.uint8), "fog", 3, id=id).astype(float)).mean(axis=(1, 2))
        assert change[:40].mean() > 1.5 * change[-40:].mean()


@pytest.mark.parametrize("kernel", [disk(0.4), disk(2.3), line(9.0, 0.7), line(1.0, 0.0)])
def test_convolution_equals_the_direct_sum(kernel):
    assert kernel.sum() == pytest.approx(1, abs=1e-6) and kernel.shape[0] == kernel.shape[1]
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    image = textured(9, 5).astype(np.float32) / 255
    reach = kernel.shape[0] // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric").astype(float)
    expected = np.zeros(image.shape)
    for dy in range(kernel.shape[0]):
        for dx in range(kernel.shape[1]):
            expected += kernel[::-1, ::-1][dy, dx] * padded[dy : dy + 9, dx : dx + 5]
    np.testing.assert_allclose(convolve(image, kernel), expected, atol=1e-5)
    np.testing.assert_allclose(convolve(image[..., 0], kernel), expected[..., 0], atol=1e-5)


def test_small_kernels():
    assert (disk(0.3) == disk(0.3).max()).sum() == 1 and disk(0.3).max() == 1  # no blur at all
    assert line(8.0, 0.0).sum(axis=1).argmax() == line(8.0, 0.0).shape[0] // 2
    assert np.count_nonzero(line(8.0, math.pi / 2).sum(axis=0) > 1e-6) == 1


def test_layers():
    field = clouds(np.random.default_rng(0), (60, 90))
    assert field.shape == (60, 90) and field.min() >= 0 and field.max() <= 1 and np.ptp(field) > 0.3
    few, many = (
        particles(np.random.default_rng(1), (104, 104), count=count, most=200, kernel=disk(2.0)) for count in (50, 150)
    )
    assert (many >= few - 1e-5).all() and many.sum() > 2 * few.sum()


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
        (["--sheet", str(tmp_path / "sheet.txt")], "must end in .png"),
    ):
        assert main(["data", "shifts", "scenes", *options]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
