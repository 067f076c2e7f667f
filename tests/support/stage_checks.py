"""What every stage of training must do: resume bit by bit, and end mistakes in one line."""

import shutil

import torch
from safetensors.torch import load_file

from gss.cli import main
from gss.training.run import train


def check_resume(stage, cfg, folder, product, weights):
    """Stop a run before its last checkpoint; resumed, it must end as the whole run does.

    Args:
        stage: name of the stage.
        cfg: configuration of a short run with several checkpoints.
        folder: empty folder.
        product: what the stage exports, a folder in the run.
        weights: safetensors file of the product.
    """
    train(stage, cfg, folder / "whole")
    shutil.copytree(folder / "whole", folder / "cut")
    last = sorted((folder / "cut" / "checkpoints").iterdir())[-1]
    shutil.rmtree(last)
    shutil.rmtree(folder / "cut" / product)
    train(stage, cfg, folder / "cut", resume=True)
    for name in (f"checkpoints/{last.name}/model.safetensors", f"{product}/{weights}"):
        a, b = (load_file(folder / run / name) for run in ("whole", "cut"))
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a), name


def check_mistake(command, reason, capsys):
    """Run a command that must end with one line of error that holds `reason`."""
    assert main([str(argument) for argument in command]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("gss: error: ") and reason in message
