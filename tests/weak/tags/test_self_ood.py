"""Background windows of tagged images: where the map is dark, each image by itself."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gss.weak.tags.self_ood import background_crops

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


def dark_windows(maps, size, threshold, share):
    """Corners of the windows that may be chosen, by a loop."""
    enlarged = F.interpolate(maps[None, None], size=(H, W), mode="bilinear")[0, 0].double().numpy()
    step = size // 8
    corners = [(y, x) for y in range(0, H - size + 1, step) for x in range(0, W - size + 1, step)]
    means = {(y, x): enlarged[y : y + size, x : x + size].mean() for y, x in corners}
    limit = sorted(means.values())[int(np.ceil(share * len(means))) - 1] + 1e-6
    return {corner: mean for corner, mean in means.items() if mean <= limit and mean < threshold}


@pytest.mark.parametrize(("threshold", "share"), [(0.1, 0.1), (0.05, 1.0), (1.0, 0.3)])
def test_windows_are_the_dark_ones_and_pixels_of_the_image(threshold, share):
    images, maps, tags = scene(16)
    allowed = dark_windows(maps[0, 1], 24, threshold, share)
    seen = set()
    for seed in range(6):
        found = background_crops(
            images, maps, tags, generators(16, 100 * seed), size=24, threshold=threshold, share=share, per_image=2
        )
        assert found.images.tolist() == sorted(found.images.tolist()) and set(found.images.tolist()) == set(range(16))
        for crop, (y0, x0, y1, x1), owner, mean in zip(
            found.crops, found.boxes.tolist(), found.images.tolist(), found.activation, strict=True
        ):
            assert (y1 - y0, x1 - x0) == (24, 24)
            assert mean.item() == pytest.approx(allowed[y0, x0], abs=1e-6)
            assert torch.equal(crop, images[owner, :, y0:y1, x0:x1])
            seen.add((y0, x0))
        boxes = found.boxes.tolist()
        for a, b in [boxes[i : i + 2] for i in range(len(boxes) - 1) if found.images[i] == found.images[i + 1]]:
            assert max(0, 24 - abs(a[0] - b[0])) * max(0, 24 - abs(a[1] - b[1])) <= 24 * 24 / 2
    assert len(seen) > min(len(allowed), 60) * 0.6  # drawn evenly, not one of them again and again


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
    found = background_crops(images, maps, torch.zeros_like(tags), generators(1), size=H)
    assert found.boxes[0, 0] == 0 and found.crops.shape == (1, 3, H, H)


def test_bad_input_is_refused():
    images, maps, tags = scene()
    for change, message in (
        ({"size": 65}, "1..64 pixels"),
        ({"threshold": 0.0}, "threshold is 0.0"),
        ({"share": 1.1}, "share is 1.1"),
        ({"per_image": 0}, "per_image is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            background_crops(images, maps, tags, generators(2), **({"size": 16} | change))
    with pytest.raises(ValueError, match="maps lie in 0..3"):
        background_crops(images, maps * 3, tags, generators(2), size=16)
    with pytest.raises(ValueError, match="images, maps, tags and generators"):
        background_crops(images, maps, tags, generators(1), size=16)
