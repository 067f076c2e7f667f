"""A folder that is not a pipeline's, or a damaged one, is explained in one line; the hub is not asked for it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_pipeline import tiny_pipeline

from gss.core.errors import InputError
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.store.saving import digest


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "prior" / "pipeline"
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def broken(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "pipeline")


def refused(folder, load=GSSPipeline.from_pretrained, **options):
    """Return the message of the refusal, one line."""
    with pytest.raises(InputError) as error:
        load(folder, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def no_network(monkeypatch):
    """Fail the test at any request."""
    import socket

    def refuse(*args, **kwargs):
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("load", [GSSPipeline.from_pretrained, load_pipeline])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("other", "there is other/a/b"),
        ("prior/checkpoints", "it is a checkpoint, from which training resumes; the pipeline of its run is prior/pipe"),
        ("prior/checkpoints/checkpoint_5", "the pipeline of its run is prior/pipeline"),
        ("begun", "its training is not finished: continue it with --resume --out begun"),
        ("first", "it holds a posterior, the first stage; train the second with 'gss train prior posterior=first"),
        ("first/posterior.txt", "it is a file; give the --out folder of a training"),
        ("./nowhere", "there is no such folder in"),
        ("prior/nowhere", "no pipeline at "),
        ("prior/pipeline/a/b", "there is no such folder in"),
        ("empty", "give the --out folder of a training"),
    ],
)
def test_the_right_folder_is_named(saved, wrong, words, load, monkeypatch, no_network):
    monkeypatch.chdir(saved.parents[1])
    for folder in ("empty", "other/a/b", "prior/checkpoints/checkpoint_5", "begun/checkpoints", "first/posterior"):
        (saved.parents[1] / folder).mkdir(exist_ok=True, parents=True)
    for file in ("other/a/b/model_index.json", "begun/config.yaml", "first/posterior/posterior.json"):
        (saved.parents[1] / file).write_text("{}")
    (saved.parents[1] / "first/posterior.txt").write_text("")
    assert words in refused(wrong, load)


@pytest.mark.parametrize("load", [GSSPipeline.from_pretrained, load_pipeline])
@pytest.mark.parametrize(
    "path", ["prior", ".", "prior/pipeline", "prior/pipeline/prior", "prior/pipeline/codec", "prior/pipeline/README.md"]
)
def test_paths_that_people_type_lead_to_the_pipeline(saved, path, load, monkeypatch, no_network):
    monkeypatch.chdir(saved.parents[1])
    assert load(path).decode_modes == load("prior/pipeline").decode_modes
    assert digest(Path(path)) == digest(Path("prior/pipeline"))


def test_a_relative_path_of_two_parts_is_a_folder_here(saved, monkeypatch, no_network):
    monkeypatch.chdir(saved.parents[1])
    assert GSSPipeline.from_pretrained("prior/pipeline").decode_modes == load_pipeline("prior/pipeline").decode_modes


def test_without_a_folder_the_hub_is_asked_and_its_answer_is_one_line(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "cannot be read from the hub" in refused("someone/something", local_files_only=True)


@pytest.mark.parametrize("part", ["prior", "codec", "vqvae", "likelihood", "processor"])
def test_a_damaged_component_is_named(broken, part):
    target = next(iter(sorted((broken / part).glob("*.safetensors"))), broken / part / "preprocessor_config.json")
    target.write_bytes(target.read_bytes()[:20])
    assert f"{broken / part} is damaged" in refused(broken)
    shutil.rmtree(broken / part)
    assert f"its folder {part!r} is missing" in refused(broken)


@pytest.mark.parametrize("part", ["prior", "vqvae", "likelihood"])
def test_missing_tensors_are_not_replaced_by_random_ones(broken, part):
    file = next((broken / part).glob("*.safetensors"))
    tensors = load_file(file)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, file, metadata={"format": "pt"})
    count = len(tensors)
    assert f"{broken / part} holds {count} of {count + 1} tensors" in refused(broken)
    replaced = GSSPipeline.from_pretrained(broken, **{part: tiny_pipeline().components[part]})
    assert torch.is_tensor(next(iter(replaced.components[part].state_dict().values())))


def test_a_damaged_index_and_another_class_are_refused(broken):
    index = json.loads((broken / "model_index.json").read_text())
    (broken / "model_index.json").write_text(json.dumps({**index, "_class_name": "OtherPipeline"}))
    assert "it holds a OtherPipeline, not a GSSPipeline" in refused(broken, load_pipeline)
    for text in ("{", "[]", "{}"):
        (broken / "model_index.json").write_text(text)
        assert "model_index.json is damaged" in refused(broken)
