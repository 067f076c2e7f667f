import dataclasses
import subprocess
import sys

import pytest

from gss.config import io as config_io
from gss.config.io import load_config, save_config, to_yaml
from gss.config.posterior import PosteriorConfig
from gss.config.prior import PriorConfig
from gss.core.errors import did_you_mean


def load(*overrides, files=(), cls=PriorConfig):
    return load_config(cls, [str(file) for file in files], list(overrides))


def refuse(*overrides, files=(), cls=PriorConfig) -> str:
    with pytest.raises(ValueError) as caught:
        load(*overrides, files=files, cls=cls)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("cls", [PosteriorConfig, PriorConfig])
def test_defaults_round_trip_through_yaml(cls, tmp_path):
    config = cls()
    save_config(config, tmp_path / "config.yaml")
    assert load(files=[tmp_path / "config.yaml"], cls=cls) == config == load(cls=cls)


def test_changed_values_round_trip(tmp_path):
    backbone = "model.backbone_config={model_type: swin, depths: [1, 1], drop: 1e-5}"
    config = load("data.size=[120,160]", "train.precision=no", "optim.lr=3e-5", "data.root='5: a # b'", backbone)
    assert config.data.size == (120, 160)
    assert config.train.precision == "no"  # YAML 1.1 would make it False
    assert config.optim.lr == 3e-5
    assert config.data.root == "5: a # b"
    assert config.model.backbone_config == {"model_type": "swin", "depths": [1, 1], "drop": 1e-5}
    save_config(config, tmp_path / "config.yaml")
    assert load(files=[tmp_path / "config.yaml"]) == config


def test_later_sources_win_and_dicts_merge(tmp_path):
    one, two, empty = tmp_path / "one.yaml", tmp_path / "two.yaml", tmp_path / "empty.yaml"
    one.write_text("train: {steps: 5, seed: 1}\nvq: {options: {a: 1, deep: {x: 1}}}\n")
    two.write_text("train:\n  steps: 6\nvq: {options: {b: 2, deep: {y: 2}}}\n")
    empty.write_text("# nothing\n")
    config = load("train.batch_size=2", files=[one, two, empty], cls=PosteriorConfig)
    assert (config.train.steps, config.train.seed, config.train.batch_size) == (6, 1, 2)
    assert config.vq.options == {"a": 1, "b": 2, "deep": {"x": 1, "y": 2}}


def test_values_are_tuples_and_interpolation_works():
    config = load("data.scale=[1,2]", "train.seed=7", "train.steps=${train.seed}")
    assert config.data.scale == (1.0, 2.0)
    assert all(isinstance(value, float) for value in config.data.scale)
    assert config.train.steps == 7


@pytest.mark.parametrize("override", ["data.val_split=", "data.val_split=''", "data.val_split=null"])
def test_nothing_is_an_empty_string(override):
    assert load_config(PriorConfig, [], [override]).data.val_split == ""


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("optim.lrr=3", ["unknown key 'optim.lrr'", "did you mean 'optim.lr'?"]),
        ("lr=3", ["unknown key 'lr'", "did you mean 'optim.lr'?"]),
        ("optim.Schedule=poly", ["did you mean 'optim.schedule'?"]),
        ("train.warmup_step=3", ["did you mean 'optim.warmup_steps'?"]),
        ("zz.y=1", ["unknown key 'zz'", "data, optim, train, model, loss, weak, agmm, posterior"]),
        ("train.steps=ten", ["train.steps = ten is not an integer"]),
        ("train.steps=1.5", ["train.steps = 1.5 is not an integer"]),
        ("train.steps=true", ["train.steps = true is not an integer"]),
        ("train.steps=null", ["train.steps = null is not an integer"]),
        ("train.steps=", ["train.steps = null is not an integer"]),
        ("train.steps=0", ["train.steps = 0 must be at least 1"]),
        ("train.tensorboard=maybe", ["train.tensorboard = maybe is not true or false"]),
        ("optim.lr=fast", ["optim.lr = fast is not a number"]),
        ("optim.lr=nan", ["optim.lr", "must be at least 0"]),
        ("optim.betas=[0.9,1.5]", ["optim.betas = [0.9, 1.5] must be at most"]),
        ("data.flip=2", ["data.flip = 2.0 must be at most 1"]),
        ("data.crop=[1,2,3]", ["data.crop = [1, 2, 3] is not a list of 2 integers"]),
        ("data.crop=[1,x]", ["data.crop = [1, x] is not a list of 2 integers"]),
        ("data.crop=192x256", ["data.crop = 192x256 is not a list of 2 integers such as [192, 256]"]),
        ("data.size=big", ["data.size = big is not a list of 2 integers such as [192, 256] or null"]),
        ("data=3", ["data = 3 is not a section", "spec"]),
        ("data.spec=[1]", ["data.spec = [1] is not a string"]),
        ("model.backbone_config=swin", ["is not a mapping such as {key: value} or null"]),
        ("optim.schedule=linear", ["optim.schedule = linear is not one of poly, cosine, constant"]),
        ("train.precision=fp8", ["train.precision = fp8 is not one of no, bf16, fp16"]),
        ("train.precision=true", ["is not one of no, bf16, fp16"]),
        ("model.classifier=rank", ["is not one of low_rank, evidence, tied, full"]),
        ("train.steps=[1,", ["not valid YAML"]),
        ("train.steps=${nope}", ["nope"]),
        ("train.steps", ["write it as key=value"]),
    ],
)
def test_mistakes_in_overrides(override, parts):
    message = refuse(override)
    for part in [f"override '{override}'", *parts]:
        assert part in message


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        ("vq.downsample=5", "one of 4, 8, 16"),
        ("codec.palette=max", "one of maxmin, lattice, random, jitter, display"),
        ("codec.inverse=linear", "one of nearest, conv, swin"),
        ("stage=prior", "one of posterior"),
    ],
)
def test_posterior_choices(override, allowed):
    assert allowed in refuse(override, cls=PosteriorConfig)


