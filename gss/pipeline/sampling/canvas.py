"""One image or partial mask on the token grid: contexts of its windows, and the paths through its unknown cells."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.labels.space import IGNORE_INDEX
from gss.models.inputs import pad_to_multiple
from gss.models.joint import JointContext, JointPriorModel
from gss.models.prior import GSSPriorOutput
from gss.pipeline.sampling.fill import Paths, cell_windows, fill_windows
from gss.pipeline.sampling.scheduler import TokenScheduler
from gss.posterior.cells import is_uniform, to_cells
from gss.posterior.likelihood import CellLikelihood, log_likelihood


@dataclass(frozen=True)
class Canvas:
    """What is known of one mask, at the size the model runs at, padded to whole cells.

    Attributes:
        content_size: (H, W) without padding.
        image: float32 `[1, 3, H', W']` in [0, 1]; None without an image.
        labels: given pixels, int64 `[1, H', W']`, 255 where nothing is given; None without any.
        cells: (h, w).
        stride: pixels per cell side f.
    """

    content_size: tuple[int, int]
    image: Tensor | None
    labels: Tensor | None
    cells: tuple[int, int]
    stride: int

    @classmethod
    def build(
        cls,
        content_size: tuple[int, int],
        *,
        image: Tensor | None,
        labels: Tensor | None,
        stride: int,
        multiple: int,
        device: torch.device,
    ) -> Canvas:
        """Pad an image and labels.

        Args:
            content_size: (H, W) that the model runs at.
            image: float32 `[3, H, W]`; None without an image.
            labels: int64 `[H_0, W_0]` of any size, 255 where nothing is given; None without any.
            stride: pixels per cell side.
            multiple: pixels of which the sides of a padded image are multiples.
            device: where to compute.
        """
        sides = multiple if image is not None else stride
        height, width = (-(-side // sides) * sides for side in content_size)
        padded = None if image is None else pad_to_multiple(image[None].to(device), multiple)
        given = None
        if labels is not None and bool((labels != IGNORE_INDEX).any()):
            resized = F.interpolate(labels[None, None].float(), size=content_size, mode="nearest-exact")[0].long()
            right, bottom = width - content_size[1], height - content_size[0]
            given = F.pad(resized, (0, right, 0, bottom), value=IGNORE_INDEX).to(device)
        return cls(content_size, padded, given, (height // stride, width // stride), stride)

    def encoder(
        self, joint: JointPriorModel, run: Callable[[Tensor], GSSPriorOutput]
    ) -> Callable[[slice, slice], JointContext]:
        """Return the function from a window's rows and columns, in cells, to its context.

        Args:
            joint: joint prior.
            run: function from images `[1, 3, H, W]` to the prior's output with token logits.
        """

        def encode(rows: slice, columns: slice) -> JointContext:
            f = self.stride
            part = (slice(rows.start * f, rows.stop * f), slice(columns.start * f, columns.stop * f))
            # One window keeps the padding of the image, as in segmentation.
            output = None if self.image is None else run(self.image[(..., *part)])
            labels = None if self.labels is None else self.labels[(..., *part)]
            place = (rows.start / self.cells[0], rows.stop / self.cells[0])
            size = (1, rows.stop - rows.start, columns.stop - columns.start)
            return joint.encode(output, size=size, labels=labels, rows=place)

        return encode

    def unknown(self, n: int, mask_token: int, device: torch.device) -> Tensor:
        """Return n grids `[n, h, w]` of unknown cells."""
        return torch.full((n, *self.cells), mask_token, device=device)


def run_paths(
    canvas: Canvas,
    joint: JointPriorModel,
    run: Callable[[Tensor], GSSPriorOutput],
    scheduler: TokenScheduler,
    *,
    steps: int,
    generators: Sequence[torch.Generator],
    window: tuple[int, int] | None,
    overlap: float,
    probabilities: bool = False,
) -> Paths:
    """Fill the unknown cells of a canvas, once for each generator.

    Args:
        canvas: image, given pixels, or both.
        joint: joint prior.
        run: see `Canvas.encoder`.
        scheduler: order and schedule.
        steps: number of steps in a window.
        generators: random source of each path.
        window: (H, W) of windows in pixels; None for one window.
        overlap: see `gss.pipeline.sampling.fill.cell_windows`.
        probabilities: see `gss.pipeline.sampling.fill.fill`.
    """
    device = joint.device if canvas.image is None else canvas.image.device
    tokens = canvas.unknown(len(generators), joint.mask_token, device)
    cells = None if window is None else (max(1, window[0] // canvas.stride), max(1, window[1] // canvas.stride))
    return fill_windows(
        joint,
        canvas.encoder(joint, run),
        tokens,
        scheduler,
        cell_windows(canvas.cells, cells, overlap),
        steps=steps,
        generators=generators,
        probabilities=probabilities,
    )


@dataclass(frozen=True)
class GivenCells:
    """How the given pixels of a mask fall into cells.

    Attributes:
        whole: number of cells that are given as a whole.
        part: number of cells given in part.
        unexplained: number of cells whose given pixels no code paints better than chance.
    """

    whole: int
    part: int
    unexplained: int


def count_given(labels: Tensor | None, likelihood: CellLikelihood) -> GivenCells:
    """Count the cells of given pixels.

    A code explains a cell if the geometric mean of the probabilities of its given pixels is at least 1 / K.

    Args:
        labels: int64 `[1, H, W]`, 255 where nothing is given.
        likelihood: code table.
    """
    if labels is None:
        return GivenCells(0, 0, 0)
    cells = to_cells(labels, likelihood.token_stride).flatten(0, 2)  # [N, f, f]
    count = (cells != IGNORE_INDEX).flatten(1).sum(1)
    area = likelihood.token_stride**2
    mixed = cells[(count > 0) & ~is_uniform(cells)]
    unexplained = 0
    for part in mixed.split(16_384):
        best = log_likelihood(part, likelihood.table.float(), torch.ones_like(likelihood.pixel_weight)).amax(1)
        pixels = (part != IGNORE_INDEX).flatten(1).sum(1)
        least = -torch.log(torch.tensor(float(likelihood.num_classes)))
        unexplained += int((best / pixels < least).sum())
    return GivenCells(int((count == area).sum()), int(((count > 0) & (count < area)).sum()), unexplained)


def warn_unexplained(name: str, given: GivenCells) -> None:
    """Warn of cells that no code explains, in one line."""
    if given.unexplained:
        cells = given.whole + given.part
        warnings.warn(
            f"{name}: no code paints the given pixels of {given.unexplained} of {cells} cells better than chance; "
            "the pixels are kept, but say little about the rest",
            stacklevel=2,
        )
