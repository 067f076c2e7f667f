"""Stage settings and generated data sets that are small enough to run a page of the documentation."""

import shutil
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
SMALL = {
    "data": {"crop": [64, 96]},
    "vq": {"codebook_size": 32, "hidden_dim": 32},
    "loss": {"cells": 256, "repaint_steps": 2},
    "posthoc": {"images": 6, "pixels_per_class": 200, "bank_size": 100},
    "train": {"steps": 3, "batch_size": 2, "picture_every": 0},
}
LENGTH = {"train": 60, "val": 4, "test": 6}


def small_configs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gss read copies of its configs in which quickstart, weak run and generated data sets are small."""
    shutil.copytree(REPO / "configs", folder)
    for path in [*(folder / "quickstart").glob("*.yaml"), *(folder / "weak").glob("*.yaml")]:
        settings = yaml.safe_load(path.read_text())
        for section, values in SMALL.items():
            known = settings.get(section, {})
            known |= {key: value for key, value in values.items() if key in known}
        path.write_text(yaml.safe_dump(settings))
    for path in (folder / "data").glob("scenes*.yaml"):
        spec = yaml.safe_load(path.read_text())
        if "length" in spec:
            path.write_text(yaml.safe_dump({**spec, "length": LENGTH}))
    for module in ("gss.config.io", "gss.data.specs.load"):
        monkeypatch.setattr(f"{module}.config_root", lambda: folder)
