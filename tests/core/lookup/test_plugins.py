import pytest

from gss.core.errors import InputError
from gss.core.lookup.plugins import find_plugin, is_plugin, require_module


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of a user's own, in the working folder."""
    (tmp_path / "own_things.py").write_text("from pathlib import Path\nfrom os.path import join\nclass Gini: pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_wrong_name_lists_what_the_module_defines_not_what_it_imports(module):
    with pytest.raises(InputError, match=r"did you mean 'Gini'\? Names: Gini$"):
        find_plugin("own_things:Ginni", "scores")


def test_a_module_is_looked_for_without_importing_it(module):
    require_module("own_things:Anything")
    with pytest.raises(InputError, match=r"there is no module 'own_thing'; it must be installed, or be own_thing\.py"):
        require_module("own_thing:Gini")


def test_only_references_and_entry_points_are_plugins():
    assert is_plugin("module:Name", "scores") and not is_plugin("max_logit", "scores")
