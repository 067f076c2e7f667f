"""The key `weak` of a data spec."""

import pytest
from weak_readers import spec


@pytest.mark.parametrize(
    ("weak", "message"),
    [
        ("tags", "weak must be a mapping with format and path"),
        ({"format": "tags", "path": None}, "weak must be a mapping with format and path"),
        ({"format": "tag", "path": "x"}, r"weak: unknown format 'tag', did you mean 'tags'\?"),
        ({"format": ["tags"], "path": "x"}, r"weak: unknown format"),
        ({"format": "tags", "path": "x", "widht": 3}, r"unknown key 'widht', did you mean 'width'\?"),
        ({"format": "tags", "path": "x", "outside": "drop"}, "outside is 'drop'; it must be error or clip"),
        ({"format": "tags", "path": "x", "outside": ["clip"]}, "outside is .* it must be error or clip"),
        ({"format": "tags", "path": "x", "exhaustive": "yes"}, "exhaustive is 'yes'; it must be True or False"),
        ({"format": "tags", "path": "/abs/x"}, "path must be relative"),
        ({"format": "tags", "path": []}, "path is empty"),
        ({"format": "tags", "path": [{}]}, "path holds {}; put text in quotes"),
        ({"format": "tags", "path": "x", "ignore": [False]}, "reads the name false as False; put it in quotes"),
        ({"format": "tags", "path": "x", "aliases": ["a"]}, "aliases is .* it must map names"),
        ({"format": "tags", "path": "x", "ids": [3]}, r"ids holds \[3\]; put text in quotes"),
        ({"format": "masks", "path": "{id}.png", "confidence": "c.png"}, r"the pattern must contain {id}"),
        ({"format": "masks", "path": "{id}.png", "width": 0}, "width is 0; it must be a number from 0.001"),
        ({"format": "masks", "path": "{id}.png", "width": "3"}, "width is '3'"),
        ({"format": "masks", "path": "{id}.png", "core": 1.5}, "core is 1.5; it must be a number from 0 to 1"),
    ],
)
def test_bad_specs(root, weak, message):
    with pytest.raises(ValueError, match=message):
        spec(root, weak)
