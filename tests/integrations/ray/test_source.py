"""Sources by URL: what they lead to, and their mistakes."""

import zipfile

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from ray_toys import photo_folder, png

from gss.core.errors import InputError
from gss.data.files import find_inputs
from gss.integrations.ray.source import find_items, safe_name


class LockedFileSystem(MemoryFileSystem):
    """A bucket without rights."""

    protocol = "locked"

    def info(self, path, **options):
        raise PermissionError("Forbidden")

    ls = find = info


@pytest.fixture
def memory():
    files = MemoryFileSystem()
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def test_a_folder_gives_what_predict_finds(tmp_path):
    folder = photo_folder(tmp_path / "photos")
    (folder / "part0" / "img_2.jpg").write_bytes(b"same stem")
    (folder / ".hidden.png").write_bytes(b"")
    items = find_items(str(folder))
    expected = find_inputs([str(folder)])
    assert [(item.id, item.name) for item in items] == [(str(found.path), found.name) for found in expected]
    assert not items[0].is_shard and not items[0].only_here


def test_the_output_in_a_source_is_left_out(tmp_path):
    folder = photo_folder(tmp_path / "photos")
    count = len(find_items(str(folder)))
    (folder / "out").mkdir()
    (folder / "out" / "x_mask.png").write_bytes(b"")
    assert len(find_items(str(folder), exclude=str(folder / "out"))) == count
    with pytest.raises(InputError, match="lies in the output"):
        find_items(str(folder / "out"), exclude=str(folder / "out"))


def test_memory_and_zip(memory, tmp_path):
    for number in (10, 9):
        memory.pipe(f"/bucket/a/{number}.png", png(number))
    items = find_items("memory://bucket")
    assert [(item.id, item.name) for item in items] == [
        ("memory://bucket/a/9.png", "a/9"),
        ("memory://bucket/a/10.png", "a/10"),
    ]
    assert all(item.only_here for item in items)
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("in/x.png", png(1))
        archive.writestr("../up.png", png(2))
        archive.writestr("__MACOSX/x.png", b"")
    for url in (f"zip://::{path}", f"zip://{path}", str(path)):
        items = find_items(url)
        assert {item.name for item in items} == {"in/x", "up"} and not items[0].only_here
        with fsspec.open(next(item.id for item in items if item.name == "in/x")) as file:
            assert file.read() == png(1)


def test_shards_by_range_and_glob(tmp_path):
    for number in range(12):
        (tmp_path / f"s-{number:03d}.tar").write_bytes(b"")
    items = find_items(f"{tmp_path}/s-{{008..010}}.tar")
    assert [item.name for item in items] == ["s-008", "s-009", "s-010"] and items[0].is_shard
    assert len(find_items(f"{tmp_path}/s-00*.tar")) == 10
    assert [item.name for item in find_items(str(tmp_path / "s-011.tar"))] == ["s-011"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("missing", "cannot read source missing: it is not there; check the URL"),
        ("memory://nothing", "cannot read source memory://nothing: it is not there"),
        ("zip://::missing.zip", "cannot open source zip://::missing.zip: it is not there"),
        ("strange://x", "cannot open source strange://x: Protocol not known: strange"),
        ("missing/*.png", "matches no file"),
        ("locked://bucket", "no permission to read source locked://bucket: Forbidden"),
    ],
)
def test_mistakes(url, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fsspec.register_implementation("locked", LockedFileSystem, clobber=True)
    with pytest.raises(InputError, match=message.replace("*", r"\*")):
        find_items(url)


def test_a_folder_without_images(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="holds no image; readable are .jpg"):
        find_items(str(tmp_path))


def test_names_lead_nowhere_else():
    assert safe_name("/a/../b.tar.gz") == "a/b" and safe_name("..") == "image" and safe_name("a.b.png") == "a.b"
