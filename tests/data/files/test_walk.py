"""The walker of folders: hidden names, links, and folders that cannot be read."""

import os

import pytest

from gss.core.errors import InputError
from gss.data.files.arguments import find_images, output_names
from gss.data.files.patterns import find_files
from gss.data.files.walk import BROKEN, HIDDEN, LOOP, walk
from gss.data.images import IMAGE_SUFFIXES
from gss.data.tagged import ImageFolder


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names_of(root):
    return [f"{folder.inner}/{name}".lstrip("/") for folder in walk(root) for name in folder.files]


HIDDEN_NAMES = [
    ".ipynb_checkpoints/a-checkpoint.jpg",
    "._a.jpg",
    "__MACOSX/a.jpg",
    "sub/@eaDir/a.jpg/thumb.jpg",
    ".git/x.png",
    "sub/Thumbs.db",
]


@pytest.mark.parametrize("hidden", HIDDEN_NAMES)
def test_every_reader_leaves_out_hidden_names(tmp_path, hidden):
    put(tmp_path, "a.jpg", "sub/b.jpg", hidden)
    assert names_of(tmp_path) == ["a.jpg", "sub/b.jpg"]
    assert sum(len(folder.skipped) for folder in walk(tmp_path)) == 1
    assert {reason for folder in walk(tmp_path) for _, reason in folder.skipped} == {HIDDEN}
    assert list(find_files(tmp_path, "{id}.*", IMAGE_SUFFIXES)) == ["a", "sub/b"]
    assert [path.name for path in find_images([str(tmp_path)])] == ["a.jpg", "b.jpg"]
    assert ImageFolder(tmp_path).ids == ["a", "sub/b"]


def test_a_hidden_start_is_searched(tmp_path):
    put(tmp_path, ".data/images/a.jpg")
    assert names_of(tmp_path / ".data") == ["images/a.jpg"]
    assert list(find_files(tmp_path, ".data/images/{id}.*", IMAGE_SUFFIXES)) == ["a"]
    assert len(find_images([str(tmp_path / ".data")])) == 1


def test_links_keep_their_names(tmp_path):
    put(tmp_path, "store/sha-aa.jpg", "store/more/sha-bb.jpg")
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("cat.jpg", "cat_again.jpg"):
        (photos / name).symlink_to(tmp_path / "store" / "sha-aa.jpg")
    for name in ("one", "two"):
        (photos / name).symlink_to(tmp_path / "store" / "more")
    assert names_of(photos) == ["cat.jpg", "cat_again.jpg", "one/sha-bb.jpg", "two/sha-bb.jpg"]
    found = find_images([str(photos)])
    assert output_names(found) == ["cat", "cat_again", "one_sha-bb", "two_sha-bb"]
    assert list(find_files(photos, "{id}.*", IMAGE_SUFFIXES)) == ["cat", "cat_again", "one/sha-bb", "two/sha-bb"]


@pytest.mark.parametrize("target", [".", "..", "../..", "../other"])
def test_links_that_lead_back_end(tmp_path, target):
    put(tmp_path, "data/images/sub/a.jpg", "data/other/b.jpg")
    images = tmp_path / "data" / "images"
    (images / "link").symlink_to(target)
    (tmp_path / "data" / "other" / "back").symlink_to("../images")
    files = names_of(images)
    assert files == (["link/b.jpg", "sub/a.jpg"] if target == "../other" else ["sub/a.jpg"])
    skipped = [entry for folder in walk(images) for entry in folder.skipped]
    assert skipped == [("back" if target == "../other" else "link", LOOP)]


def test_links_to_nothing_and_pipes_are_no_files(tmp_path):
    put(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(tmp_path / "c.jpg")
    (folder,) = walk(tmp_path)
    assert (folder.files, folder.skipped) == (["a.jpg"], [("b.jpg", BROKEN), ("c.jpg", BROKEN)])
    assert [path.name for path in find_images([str(tmp_path)])] == ["a.jpg"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    put(tmp_path, "a/b.jpg")
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("a"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # tests may run as root, who may read everything
    with pytest.raises(InputError, match="cannot read folder .*/a: Permission denied"):
        names_of(tmp_path)


def test_predicting_into_the_searched_folder_is_named(tmp_path):
    put(tmp_path, "d/a.jpg")
    with pytest.raises(InputError, match="lies in the output folder .*choose another --out"):
        find_images([str(tmp_path / "d")], exclude=tmp_path / "d")
