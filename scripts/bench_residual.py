"""The residual pattern head against the usual way to compute it: time, peak memory and equality of results.

    python scripts/bench_residual.py [--quick] [--only NAME] [--json FILE] [--repeats N] [--threads N] [--cpu-time]

How it measures is described in `bench_core.py`. The error is the largest absolute difference. In the last rows the
peer is plain segmentation and ours gives the same masks and the score besides: 1 / ratio - 1 is what the score costs,
and the error that of the class probabilities.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from bench_core import Case, Row, farthest, run
from bench_pipeline import CLASSES, pipeline
from torch import Tensor, nn
from torch.nn import functional as F

from gss.config.residual import ResidualModelConfig
from gss.models.residual import ResidualPatternHead, enlarge
from gss.training.losses.residual import context_contrast, draw, rows_at

# Channels of the branch and of the features in the paper; maps at 1/8 and 1/2 of 1024x2048 pixels.
WIDTH, FEATURES = 256, 304
COARSE, FINE = (128, 256), (512, 1024)


def sizes(quick: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    return ((16, 24), (64, 96)) if quick else (COARSE, FINE)


@torch.no_grad()
def projection(quick: bool) -> Case:
    """The residual on the fine grid."""
    coarse, fine = sizes(quick)
    x, project = torch.randn(1, WIDTH, *coarse), nn.Conv2d(WIDTH, FEATURES, 1, bias=False).requires_grad_(False)
    return Case(lambda: enlarge(project(x), fine), lambda: project(enlarge(x, fine)), farthest)


@torch.no_grad()
def class_logits(quick: bool) -> Case:
    """Perturbed logits of a linear classifier, from its plain ones: classes are enlarged instead of features."""
    coarse, fine = sizes(quick)
    x, project = torch.randn(1, WIDTH, *coarse), nn.Conv2d(WIDTH, FEATURES, 1, bias=False).requires_grad_(False)
    features, head = torch.randn(1, FEATURES, *fine), nn.Conv2d(FEATURES, CLASSES, 1).requires_grad_(False)
    plain = head(features)
    return Case(
        lambda: plain + enlarge(F.conv2d(project(x), head.weight), fine),
        lambda: head(features + project(enlarge(x, fine))),
        farthest,
    )


def contrast(quick: bool) -> Case:
    """Loss and gradient of 512 samples of each set, of one image and one foreign scene of 700x700 pixels at 1/2."""
    images, cells, coarse, samples = (2, (32, 48), (8, 12), 64) if quick else (2, (350, 350), (88, 88), 512)
    x = torch.randn(images, WIDTH, *coarse, requires_grad=True)
    projector = nn.Linear(WIDTH, FEATURES)
    outlier = torch.rand(images, *cells) < 0.05
    half = images // 2
    masks = [
        part for images_of in (slice(half), slice(half, None)) for part in (outlier[images_of], ~outlier[images_of])
    ]
    first = half * cells[0] * cells[1]

    def drawn() -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        return [draw(mask.flatten(), samples, generator)[0] + first * (i // 2) for i, mask in enumerate(masks)]

    def finish(rows: Tensor) -> tuple[Tensor, ...]:
        loss = context_contrast(F.normalize(rows, dim=1).view(4, samples, -1), torch.tensor(samples))
        return loss.detach(), *torch.autograd.grad(loss, (x, projector.weight))

    def ours() -> tuple[Tensor, ...]:
        return finish(projector(rows_at(x, torch.cat(drawn()), cells, cells)))

    def peer() -> tuple[Tensor, ...]:
        """Every embedding is made, gathered by set and put in random order; then some are taken."""
        whole = projector(enlarge(x, cells).movedim(1, -1).flatten(0, 2))
        rows = []
        for number, (mask, chosen) in enumerate(zip(masks, drawn(), strict=True)):
            flat = mask.flatten()
            gathered = whole[first * (number // 2) :][: len(flat)][flat]
            # The same samples as ours, so that results can be compared, at the front of a permutation of all.
            place = (flat.cumsum(0) - 1)[chosen - first * (number // 2)]
            order = torch.cat([place, torch.randperm(len(gathered))])[: len(gathered)]
            rows.append(gathered[order][:samples])
        return finish(torch.cat(rows))

    def error(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
        return max(farthest(a, b) for a, b in zip(found, expected, strict=True))

    return Case(ours, peer, error)


def extra(size: tuple[int, int], mode: str) -> Callable[[bool], Case]:
    """Segmentation with the anomaly score against segmentation alone, by the pipeline and head of the defaults."""

    def build(quick: bool) -> Case:
        height, width = (64, 96) if quick else size
        whole = pipeline()
        prior = whole.prior
        settings = ResidualModelConfig()
        head = ResidualPatternHead(
            prior.backbone.channels[-settings.levels :], prior.config.hidden_dim, settings.width, settings.rates
        )
        whole.register_modules(residual=head.eval())
        picture = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)

        def segment(*scores: str) -> Tensor:
            found = whole.predict_probabilities(picture, modes=[mode], scores=scores, window="whole")
            assert all(found[name][0].shape == (1, height, width) for name in scores)
            return found[mode][0]

        return Case(lambda: segment("residual_energy"), segment, farthest)

    return build


ROWS = [
    Row("residual 256 -> 304, 128x256 to 512x1024", "projection after enlarging", projection),
    Row("perturbed logits, K=19, 512x1024", "through the features", class_logits),
    Row("contrast of 4 x 512 samples + gradients", "gather all, then sample", contrast),
    *(
        Row(
            f"{mode} + score, {height}x{width}",
            "segmentation alone",
            extra((height, width), mode),
        )
        for height, width in ((360, 480), (1024, 2048))
        for mode in ("aux", "marginal")
    ),
]

if __name__ == "__main__":
    run(ROWS, __doc__ or "")
