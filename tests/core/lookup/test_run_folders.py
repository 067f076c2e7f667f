"""Paths that people type lead to the folder that is meant."""

import pytest

from gss.core.errors import InputError
from gss.core.lookup.run_folders import find_pipeline, find_posterior, find_prior


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
        (find_posterior, "prior", "it is a pipeline, which later stages write; give .*, such as .*posterior"),
        (find_posterior, "posterior/checkpoints/checkpoint_1", "the posterior of its run is .*/posterior/posterior"),
        (find_posterior, "other/begun", "continue it with 'gss train posterior --resume --out .*other/begun'"),
        (find_pipeline, "posterior", "train the second with 'gss train prior posterior=.*posterior data.spec=DATA"),
        (find_pipeline, "other/begun/checkpoints", "finish its training with --resume --out .*begun"),
        (find_pipeline, "prior/pipelin", "there is no such folder, did you mean .*[?] .*prior has .*prior/pipeline"),
    ],
)
def test_other_folders_are_refused_with_the_one_to_give(tmp_path, find, path, message):
    touch(tmp_path, *JOB, "posterior/checkpoints/checkpoint_1/state.json", "other/begun/config.yaml")
    touch(tmp_path, "other/begun/checkpoints/x")
    with pytest.raises(InputError, match=message):
        find(tmp_path / path)


@pytest.mark.parametrize(
    ("mark", "vqvae", "kind"),
    [
        ("posterior: first", '["vqvae.model", "MaskigeVQModel"]', "the run of a prior"),
        ("posterior: first", "[null, null]", "the run of a twin"),
        ("em: {}", "[]", "the run of a density"),
        ("validation: {}", "[]", "the run of a joint prior"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_the_run_of_a_later_stage_is_never_continued_as_a_posterior(tmp_path, mark, vqvae, kind, finished):
    touch(tmp_path, "first/posterior/posterior.json", "run/checkpoints/x")
    (tmp_path / "run/config.yaml").write_text(f"data: {{}}\n{mark}\n")
    if finished:
        touch(tmp_path, "run/pipeline/model_index.json")
        (tmp_path / "run/pipeline/model_index.json").write_text(f'{{"vqvae": {vqvae}}}')
    with pytest.raises(InputError) as error:
        find_posterior(tmp_path / "run")
    kind = kind if finished else kind.replace("twin", "prior")
    assert f"it is {kind}; give the --out folder of 'gss train posterior', such as {tmp_path / 'first'}" in str(
        error.value
    )
    assert "--resume" not in str(error.value)


@pytest.mark.parametrize(
    ("find", "path", "words"),
    [
        (find_posterior, "runs/postrior", "did you mean runs/posterior? runs has runs/posterior"),
        (find_posterior, "rnus/posterior", "did you mean runs/posterior?"),
        (find_pipeline, "runs/shrot", "did you mean runs/short? runs has runs/a/pipeline, "),
        (find_pipeline, "runs/xyz", "; runs has runs/a/pipeline, runs/b/pipeline, runs/c/pipeline and 1 more"),
        (find_pipeline, "C:\\runs\\short", "it looks like a path of Windows"),
        (find_prior, "runs/shrot", "model.init_from=runs/shrot: there is no such folder in "),
        (find_prior, "runs/shrot", "did you mean runs/short?"),
    ],
)
def test_a_folder_that_is_not_there_is_said_not_to_be_with_the_nearest_one(tmp_path, monkeypatch, find, path, words):
    touch(tmp_path, *(f"runs/{name}/pipeline/model_index.json" for name in ("a", "b", "c", "short")))
    touch(tmp_path, "runs/posterior/posterior/posterior.json", "runs/shro/notes.txt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        find(path)
    assert words in str(error.value) and "there is no such folder in" in str(error.value)


def test_the_posterior_of_a_job_leads_to_the_folder_of_the_job(tmp_path):
    touch(tmp_path, *JOB, "stages.json")
    with pytest.raises(InputError, match=f"the pipeline of its job is in {tmp_path}: give that folder"):
        find_pipeline(tmp_path / "posterior")


def test_a_job_on_its_way_is_no_folder_without_a_pipeline(tmp_path):
    touch(tmp_path, "stages.json")
    with pytest.raises(InputError, match="has not finished its stage prior: wait, or call it again"):
        find_pipeline(tmp_path)
