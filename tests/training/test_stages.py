"""The table of training stages: every entry can be imported, takes what `train` gives it, and has settings."""

import dataclasses
import inspect

import pytest

from gss.core.errors import InputError
from gss.training.run import train
from gss.training.stages import STAGES


@pytest.mark.parametrize("name", STAGES)
def test_entry_and_settings_fit(name):
    stage = STAGES[name]
    entry, settings = stage.load_entry(), stage.config_class()
    assert dataclasses.is_dataclass(settings) and settings().train.steps >= 0
    inspect.signature(entry).bind(settings(), "out", resume=False, say=print)
    assert stage.product in ("posterior", "pipeline", "classifier")


def test_unknown_stage(tmp_path):
    with pytest.raises(InputError, match="unknown stage 'priour', did you mean 'prior'"):
        train("priour", None, tmp_path)
