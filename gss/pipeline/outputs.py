"""What the pipeline returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

OUTPUT_TYPES = ("np", "pil", "pt")


@dataclass
class SegmentationOutput(BaseOutput):
    """Segmentation of N images; every field is a list with one entry per image, in input order.

    Array types follow the call's `output_type`: NumPy for "np", torch tensors on the CPU for "pt"; for "pil"
    masks and maskiges are PIL images and the rest is NumPy. H_i x W_i is the size of the i-th input image.

    Attributes:
        masks: class index per pixel `[H_i, W_i]`: uint8 array, int64 tensor, or PIL image of mode P whose
            palette holds the class colours.
        confidence: float32 `[H_i, W_i]`, probability of the chosen class.
        probabilities: float32 `[K, H_i, W_i]`, sums to 1 over classes; None unless asked for.
        maskiges: the predicted tokens painted by the VQ decoder, uint8 `[H_i, W_i, 3]` (`[3, H_i, W_i]` for
            "pt"), enlarged by nearest neighbour where the model ran at another size. None without tokens.
        tokens: int64 `[h_i, w_i]`, most probable token of each cell, on the grid of the size the model ran
            at. With sliding windows each cell has the token of the window in whose middle it lies; with
            averaged views, those of the first view. None when not asked for.
        ood_scores: float32 `[H_i, W_i]`, higher is more out-of-distribution; None unless asked for.
    """

    masks: list[np.ndarray] | list[Tensor] | list[Image.Image]
    confidence: list[np.ndarray] | list[Tensor]
    probabilities: list[np.ndarray] | list[Tensor] | None = None
    maskiges: list[np.ndarray] | list[Tensor] | list[Image.Image] | None = None
    tokens: list[np.ndarray] | list[Tensor] | None = None
    ood_scores: list[np.ndarray] | list[Tensor] | None = None


def segments(output: SegmentationOutput, id2label: Mapping[int, str]) -> list[list[dict[str, Any]]]:
    """One entry per image and class that occurs in it; see `GSSPipeline.segments`."""
    found = []
    for mask, confidence in zip(output.masks, output.confidence, strict=True):
        labels, certain = np.asarray(mask), np.asarray(confidence)
        found.append(
            [
                {
                    "label": id2label[int(index)],
                    "mask": Image.fromarray(np.where(labels == index, 255, 0).astype(np.uint8)),
                    "score": float(certain[labels == index].mean(dtype=np.float64)),
                }
                for index in np.unique(labels)
            ]
        )
    return found


def index_image(labels: np.ndarray, colors: np.ndarray) -> Image.Image:
    """Labels as a PIL image of mode P: pixel values are the labels, shown in the class colours.

    Args:
        labels: uint8 `[H, W]`.
        colors: uint8 `[K, 3]`.
    """
    image = Image.fromarray(labels)
    image.putpalette(colors.astype(np.uint8).tobytes())
    return image


def to_output_type(fields: dict[str, Any], output_type: str, colors: np.ndarray) -> dict[str, Any]:
    """Fields of one image, CPU tensors, in the form `SegmentationOutput` promises.

    Args:
        fields: `masks` uint8 `[H, W]`, `maskiges` uint8 `[3, H, W]`, and any other tensors.
        output_type: one of `OUTPUT_TYPES`.
        colors: palette of PIL masks, uint8 `[K, 3]`.
    """
    if output_type == "pt":
        return {**fields, "masks": fields["masks"].long()}
    arrays = {name: value.numpy() for name, value in fields.items()}
    if "maskiges" in arrays:
        arrays["maskiges"] = np.ascontiguousarray(arrays["maskiges"].transpose(1, 2, 0))
    if output_type == "np":
        return arrays
    arrays["masks"] = index_image(arrays["masks"], colors)
    if "maskiges" in arrays:
        arrays["maskiges"] = Image.fromarray(arrays["maskiges"])
    return arrays