def test_mistake_in_a_file_names_the_file(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("optim:\n  lrr: 1\n")
    assert str(file) in refuse(files=[file])
    file.write_text("train: {steps: 0}\n")
    assert refuse(files=[file]) == f"{file}: train.steps = 0 must be at least 1"
    # the override came last, so it is the one to blame
    assert "override" in refuse("train.steps=-1", files=[file])


def test_yaml_error_names_file_and_line(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("optim:\n  lr: 1\n  betas: [1, 2\ntrain: {}\n")
    message = refuse(files=[file])
    assert str(file) in message
    assert "line 4" in message
    assert "not valid YAML" in message


@pytest.mark.parametrize("content", [b"- 1\n- 2\n", b"just words\n", b"\xff\xfe\x00", b"a: 1\na: 2\n"])
def test_files_that_are_no_config(tmp_path, content):
    file = tmp_path / "run.yaml"
    file.write_bytes(content)
    assert str(file) in refuse(files=[file])


def test_data_spec_in_place_of_a_config(tmp_path):
    file = tmp_path / "city.yaml"
    file.write_text("name: city\nclasses: {road: [1, 2, 3]}\n")
    assert f"write data.spec={file}" in refuse(files=[file])


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    root = tmp_path / "configs"
    (root / "camvid").mkdir(parents=True)
    (root / "camvid" / "prior.yaml").write_text("train: {steps: 77}\n")
    monkeypatch.setattr(config_io, "config_root", lambda: root)
    monkeypatch.chdir(tmp_path.parent)
    return root


@pytest.mark.parametrize("name", ["camvid/prior.yaml", "configs/camvid/prior.yaml"])
def test_shipped_configs_are_found_from_anywhere(shipped, name):
    assert load(files=[name]).train.steps == 77


def test_missing_file_suggests_an_existing_one(shipped, tmp_path):
    assert "did you mean 'camvid/prior.yaml'?" in refuse(files=["camvid/priorr.yaml"])
    assert "did you mean 'configs/camvid/prior.yaml'?" in refuse(files=["configs/camvid/prio.yaml"])
    (tmp_path / "mine.yaml").write_text("")
    assert f"did you mean '{tmp_path}/mine.yaml'?" in refuse(files=[tmp_path / "mime.yaml"])
    assert str(shipped) in refuse(files=["nothing-like-it"])
    assert "is a folder" in refuse(files=[tmp_path])
    assert "write train.steps=VALUE" in refuse(files=["train.steps"])


@pytest.mark.parametrize("cls", [PosteriorConfig, PriorConfig])
def test_every_key_is_described(cls):
    for line in to_yaml(cls()).splitlines():
        assert "  # " in line, line


def test_descriptions_are_whole_and_end_with_a_period():
    text = to_yaml(PriorConfig())
    assert all(line.endswith(".") for line in text.splitlines())
    assert "  log_every: 10  # Steps between two lines of metrics.jsonl." in text
    assert "share keeps the most confident `share` of the pixels of each class." in text  # the second line of a text
    assert "schedule: poly  # poly, cosine or constant after warm-up." in text  # a value keeps its letters


def test_every_shipped_config_loads():
    for path in config_io.config_root().rglob("*.yaml"):
        stage = {"prior": PriorConfig, "twin": PriorConfig, "posterior": PosteriorConfig}
        for name, cls in stage.items():
            if name in path.stem and path.parent.name != "data":
                load(files=[path], cls=cls)


def test_loading_a_config_does_not_load_torch():
    code = (
        "import sys\nfrom gss.config.io import load_config\nfrom gss.config.prior import PriorConfig\n"
        "load_config(PriorConfig, [], [])\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_configs_are_independent():
    one, two = load(), load()
    one.data.crop = (1, 1)
    assert two == PriorConfig()
    assert dataclasses.asdict(two)["data"]["crop"] == (192, 256)


def test_did_you_mean():
    assert did_you_mean("Vall", ["train", "val"]) == "did you mean 'val'?"
    assert did_you_mean("xyz", ["train", "val"]) == ""
    assert did_you_mean("", []) == ""
