"""Training steps of the prior against those of its discriminative twin: forward, losses, backward and AdamW.

    python scripts/bench_training.py [--trained FOLDER] [--quick] [--only NAME] [--json FILE] [--repeats N] [--cpu-time]

Batches of generated scenes with their labels; EfficientNet-Lite0, 1024 codes at stride 4, 11 classes. The twin is the
same network with its auxiliary loss only. `easy_share` is the setting `loss.easy_share`: the share of the easy cells
whose token and pixel loss is computed. With random weights no cell is easy; `--trained FOLDER` takes the networks of a
finished `gss quickstart` in FOLDER (FOLDER/prior/pipeline and FOLDER/twin/pipeline).

bench_core.py describes how times and peaks are measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from bench_core import Case, Row, run
from bench_pipeline import pipeline, trained
from torch import Tensor

from gss.core.machine import keep_memory
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.pipeline.pipeline import GSSPipeline
from gss.posterior.bundle import Posterior
from gss.training.losses.prior import aux_loss, token_losses

CLASSES, BATCH = 11, 8


def batch(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Images `[B, 3, H, W]` and labels `[B, H, W]`."""
    scenes = open_split(load_spec("scenes"), "train")
    images, labels = [], []
    for index in range(BATCH):
        image, truth = scenes.read(index)
        columns, rows = np.linspace(0, truth.shape[1] - 1, size[1]), np.linspace(0, truth.shape[0] - 1, size[0])
        nearest = truth[rows.round().astype(int)][:, columns.round().astype(int)]
        labels.append(torch.from_numpy(nearest.astype(np.int64)))
        picture = np.asarray(image.resize((size[1], size[0])), dtype=np.float32) / 255
        images.append(torch.from_numpy(picture).permute(2, 0, 1))
    return torch.stack(images), torch.stack(labels)


def step(model: GSSPipeline, images: Tensor, labels: Tensor, share: float | None) -> Callable[[], float]:
    """One step of the twin (share None) or of the generative prior."""
    prior = model.prior.train()
    optimizer = torch.optim.AdamW(prior.parameters(), lr=1e-5)
    posterior = targets = None
    if share is not None:
        assert model.vqvae is not None and model.likelihood is not None
        posterior = Posterior(model.codec, model.vqvae, model.likelihood, load_spec("scenes").label_space)
        targets = model.likelihood.tokens(labels)[:, None]

    def run_step() -> float:
        output = prior(images, return_tokens=False, return_hidden=posterior is not None)
        loss = aux_loss(output, labels)
        if posterior is not None and targets is not None and share is not None:
            both, _ = token_losses(
                prior,
                posterior,
                output,
                labels=labels,
                targets=targets,
                target_probs=torch.ones(targets.shape),
                token_scale=0.2,
                pixel_scale=1.0,
                easy_share=share,
            )
            loss = loss + both
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return run_step


def case(folder: Path | None, size: tuple[int, int], share: float) -> Callable[[bool], Case]:
    def build(quick: bool) -> Case:
        images, labels = batch((64, 96) if quick else size)
        ours = pipeline(CLASSES) if folder is None else trained(folder)
        twin = pipeline(CLASSES) if folder is None else trained(folder, twin=True)
        return Case(step(ours, images, labels, share), step(twin, images, labels, None), None)

    return build


def rows(folder: Path | None) -> list[Row]:
    name = "training step" if folder is None else "trained step"
    shares = (1.0,) if folder is None else (1.0, 0.25)
    return [
        Row(f"{name}, {BATCH}x192x256, easy_share {share:g}", "twin", case(folder, (192, 256), share))
        for share in shares
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--trained", type=Path)
    known, rest = parser.parse_known_args()
    torch.set_flush_denormal(True)  # as the commands do, and so is the next line
    keep_memory()
    run([*rows(None), *(rows(known.trained) if known.trained else [])], __doc__ or "", rest)
