"""Background windows of tagged images: never on the object, near it by preference, each image by itself."""

import pytest
import torch
from torch.nn import functional as F

from gss.weak.self_ood import background_crops

H, W, CLASSES = 64, 96, 3


def scene(batch=2):
    """Images whose pixels are their coordinates; class 1 is hot on the left, its context fades to the right."""
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    images = torch.stack([y / H, x / W, torch.zeros(H, W)]).expand(batch, 3, H, W).clone()
    maps = torch.zeros(batch, CLASSES, 8, 12)
    maps[:, 1] = torch.linspace(0.19, 0, 12)
    maps[:, 1, :, :3] = 1
    maps[:, 2] = 1  # not tagged: not looked at
    tags = torch.zeros(batch, CLASSES, dtype=torch.bool)
    tags[:, 1] = True
    return images, maps, tags


def generators(count, seed=0):
    return [torch.Generator().manual_seed(seed + index) for index in range(count)]


def test_windows_hold_no_object_and_are_pixels_of_the_image():
    images, maps, tags = scene(3)
    enlarged = F.interpolate(maps[:, 1:2], size=(H, W), mode="bilinear")[:, 0]
    for seed in range(10):
        found = background_crops(images, maps, tags, generators(3, 10 * seed), size=24, per_image=2)
        assert found.crops.shape == (6, 3, 24, 24) and found.images.tolist() == [0, 0, 1, 1, 2, 2]
        for crop, (y0, x0, y1, x1), owner, highest in zip(
            found.crops, found.boxes.tolist(), found.images.tolist(), found.activation, strict=True
        ):
            assert (y1 - y0, x1 - x0) == (24, 24) and min(y0, x0) >= 0 and y1 <= H and x1 <= W
            assert torch.equal(crop, images[owner, :, y0:y1, x0:x1])
            band = enlarged[owner, max(0, y0 - 2) : y1 + 2, max(0, x0 - 2) : x1 + 2]
            assert highest == band.max() < 0.2
        (a, b) = found.boxes[:2].tolist()
        overlap = max(0, 24 - abs(a[0] - b[0])) * max(0, 24 - abs(a[1] - b[1]))
        assert overlap <= 24 * 24 / 2


def test_context_is_preferred_and_can_be_left_to_chance():
    images, maps, tags = scene(40)

    def mean_left(preference):
        found = background_crops(images, maps, tags, generators(40), size=16, preference=preference, margin=0)
        return found.boxes[:, 1].float().mean()

    near, even = mean_left(12.0), mean_left(0.0)
    assert near < even - 8


def test_a_choice_depends_on_no_other_image():
    images, maps, tags = scene(2)
    maps[1] = maps[1].flip(-1)
    both = background_crops(images, maps, tags, generators(2), size=20)
    alone = background_crops(images[1:], maps[1:], tags[1:], generators(2)[1:], size=20)
    assert torch.equal(both.boxes[1:], alone.boxes) and torch.equal(both.crops[1:], alone.crops)
    again = background_crops(images, maps, tags, generators(2), size=20)
    assert torch.equal(both.boxes, again.boxes)


def test_full_images_give_none_and_untagged_ones_windows_from_everywhere():
    images, maps, tags = scene(3)
    maps[0, 1] = 0.9
    tags[2] = False
    lefts = set()
    for seed in range(20):
        found = background_crops(images, maps, tags, generators(3, 5 * seed), size=24)
        assert found.images.tolist() == [1, 2]
        lefts.add(found.boxes[1, 1].item())
    assert min(lefts) < 24  # where the map of the object was hot
    none = background_crops(images[:1], maps[:1], tags[:1], generators(1), size=24)
    assert none.crops.shape == (0, 3, 24, 24) and none.boxes.shape == (0, 4) and len(none.activation) == 0


def test_windows_as_large_as_the_image():
    images, maps, tags = scene(1)
    found = background_crops(images, maps, torch.zeros_like(tags), generators(1), size=H, margin=1)
    assert found.boxes[0, 0] == 0 and found.crops.shape == (1, 3, H, H)


def test_bad_input_is_refused():
    images, maps, tags = scene()
    for change, message in (
        ({"size": 65}, "1..64 pixels"),
        ({"threshold": 0.0}, "threshold is 0.0"),
        ({"margin": -0.1}, "margin is -0.1"),
        ({"per_image": 0}, "per_image is 0"),
        ({"preference": -1.0}, "preference is -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            background_crops(images, maps, tags, generators(2), **({"size": 16} | change))
    with pytest.raises(ValueError, match="maps lie in 0..3"):
        background_crops(images, maps * 3, tags, generators(2), size=16)
    with pytest.raises(ValueError, match="images, maps, tags and generators"):
        background_crops(images, maps, tags, generators(1), size=16)
