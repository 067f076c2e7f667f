"""Paths that people type lead to the folder that is meant."""

import pytest

from gss.core.errors import InputError
from gss.core.lookup.run_folders import find_pipeline, find_posterior


def touch(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("{}")


JOB = ("posterior/posterior/posterior.json", "prior/pipeline/model_index.json", "prior/pipeline/prior/config.json")


@pytest.mark.parametrize(
    "path", ["", "prior", "prior/pipeline", "prior/pipeline/prior", "prior/pipeline/model_index.json"]
)
def test_pipelines(tmp_path, path):
    touch(tmp_path, *JOB, "twin/pipeline/model_index.json", "density/pipeline/model_index.json")
    assert find_pipeline(tmp_path / path) == tmp_path / "prior/pipeline"


@pytest.mark.parametrize("path", ["", "posterior", "posterior/posterior"])
def test_posteriors(tmp_path, path):
    touch(tmp_path, *JOB)
    assert find_posterior(tmp_path / path) == tmp_path / "posterior/posterior"


@pytest.mark.parametrize(
    ("find", "path", "message"),
    [
        (find_posterior, "prior", "the posterior of this job is .*posterior"),
        (find_posterior, "posterior/checkpoints/checkpoint_1", "the posterior of its run is .*/posterior/posterior"),
        (find_posterior, "other/begun", "continue it with 'gss train posterior --resume --out .*other/begun'"),
        (find_pipeline, "posterior", "train the second with 'gss train prior posterior=.*posterior data.spec=DATA"),
        (find_pipeline, "other/begun/checkpoints", "finish its training with --resume --out .*begun"),
        (find_pipeline, "prior/pipelin", "there is no such folder in .*; .*prior has .*prior/pipeline"),
    ],
)
def test_other_folders_are_refused_with_the_one_to_give(tmp_path, find, path, message):
    touch(tmp_path, *JOB, "posterior/checkpoints/checkpoint_1/state.json", "other/begun/config.yaml")
    touch(tmp_path, "other/begun/checkpoints/x")
    with pytest.raises(InputError, match=message):
        find(tmp_path / path)


def test_the_posterior_of_a_job_leads_to_the_folder_of_the_job(tmp_path):
    touch(tmp_path, *JOB, "stages.json")
    with pytest.raises(InputError, match=f"the pipeline of its job is in {tmp_path}: give that folder"):
        find_pipeline(tmp_path / "posterior")


def test_a_job_on_its_way_is_no_folder_without_a_pipeline(tmp_path):
    touch(tmp_path, "stages.json")
    with pytest.raises(InputError, match="has not finished its stage prior: wait, or call it again"):
        find_pipeline(tmp_path)
