"""Every setting is named in a config, a page or a test of its own."""

import dataclasses
from pathlib import Path

import pytest

from gss.config.weak_labels import FORMS
from gss.training.stages import STAGES

REPO = Path(__file__).resolve().parents[2]


def settings(cls, prefix=""):
    for item in dataclasses.fields(cls):
        kind = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
        if dataclasses.is_dataclass(kind):
            yield from settings(type(kind), f"{item.name}.")
        else:
            yield prefix, item.name


@pytest.fixture(scope="module")
def words():
    files = [*(REPO / "docs").glob("*.md"), REPO / "README.md", *(REPO / "configs").rglob("*.yaml")]
    files += [path for path in (REPO / "tests").rglob("*.py") if path != Path(__file__)]
    return "\n".join(path.read_text() for path in files)


@pytest.mark.parametrize("cls", [*(stage.config_class() for stage in STAGES.values()), *FORMS.values()])
def test_every_setting_is_named_somewhere(cls, words):
    assert [prefix + name for prefix, name in settings(cls) if name not in words] == []
