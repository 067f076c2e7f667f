"""Output of the pipeline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gss.pipeline.decode import paint_tokens
from gss.pipeline.display.result import SegmentedImage
from gss.pipeline.masks import MaskRows
from gss.pipeline.windows import Dense, resize_map
from gss.report.pictures import index_image
from vqvae import MaskigeVQModel

# Images that a notebook shows of one output.
_SHOWN = 8
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
        maskiges: predicted tokens painted by the VQ decoder, uint8 `[H_i, W_i, 3]` (`[3, H_i, W_i]` for
            "pt"), enlarged by nearest neighbour where the model ran at another size. None without tokens.
        tokens: int64 `[h_i, w_i]`, most probable token of each cell, on the grid of the size the model ran at. Sliding
            windows give each cell the token of the window whose centre is nearest; averaged views, those of the first
            view. None when not asked for.
        ood_scores: float32 `[H_i, W_i]`, higher is more out-of-distribution; None unless asked for.
        score_maps: score to its map, as `ood_scores`, for several scores; None unless asked for.
    """

    masks: list[np.ndarray] | list[Tensor] | list[Image.Image]
    confidence: list[np.ndarray] | list[Tensor]
    probabilities: list[np.ndarray] | list[Tensor] | None = None
    maskiges: list[np.ndarray] | list[Tensor] | list[Image.Image] | None = None
    tokens: list[np.ndarray] | list[Tensor] | None = None
    ood_scores: list[np.ndarray] | list[Tensor] | None = None
    score_maps: list[dict[str, np.ndarray]] | list[dict[str, Tensor]] | None = None

    def __getitem__(self, key: Any) -> Any:
        """Return a field by name, an image by number (a `SegmentedImage`), or a tuple of fields for a slice."""
        if not isinstance(key, int):
            return super().__getitem__(key)
        index = range(len(self.masks))[key]
        fields = {name: values[index] for name, values in self.items()}
        return SegmentedImage(index, fields, vars(self).get("source"))

    def __repr__(self) -> str:
        """Return number and sizes of the images, and the fields."""
        sizes = [np.asarray(values).shape for values in self.confidence[:4]]
        listed = ", ".join(f"{height}x{width}" for height, width in sizes) + (", ..." if len(self.masks) > 4 else "")
        count = len(self.masks)
        return f"SegmentationOutput({count} image{'s' * (count != 1)}: {listed}; {', '.join(self.keys())})"

    def save(self, folder: str | Path) -> list[dict[str, str]]:
        """Write mask, overlay, confidence and scores of every image; return kind to path for each.

        The files begin with the name of the image's file, as those of `gss predict` do; images that are no files, or
        whose names are not their own, are numbered: `000000_mask.png`.
        """
        source = vars(self).get("source")
        names = [f"{index:06d}" for index in range(len(self.masks))]
        names = names if source is None else source.file_names(names)
        return [self[index].save(folder, name) for index, name in enumerate(names)]

    def _repr_html_(self) -> str:
        shown = "".join(self[index]._repr_html_() for index in range(min(len(self.masks), _SHOWN)))
        rest = len(self.masks) - _SHOWN
        return shown + (f"<div>and {rest} more</div>" if rest > 0 else "")


def segments(output: SegmentationOutput, id2label: Mapping[int, str]) -> list[list[dict[str, Any]]]:
    """List the classes of each image.

    Returns:
        For each image one `{"label": name, "mask": PIL L with 0 and 255, "score": mean confidence}` per class that
        occurs, in index order.
    """
    result = []
    for mask, confidence in zip(output.masks, output.confidence, strict=True):
        labels, probability = np.asarray(mask), np.asarray(confidence)
        result.append(
            [
                {
                    "label": id2label[int(index)],
                    "mask": Image.fromarray(np.where(labels == index, 255, 0).astype(np.uint8)),
                    "score": float(probability[labels == index].mean(dtype=np.float64)),
                }
                for index in np.unique(labels)
            ]
        )
    return result


def to_output_type(fields: dict[str, Any], output_type: str, colors: np.ndarray) -> dict[str, Any]:
    """Convert the fields of one image, CPU tensors, to the types of `SegmentationOutput`.

    Args:
        fields: `masks` uint8 `[H, W]`, `maskiges` uint8 `[3, H, W]`, and any other tensors.
        output_type: one of `OUTPUT_TYPES`.
        colors: palette of PIL masks, uint8 `[K, 3]`.
    """
    if output_type == "pt":
        return {**fields, "masks": fields["masks"].long()}
    arrays: dict[str, Any] = {name: _array(value) for name, value in fields.items()}
    if "maskiges" in arrays:
        arrays["maskiges"] = np.ascontiguousarray(arrays["maskiges"].transpose(1, 2, 0))
    if output_type == "np":
        return arrays
    arrays["masks"] = index_image(arrays["masks"], colors)
    if "maskiges" in arrays:
        arrays["maskiges"] = Image.fromarray(arrays["maskiges"])
    return arrays


def _array(value: Tensor | dict[str, Tensor]) -> np.ndarray | dict[str, np.ndarray]:
    return {name: part.numpy() for name, part in value.items()} if isinstance(value, dict) else value.numpy()


def image_fields(
    dense: Dense,
    mask: MaskRows,
    mode: str,
    vqvae: MaskigeVQModel | None,
    *,
    original_size: tuple[int, int],
    content_size: tuple[int, int],
    colors: np.ndarray,
    output_type: str = "np",
    return_probabilities: bool = False,
    score: str | None = None,
    scores: Sequence[str] = (),
) -> dict[str, Any]:
    """Turn the maps of one image into the fields of `SegmentationOutput`.

    Args:
        dense: maps `[1, C, h, w]` at the size the model ran at: that of `mode` unless the mask is complete, and those
            of the scores.
        mask: mask of the image, filled here if it is not.
        mode: decode mode of the mask.
        vqvae: decoder of the tokens, if there are any.
        original_size: (H, W) of the results.
        content_size: (H, W) of the view that the tokens belong to, without padding.
        colors: uint8 `[K, 3]`, palette of PIL masks.
        output_type: one of `OUTPUT_TYPES`.
        return_probabilities: also return class probabilities.
        score: score of `ood_scores`.
        scores: scores of `score_maps`.
    """
    # 1. Mask and confidence [H, W].
    if not mask.complete:
        mask.add(dense.maps[mode][0])
    fields: dict[str, Any] = {"masks": mask.labels.cpu(), "confidence": mask.confidence.cpu()}

    # 2. Probabilities [K, H, W] and scores [H, W].
    if return_probabilities:
        fields["probabilities"] = resize_map(dense.maps[mode][0], original_size).cpu()
    names = {*scores, *(() if score is None else (score,))}
    maps = {name: resize_map(dense.maps[name][0], original_size)[0].cpu() for name in names}
    if score is not None:
        fields["ood_scores"] = maps[score]
    if scores:
        fields["score_maps"] = {name: maps[name] for name in scores}

    # 3. Tokens [h, w] without those of the padding, and the maskige [3, H, W] they paint.
    if dense.tokens is not None:
        assert vqvae is not None
        cells = [math.ceil(side / vqvae.token_stride) for side in content_size]
        maskige = paint_tokens(vqvae, dense.tokens[0])[:, : content_size[0], : content_size[1]]
        fields["maskiges"] = F.interpolate(maskige[None], size=original_size, mode="nearest-exact")[0].cpu()
        fields["tokens"] = dense.tokens[0, : cells[0], : cells[1]].cpu()
    return to_output_type(fields, output_type, colors)
