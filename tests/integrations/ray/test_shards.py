"""Tar shards, whole and cut off."""

import gzip
import io
import re

import pytest
from ray_toys import png, tar_bytes

from gss.core.errors import InputError
from gss.integrations.ray.shards import read_shard

IMAGES = [(f"{number:03d}.png", png(number)) for number in range(3)]
MEMBERS = [pair for name, data in IMAGES for pair in ((name, data), (name.replace(".png", ".cls"), b"1"))]


def _read(data, **options):
    return [(path, content) for path, _, content in read_shard(io.BytesIO(data), "s.tar", **options)]


def test_images_in_order_and_labels_passed_over():
    assert _read(tar_bytes(MEMBERS)) == IMAGES
    assert _read(gzip.compress(tar_bytes(MEMBERS)), compressed=True) == IMAGES


def test_names_are_distinct_and_safe():
    content = tar_bytes([(name, png(0)) for name in ("a.png", "a.jpg", "a.png", "../b.png", "./.hidden.png")])
    names = [name for _, name, _ in read_shard(io.BytesIO(content), "s.tar")]
    assert names == ["a", "a_jpg", "a_png", "b"]


@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_before_a_cut_is_read_wherever_it_is(compressed):
    whole = tar_bytes(MEMBERS)
    data = gzip.compress(whole) if compressed else whole
    end = len(whole) - 10240 + 512 if not compressed else len(data)
    for cut in [*range(1, min(end, len(data)), 509), 512, 1024, 1536]:
        found, error = [], ""
        try:
            for path, _, content in read_shard(io.BytesIO(data[:cut]), "s.tar", compressed=compressed):
                found.append((path, content))
        except InputError as caught:
            error = str(caught)
        assert found == IMAGES[: len(found)]
        assert re.match("shard s.tar (is damaged or cut off after|cannot be read)", error) or (
            compressed and found == IMAGES  # the checksum alone is missing
        )


@pytest.mark.parametrize("data", [b"", b"no archive" * 100])
def test_no_archive(data):
    with pytest.raises(InputError, match="cannot be read as a tar archive|its end is missing"):
        _read(data)
