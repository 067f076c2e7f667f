import pkgutil

import pytest

import gss.data
import gss.evaluation
import gss.metrics
import gss.pipeline
import gss.report
from gss.evaluation.names import short_names


def test_short_names():
    assert short_names(["runs/a/pipeline", "runs/b/pipeline/"]) == {"a": "runs/a/pipeline", "b": "runs/b/pipeline"}
    assert short_names(["x/a/pipeline", "y/a"]) == {"x/a/pipeline": "x/a/pipeline", "y/a": "y/a"}
    assert short_names(["pipeline"]) == {"pipeline": "pipeline"}
    with pytest.raises(ValueError, match="given twice"):
        short_names(["x/a", "x/a/"])


def test_no_module_has_the_name_of_a_public_function():
    """Importing such a module would put it in the place of the function."""
    for package in (gss.evaluation, gss.pipeline, gss.data, gss.report, gss.metrics):
        modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
        assert not modules & set(package.__all__), package.__name__
