"""Shared by several tests; taken from training/engine/test_loop.py."""

from pathlib import Path

import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("tiny_task.py")


def checkpoint_content(out: Path, step: int) -> dict[str, torch.Tensor]:
    folder = out / "checkpoints" / f"step_{step:06d}"
    return {f"{p.stem}.{k}": v for p in folder.glob("*.safetensors") for k, v in load_file(p).items()}


def assert_same_training(a: Path, b: Path, step: int = 7) -> None:
    first, second = checkpoint_content(a, step), checkpoint_content(b, step)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
