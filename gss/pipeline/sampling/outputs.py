"""What sampling returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from gss.pipeline.outputs import index_image
from gss.pipeline.sampling.regions import Region

Arrays = list[np.ndarray] | list[Tensor]
Masks = list[np.ndarray] | list[Tensor] | list[Image.Image]
ManyMasks = list[np.ndarray] | list[Tensor] | list[list[Image.Image]]


@dataclass
class HypothesesOutput(BaseOutput):
    """Several masks of each of N images; every field is a list with one entry per image, in input order.

    Array types follow the call's `output_type` as in `gss.pipeline.outputs.SegmentationOutput`.

    Attributes:
        masks: class index per pixel `[n, H_i, W_i]`; for "pil" a list of n images.
        consensus: class of greatest probability in the mean over the hypotheses `[H_i, W_i]`.
        confidence: float32 `[H_i, W_i]`, that probability.
        agreement: float32 `[H_i, W_i]`, share of the hypotheses that show the consensus.
        mutual_information: float32 `[H_i, W_i]` in nats, between the class of a pixel and the hypothesis: the entropy
            of the mean class probabilities minus the mean entropy. 0 where all hypotheses say the same.
        regions: connected regions of high mutual information, the greatest sum first.
        tokens: int64 `[n, h_i, w_i]` on the grid of the size the model ran at.
        probabilities: float32 `[K, H_i, W_i]`, mean over the hypotheses; None unless asked for.
    """

    masks: ManyMasks
    consensus: Masks
    confidence: Arrays
    agreement: Arrays
    mutual_information: Arrays
    regions: list[list[Region]]
    tokens: Arrays
    probabilities: Arrays | None = None


@dataclass
class CompletionOutput(BaseOutput):
    """Completed masks; every field is a list with one entry per mask, in input order.

    Attributes:
        masks: completed mask `[H_i, W_i]`: given pixels as given, elsewhere the class of greatest probability in the
            mean over the paths of the exact class probabilities.
        confidence: float32 `[H_i, W_i]`, probability of the class; 1 at given pixels.
        hypotheses: n single completions `[n, H_i, W_i]`, given pixels as given.
        mutual_information: as in `HypothesesOutput`, 0 at given pixels.
        regions: as in `HypothesesOutput`.
        tokens: int64 `[n, h_i, w_i]`.
        given_share: share of the pixels that were given, 0..1.
        whole_cells: number of cells that are given as a whole; the joint prior knows their tokens.
        part_cells: number of cells given in part; their pixels are evidence for the tokens.
        unexplained_cells: number of cells whose given pixels no code paints better than chance. The pixels are kept,
            the tokens of these cells say little.
    """

    masks: Masks
    confidence: Arrays
    hypotheses: ManyMasks
    mutual_information: Arrays
    regions: list[list[Region]]
    tokens: Arrays
    given_share: list[float]
    whole_cells: list[int]
    part_cells: list[int]
    unexplained_cells: list[int]


@dataclass
class GeneratedOutput(BaseOutput):
    """Masks without an image.

    Attributes:
        masks: n masks `[H, W]`.
        tokens: int64 `[n, h, w]`.
        proportions: float64 `[n, K]`, share of the pixels of each mask by class.
    """

    masks: Masks
    tokens: np.ndarray | Tensor
    proportions: np.ndarray


def convert_labels(labels: Tensor, output_type: str, colors: np.ndarray) -> Any:
    """Convert one mask `[H, W]` or several `[n, H, W]`, uint8, to an output type."""
    if output_type == "pt":
        return labels.long().cpu()
    array = labels.cpu().numpy()
    if output_type == "np":
        return array
    return index_image(array, colors) if array.ndim == 2 else [index_image(mask, colors) for mask in array]


def convert(values: Tensor, output_type: str) -> np.ndarray | Tensor:
    """Convert numbers to an output type."""
    return values.cpu() if output_type == "pt" else values.cpu().numpy()
