import pytest

from gss.core.words import counted, duration, with_article


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (45.4, "45 s"), (59.7, "1 min"), (754, "13 min"), (4790, "1 h 20 min")]
)
def test_times_in_words(seconds, words):
    assert duration(seconds) == words


def test_numbers_with_their_noun():
    assert [counted(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert counted(2, "class", "classes") == "2 classes"


def test_nouns_with_their_article():
    assert [with_article(noun) for noun in ("image", "step")] == ["an image", "a step"]
