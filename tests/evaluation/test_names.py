import pytest

from gss.evaluation.names import short_names


def test_short_names():
    assert short_names(["runs/a/pipeline", "runs/b/pipeline/"]) == {"a": "runs/a/pipeline", "b": "runs/b/pipeline"}
    assert short_names(["x/a/pipeline", "y/a"]) == {"x/a/pipeline": "x/a/pipeline", "y/a": "y/a"}
    assert short_names(["pipeline"]) == {"pipeline": "pipeline"}
    with pytest.raises(ValueError, match="given twice"):
        short_names(["x/a", "x/a/"])
