"""Tiny data sets, objects, weak labels, a posterior and a pipeline that all parts of the campaign start from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from safetensors.numpy import load_file

from faults.commands import run
from gss.training.stages import STAGES

SIZE = (48, 64)
_RESNET = (
    "{model_type: resnet, embedding_size: 8, hidden_sizes: [8, 16, 16, 16], depths: [1, 1, 1, 1], layer_type: basic}"
)
_SWIN = "{model_type: swin, embed_dim: 16, depths: [1, 1, 1, 1], num_heads: [1, 2, 2, 2], window_size: 4}"
_SHORT = (
    "train.steps=6",
    "train.checkpoint_every=2",
    "train.picture_every=3",
    "train.log_every=1",
    "train.batch_size=2",
)
_DATA = ("data.crop=[48,64]", "data.photometric=0")
_NETWORK = (
    *(f"model.backbone_config={_SWIN}", "model.hidden_dim=32", "model.depth=1", "model.window_size=4"),
    *("data.scale=[1.0,1.0]", "optim.warmup_steps=1"),
)
_BRIEF = ("loss.repaint_steps=2", "optim.warmup_steps=1")
_DENSITY = ("model.num_components=2", "data.scale=[1.0,1.0]")
_RESIDUAL = (
    *("outliers.size=[0.3,0.6]", "data.scale=[1.0,1.0]", "data.max_class_ratio=1", "model.width=32"),
    *("model.embed_dim=8", "loss.samples=32", "loss.contrast=0", "optim.warmup_steps=1"),
)
_TAGS = ("tags.allow_missing=true", "optim.warmup_steps=1")
_TIMES = ("images_per_second", "data_wait", "seconds", "memory", "step_time", "gpu", "hours", "created", "date")


class Workshop:
    """A folder with everything that commands need.

    Args:
        root: empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data, self.objects = root / "data", root / "objects"
        self.weak, self.tags = root / "weak", root / "tags"
        self.posterior, self.pipeline = root / "posterior" / "posterior", root / "prior" / "pipeline"

    def build(self) -> None:
        """Write the data and train the models."""
        self.write_data()
        weak = ["weak", "make", self.data, "--seed", 0]
        commands: list[list[Any]] = [
            [*weak, "--form", "blocks", "--share", 0.3, "--out", self.weak],
            [*weak, "--form", "tags", "--out", self.tags],
            self.train("posterior", "--out", self.posterior.parent),
            self.train("prior", "--out", self.pipeline.parent),
        ]
        for command in commands:
            done = run(command)
            if done.code:
                raise RuntimeError(f"gss {' '.join(map(str, command))} failed:\n{done.text}")

    def write_data(self) -> None:
        """Write images with masks, and objects."""
        from gss.data.generated import ScenesDataset

        root = self.data
        for split, length in (("train", 6), ("val", 2)):
            scenes = ScenesDataset(split, length=length, size=SIZE)
            for kind in ("images", "masks"):
                (root / kind / split).mkdir(parents=True)
            for index in range(length):
                image, labels = scenes.read(index)
                image.save(root / "images" / split / f"{index}.png")
                Image.fromarray(labels).save(root / "masks" / split / f"{index}.png")
        classes = {"classes": dict(enumerate(scenes.label_space.names)), "ignore_index": 255}
        (root / "classes.json").write_text(json.dumps(classes))
        self._objects()

    def _objects(self) -> None:
        rng = np.random.default_rng(0)
        for kind in ("images", "masks"):
            (self.objects / kind).mkdir(parents=True)
        for id in "abcde":
            mask = np.zeros((30, 40), np.uint8)
            mask[5:25, 8:30] = 1
            Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(self.objects / f"images/{id}.png")
            Image.fromarray(mask).save(self.objects / f"masks/{id}.png")
        (self.objects / "classes.json").write_text(json.dumps({"classes": {"0": "background", "1": "thing"}}))

    def commands(self) -> dict[str, Callable[[Path], list[object]]]:
        """Return every stage and other commands that write a folder, as functions of the output folder."""

        def into(*arguments: object) -> Callable[[Path], list[object]]:
            return lambda out: [*arguments, "--out", out]

        return {
            **{f"train {stage}": into(*self.train(stage)) for stage in STAGES},
            "predict": into("predict", self.pipeline, self.data / "images"),
            "weak make": into("weak", "make", self.data, "--form", "scribbles"),
            "weak refine": into("weak", "refine", self.weak),
        }

    def train(self, stage: str, *more: object) -> list[object]:
        """Return the arguments of a short training of a stage."""
        trained = f"data.spec={self.data}"
        settings: dict[str, tuple[str, ...]] = {
            "posterior": (trained, "vq.hidden_dim=32", "vq.depth=1", "vq.codebook_size=16", "loss.cells=100", *_BRIEF),
            "prior": (trained, f"posterior={self.posterior}", "model.classifier_rank=16", *_NETWORK),
            "twin": (trained, *_NETWORK),
            "density": (trained, f"pipeline={self.pipeline}", "mode=hybrid", "model.embed_dim=8", *_DENSITY),
            "residual": (trained, f"pipeline={self.pipeline}", f"outliers.objects={self.objects}", *_RESIDUAL),
            "joint": (trained, f"pipeline={self.pipeline}", "model.width=16", "model.levels=2", "optim.warmup_steps=1"),
            "weak-agmm": (f"data.spec={self.weak}", "agmm.tags=labels", *_NETWORK),
            "weak-tags": (
                f"data.spec={self.tags}",
                f"tags.backbone_config={_RESNET}",
                "tags.allow_missing=true",
                "optim.warmup_steps=1",
            ),
        }
        return ["train", stage, *settings[stage], *_DATA, *_SHORT, *more]


def content(folder: Path) -> dict[str, str]:
    """Return relative path to a hash of the content of all files; without times and the folder's name."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name in (".gss.lock",):
            continue
        data = path.read_bytes().replace(os.fsencode(folder), b"OUT")
        if path.suffix in (".json", ".jsonl"):
            lines = data.decode().splitlines() if path.suffix == ".jsonl" else [data.decode()]
            data = json.dumps([_timeless(json.loads(line)) for line in lines]).encode()
        digests[path.relative_to(folder).as_posix()] = hashlib.sha256(data).hexdigest()
    return digests


def _timeless(value: Any) -> Any:
    """Return a JSON value without the keys whose values depend on time."""
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if not any(word in k for word in _TIMES)}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def snapshot(root: Path, skip: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of every file below a folder, except those below `skip`."""
    found = {}
    for path in root.rglob("*"):
        if path != skip and skip not in path.parents:
            state = path.lstat()
            found[str(path)] = (0, 0) if path.is_dir() else (state.st_size, state.st_mtime_ns)
    return found


def left_over(folder: Path) -> list[str]:
    """Return temporary files below a folder, which may be changed meanwhile."""
    names = (os.path.join(above, name) for above, folders, files in os.walk(folder) for name in (*folders, *files))
    return sorted(name for name in names if ".tmp" in Path(name).suffixes or name.endswith(".old"))


def damaged(folder: Path) -> list[str]:
    """Return the files in place, not temporary ones, that cannot be read to their end."""
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or any(".tmp" in Path(part).suffixes or part.endswith(".old") for part in path.parts):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".yaml":
                yaml.safe_load(path.read_text(encoding="utf-8"))
            elif path.suffix in (".png", ".jpg"):
                with Image.open(path) as image:
                    image.load()
            elif path.suffix == ".safetensors":
                load_file(path)
        except Exception as error:  # whatever the library of a format raises
            found.append(f"{path.relative_to(folder)} ({type(error).__name__})")
    return found
