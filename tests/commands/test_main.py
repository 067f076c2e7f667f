import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gss
from gss import cli
from gss.cli import palette
from gss.cli.parser import FORM_NAMES
from gss.config.weak_labels import FORMS
from gss.core.errors import InputError
from gss.training import run as training

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def ending(monkeypatch):
    """Let `gss palette` end in a given way."""

    def install(effect):
        def run(args):
            if isinstance(effect, BaseException):
                raise effect
            return effect

        monkeypatch.setattr(palette, "run", run)

    return install


@pytest.fixture
def tasks(monkeypatch):
    """Record what `gss train` asks for instead of training."""
    calls = []
    monkeypatch.setattr(training, "train", lambda *args, **options: calls.append((args, options)))
    return calls


def fails(argv, capsys) -> str:
    """Run a command that must end with exit code 2 and one line on stderr."""
    try:
        code = cli.main(argv)
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    assert code == 2
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert out == ""
    return err.strip()


def test_help_and_version_answer_without_heavy_imports():
    code = (
        "import sys, gss.cli\n"
        "try: gss.cli.main(sys.argv[1:])\n"
        "except SystemExit as error: assert error.code == 0\n"
        "heavy = {'torch', 'numpy', 'transformers', 'diffusers', 'omegaconf'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    for argv in (["--help"], ["train", "--help"], ["--version"]):
        done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
        assert "gss" in done.stdout


def test_predict_imports_only_what_it_needs(tmp_path):
    saved = Path(__file__).parents[1] / "data" / "pipeline_v0.1"
    code = (
        "import sys, gss.cli\n"
        "assert gss.cli.main(sys.argv[1:]) == 0\n"
        "heavy = {'diffusers.models.autoencoders', 'diffusers.models.unets', 'diffusers.models.transformers',"
        " 'diffusers.loaders', 'scipy.stats', 'torchmetrics', 'pandas', 'sklearn', 'matplotlib', 'datasets', 'peft',"
        " 'omegaconf', 'gss.evaluation'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    argv = ["predict", str(saved / "pipeline"), str(saved / "image.png"), "--out", str(tmp_path / "out")]
    subprocess.run([sys.executable, "-c", code, *argv], check=True, capture_output=True)


def test_train_reads_config_and_hands_over(tasks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a=b").mkdir(parents=True)
    (tmp_path / "runs" / "a=b" / "posterior.json").touch()
    config = tmp_path / "run.yaml"
    config.write_text("train: {steps: 3}\n")
    out = str(tmp_path / "run")
    # positionals on both sides of the options
    assert cli.main(["train", "prior", str(config), "--out", out, "optim.lr=0.5", "posterior=runs/a=b"]) == 0
    (((stage, cfg, folder), keywords),) = tasks
    assert (stage, folder, keywords) == ("prior", out, {"resume": False, "say": print})
    assert (cfg.train.steps, cfg.optim.lr, cfg.posterior) == (3, 0.5, "runs/a=b")


@pytest.mark.parametrize("there", [True, False])
def test_a_training_that_is_refused_at_its_start_leaves_the_folder_free(monkeypatch, tmp_path, capsys, there):
    out = tmp_path / "run"

    def refuse(stage, cfg, folder, **options):
        for name in ("config.yaml", "data.json", "metrics.jsonl"):
            (out / name).touch()
        raise InputError("maps must come finest first")

    monkeypatch.setattr(training, "train", refuse)
    if there:
        out.mkdir()
    for _ in range(2):  # the second time it is not refused for what the first one left
        assert cli.main(["train", "prior", "--out", str(out)]) == 2
        assert "finest first" in capsys.readouterr().err
    assert not out.exists()


def test_a_refused_training_leaves_the_results_of_earlier_ones(monkeypatch, tmp_path):
    out = tmp_path / "run"
    (out / "checkpoints").mkdir(parents=True)
    (out / "config.yaml").touch()

    def refuse(*args, **options):
        raise InputError("no")

    monkeypatch.setattr(training, "train", refuse)
    assert cli.main(["train", "prior", "--out", str(out), "--overwrite"]) == 2
    assert {entry.name for entry in out.iterdir()} == {"checkpoints", "config.yaml"}


@pytest.mark.parametrize(("stage", "name"), [("posterior", "PosteriorConfig"), ("twin", "PriorConfig")])
def test_train_without_files_uses_defaults(tasks, tmp_path, stage, name):
    assert cli.main(["train", stage, "--out", str(tmp_path / "run")]) == 0
    assert type(tasks[0][0][1]).__name__ == name


def test_train_refuses_a_used_folder(tasks, tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_text("kept")
    assert "already holds 'metrics.jsonl'" in fails(["train", "prior", "--out", str(tmp_path)], capsys)
    assert not tasks
    for flag, keywords in (
        ("--resume", {"resume": True, "say": print}),
        ("--overwrite", {"resume": False, "say": print}),
    ):
        assert cli.main(["train", "prior", "--out", str(tmp_path), flag]) == 0
        assert tasks.pop()[1] == keywords
    capsys.readouterr()  # what they wrote
    assert "not allowed with" in fails(["train", "prior", "--out", str(tmp_path), "--resume", "--overwrite"], capsys)
    assert (tmp_path / "metrics.jsonl").read_text() == "kept"


def test_only_the_first_process_looks_at_the_folder(tasks, tmp_path, monkeypatch):
    (tmp_path / "metrics.jsonl").write_text("written by the first process")
    monkeypatch.setenv("RANK", "1")
    assert cli.main(["train", "prior", "--out", str(tmp_path)]) == 0
    assert tasks


def test_path_with_equals_sign_is_a_file(tasks, tmp_path):
    folder = tmp_path / "lr=1"
    folder.mkdir()
    (folder / "run.yaml").write_text("train: {steps: 4}\n")
    assert cli.main(["train", "prior", str(folder / "run.yaml"), "--out", str(tmp_path / "run")]) == 0
    assert tasks[0][0][1].train.steps == 4


@pytest.mark.parametrize(
    ("argv", "module", "expected"),
    [
        (
            ["recon", "post", "--data", "scenes", "--limit", "3", "other"],
            "gss.cli.measure.recon",
            {"posterior": ["post", "other"], "data": "scenes", "split": "val", "root": None, "limit": 3, "json": None},
        ),
        (
            ["evaluate", "pipe", "--data", "d", "--size", "360x480", "--window", "slide", "--html", "r.html"],
            "gss.cli.measure.evaluate",
            {"pipeline": "pipe", "size": (360, 480), "window": "slide", "html": "r.html", "limit": None},
        ),
        (
            ["predict", "pipe", "a.png", "--out", "o", "b.png", "c"],
            "gss.cli.use.predict",
            {"images": ["a.png", "b.png", "c"], "out": "o", "window": "auto", "decode": None, "flip": False},
        ),
        (["data", "check", "d", "--sheet", "s.png"], "gss.cli.data.check", {"spec": "d", "split": None}),
        (
            ["data", "map", "a", "b", "--mseg", "m.tsv", "--out", "o.yaml"],
            "gss.cli.data.map",
            {"source": "a", "target": "b", "mseg": "m.tsv", "map": None, "out": "o.yaml", "overwrite": False},
        ),
        (["palette", "19"], "gss.cli.palette", {"num_classes": 19, "method": "maxmin", "seed": 0, "out": None}),
        (["quickstart", "--seed", "3"], "gss.cli.quickstart", {"seed": 3, "data": "scenes", "overwrite": False}),
        (["weak", "import", "d", "--masks", "m", "--out", "o"], "gss.cli.weak.import_masks", {"producer": "import"}),
    ],
)
def test_arguments_of_commands(argv, module, expected):
    args = cli.build_parser().parse(argv)
    assert args.module == module
    assert {name: getattr(args, name) for name in expected} == expected


def modules(table):
    return [name for entry in table.values() for name in ([entry] if isinstance(entry, str) else modules(entry))]


def test_every_module_of_a_command_is_in_the_table():
    """A module that declares arguments is a command; one that is not in the table could not be called."""
    folder = Path(cli.__file__).parent
    paths = [path for path in folder.rglob("*.py") if "def add_arguments(" in path.read_text()]
    names = {".".join(("gss", "cli", *path.relative_to(folder).with_suffix("").parts)) for path in paths}
    assert sorted(modules(cli.COMMANDS)) == sorted(names)


def test_names_of_forms_are_those_of_the_settings():
    assert tuple(FORMS) == FORM_NAMES


@pytest.mark.parametrize("stage", ["posterior", "prior"])
def test_config_prints_yaml_that_trains(stage, capsys, tmp_path, tasks):
    assert cli.main(["config", stage, "train.steps=9"]) == 0
    file = tmp_path / "run.yaml"
    file.write_text(capsys.readouterr().out)
    assert cli.main(["train", stage, str(file), "--out", str(tmp_path / "run")]) == 0
    assert tasks[0][0][1].train.steps == 9


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["trian"], "did you mean 'train'?"),
        (["train", "priour", "--out", "x"], "did you mean 'prior'?"),
        (["train", "prior"], "required: --out"),
        (["train", "prior", "nope.yaml", "--out", "x"], "config file nope.yaml not found"),
        (["train", "prior", "--out", "x", "--train.steps=3"], "write an override as train.steps=3"),
        (["train", "prior", "--out", "x", "optim.lrr=1"], "did you mean 'optim.lr'?"),
        (["evaluate", "p", "--data", "d", "--size", "360"], "'360' is not HEIGHTxWIDTH"),
        (["evaluate", "p", "--data", "d", "--limit", "0"], "'0' is not a whole number above 0"),
        (["evaluate", "p", "--data", "d", "--window", "slid"], "did you mean 'slide'?"),
        (["palette", "3", "4"], "unrecognized argument '4'"),
        (["palette", "many"], "'many'"),
        (["evaluate", "p", "--data", "d", "--json", "."], "cannot write --json .: it is a folder"),
        (["palette", "3", "--out", "/"], "cannot write --out /: it is a folder"),
        (["data", "check", "d", "--sheet", "s.txt"], "must end in .png or .jpg"),
    ],
)
def test_mistakes_are_one_line(argv, part, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert part in fails(argv, capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("effect", "part"),
    [
        (InputError("image a.png\n  is corrupt"), "gss: error: image a.png is corrupt"),
        (InputError("no key 'x' ; keys: y"), "gss: error: no key 'x'; keys: y"),
        (FileNotFoundError(2, "No such file or directory", "a.png"), "a.png: No such file or directory"),
        (PermissionError("cannot write"), "gss: error: cannot write"),
        (InputError(), "gss: error: InputError"),
    ],
)
def test_errors_of_a_command_are_one_line(effect, part, ending, capsys):
    ending(effect)
    message = fails(["palette", "3"], capsys)
    assert part in message
    assert message.endswith(" (see gss palette --help)") == isinstance(effect, InputError)


def test_debug_shows_the_traceback(ending, monkeypatch):
    ending(InputError("inner"))
    monkeypatch.setenv("GSS_DEBUG", "1")
    with pytest.raises(InputError, match="inner"):
        cli.main(["palette", "3"])


@pytest.mark.parametrize("effect", [KeyError("bug"), ValueError("a bug too"), RuntimeError("bug")])
def test_a_bug_shows_its_traceback_and_asks_for_a_report(effect, ending, capsys):
    ending(effect)
    assert cli.main(["palette", "3"]) == 70
    printed = capsys.readouterr().err
    assert "Traceback" in printed and type(effect).__name__ in printed
    assert printed.splitlines()[-1].startswith("gss: this is a bug in gss") and "report" in printed


def test_interrupt_and_exit_codes(ending, capsys):
    ending(KeyboardInterrupt())
    assert cli.main(["palette", "3"]) == 130
    assert capsys.readouterr().err == "gss: interrupted\n"
    ending(143)
    assert cli.main(["palette", "3"]) == 143
    ending(SystemExit(143))
    with pytest.raises(SystemExit):
        cli.main(["palette", "3"])


def test_a_terminal_without_a_character_gets_a_question_mark():
    code = "import sys, gss.cli; from gss.cli import palette; palette.run = lambda args: print('·é'); "
    code += "sys.exit(gss.cli.main(['palette', '3']))"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, "??\n")


def test_reader_that_goes_away_is_no_traceback():
    command = f"{sys.executable} -m gss config prior | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout == "d"
    assert done.stderr == ""


@pytest.mark.parametrize("script", ["train_posterior", "train_prior", "generate_masks"])
def test_scripts_are_the_command(script):
    path = REPO / "scripts" / f"{script}.py"
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "required" in done.stderr
    assert len(path.read_text().splitlines()) <= 20


def test_public_names():
    assert set(gss.__all__) <= set(dir(gss))
    for name in gss.__all__:
        assert getattr(gss, name) is not None
    with pytest.raises(AttributeError, match="'gss' has no attribute 'nope'"):
        _ = gss.nope


def test_tiny_numbers_are_flushed(monkeypatch):
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    seen = []
    monkeypatch.setattr(palette, "run", lambda args: seen.append(float(torch.full((8,), 1e-39).sum())))
    torch.set_flush_denormal(False)
    try:
        assert float(torch.full((8,), 1e-39).sum()) > 0
        assert cli.main(["palette", "3"]) == 0 and seen == [0.0]
        assert float(torch.full((8,), 1e-39).sum()) > 0
    finally:
        torch.set_flush_denormal(False)


def test_what_a_command_needs_is_imported_without_looking_for_cycles():
    modules = [importlib.import_module(entry) for entry in flat(cli.COMMANDS)]
    needs = {name for module in modules for name in getattr(module, "NEEDS", ())}
    assert needs and all(importlib.util.find_spec(name) for name in needs)
    code = (
        "import gc, sys, types\n"
        "import gss.cli, gss.cli.use.demo as command\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith('transformers'):\n"
        "            seen.add(gc.isenabled())\n"
        "seen = set()\n"
        "sys.meta_path.insert(0, Watch())\n"
        "command.run = lambda args: print(seen, gc.isenabled(), 'gss.pipeline.loading' in sys.modules)\n"
        "command.check = lambda args: None\n"
        "gss.cli.main(['demo', 'p', '--out', 'o', '--size', '32x32'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "{False} True True" in done.stdout.splitlines(), done.stdout + done.stderr


def flat(table):
    return [name for entry in table.values() for name in ([entry] if isinstance(entry, str) else flat(entry))]


def test_tiny_numbers_are_flushed_though_torch_is_loaded_late():
    code = (
        "import sys\n"
        "import gss.cli, gss.cli.quickstart as command\n"
        "assert 'torch' not in sys.modules\n"
        "def shown(args):\n"
        "    import torch\n"
        "    print(float(torch.tensor([1e-30]) * torch.tensor([1e-10])))\n"
        "command.run = shown\n"
        "sys.exit(gss.cli.main(['quickstart', '--out', sys.argv[1]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "unused"], capture_output=True, text=True, check=True)
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    torch.set_flush_denormal(False)
    assert done.stdout == "0.0\n"
