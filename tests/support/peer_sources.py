"""The test classes of transformers and diffusers, from their source distributions.

`GSS_PEER_TESTS` names a folder that holds them unpacked:

    pip download --no-deps --no-binary :all: transformers==VERSION
    tar xzf transformers-VERSION.tar.gz

Of diffusers a checkout with `tests/models/testing_utils` and `tests/pipelines/testing_utils` is needed: its source
distribution has only `tests/testing_utils.py`.
Nothing of them is part of this project.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
import types
from pathlib import Path

import pytest
import transformers

VARIABLE = "GSS_PEER_TESTS"


class _Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty classes and settings in the place of modules that a source distribution leaves out."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.startswith(self.package + "."):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda name: _empty(name)
        return module

    def exec_module(self, module):
        pass


def _empty(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return {} if name.islower() else type(name, (), {})


def peer_tests(library, module):
    """Return a module of the tests of a library; skip the test module that asks where it is not there.

    Args:
        library: "transformers" or "diffusers".
        module: module below its folder `tests`, such as "test_modeling_common".
    """
    place = os.environ.get(VARIABLE, "")
    if not place:
        pytest.skip(f"{VARIABLE} names no folder with the sources of {library}", allow_module_level=True)
    pytest.importorskip("parameterized", reason=f"the tests of {library} need parameterized")
    version = importlib.import_module(library).__version__
    file = module.replace(".", "/")
    folders = [Path(place) / f"{library}-{version}", Path(place) / library]
    found = [
        folder / "tests"
        for folder in folders
        if (folder / "tests" / f"{file}.py").is_file() or (folder / "tests" / file / "__init__.py").is_file()
    ]
    if not found:
        reason = f"no tests/{file}.py in {' or '.join(map(str, folders))}, which {VARIABLE} names"
        pytest.skip(reason, allow_module_level=True)
    package = f"peer_tests_{library}"
    if package not in sys.modules:
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(found[0])]
        sys.meta_path.append(_Missing(package))  # last: files that are there come first
    with pytest.MonkeyPatch.context() as patch:
        # It would read the sources of a checkout instead of the package that is installed.
        patch.setattr("transformers.utils.direct_transformers_import", lambda *args, **kwargs: transformers)
        return importlib.import_module(f"{package}.{module}")


def does_not_apply(reason):
    """Return a test that is skipped with a reason, to stand in the place of one that is inherited."""

    def test(self, *args, **kwargs):
        pytest.skip(reason)

    return test
