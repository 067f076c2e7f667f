"""Files by pattern: spellings of names and endings, Unicode forms, and ids that two files have."""

import unicodedata

import pytest

from gss.core.errors import InputError
from gss.data.files.patterns import find_files, without_suffix
from gss.data.images import IMAGE_SUFFIXES, MASK_SUFFIXES


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.mark.parametrize("pattern", ["images/{id}.*", "images/{id}.png", "*/{id}.*", "{id}.png"])
@pytest.mark.parametrize("suffix", [".png", ".PNG", ".Png"])
def test_case_of_the_ending_does_not_matter(tmp_path, pattern, suffix):
    put(tmp_path, f"images/a{suffix}")
    (id,) = find_files(tmp_path, pattern, IMAGE_SUFFIXES)
    assert id == ("images/a" if pattern[0] in "*{" else "a")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("pattern", ["straße é/{id}.*", "*/{id}.png", "{id}.*"])
def test_ids_are_in_one_unicode_form(tmp_path, form, pattern):
    folder = unicodedata.normalize("NFC", "straße é")
    put(tmp_path, f"{folder}/{unicodedata.normalize(form, 'façade')}.png")
    (id,) = find_files(tmp_path, pattern, IMAGE_SUFFIXES)
    assert id.endswith(unicodedata.normalize("NFC", "façade"))
    assert without_suffix(unicodedata.normalize(form, "façade.png")) == unicodedata.normalize("NFC", "façade")


@pytest.mark.parametrize(
    ("names", "suffixes"),
    [
        (("im00.jpg", "im00.png"), IMAGE_SUFFIXES),
        (("im00.png", "im00.tif"), MASK_SUFFIXES),
        (("im00.jpg", "im00.JPG"), IMAGE_SUFFIXES),
        ((unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png")), IMAGE_SUFFIXES),
    ],
)
def test_two_files_with_one_id_are_refused_with_both_names(tmp_path, names, suffixes):
    put(tmp_path, *(f"files/{name}" for name in names))
    with pytest.raises(InputError, match="two files have the id") as raised:
        find_files(tmp_path, "files/{id}.*", suffixes)
    assert all(name in str(raised.value) for name in names)


def test_ids_with_dots_and_files_without_a_name(tmp_path):
    put(tmp_path, "i/a.b.jpg", "i/sub.d/c.png", "i/noending", "i/x.txt")
    assert sorted(find_files(tmp_path, "i/{id}.*", IMAGE_SUFFIXES)) == ["a.b", "sub.d/c"]
