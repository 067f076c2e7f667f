"""Running a reader on images of any sizes: batches, views, one result per image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from gss.ood import OODScore
from gss.pipeline.masks import MaskRows
from gss.pipeline.processor import ProcessedImages
from gss.pipeline.reading import Reader
from gss.pipeline.windows import Dense, Masks, Views, run_views


def run_images(
    reader: Reader,
    processed: ProcessedImages,
    modes: Sequence[str],
    views: Views,
    *,
    scores: Mapping[str, OODScore],
    with_tokens: bool,
    multiple: int,
    device: torch.device,
    masked: str | None = None,
) -> Iterator[tuple[int, Dense, MaskRows]]:
    """Yield index, maps (B = 1) and mask of every image; images of one size run in batches.

    Args:
        reader: model.
        processed: images at the size the model runs at.
        modes: decode modes whose maps are wanted.
        views: windows and averaging.
        scores: scores by name.
        with_tokens: also return tokens.
        multiple: see `run_views`.
        device: device of the model.
        masked: decode mode of the masks. Without averaging over views they are filled strip by strip, without a map;
            otherwise the map of the mode is returned and the masks are still empty.
    """

    def dense(images: Tensor) -> Dense:
        wanted = [*modes, masked] if masked and masked not in modes else modes
        return reader.dense(images, wanted, scores, with_tokens=with_tokens)

    for batch in processed.batches(views.batch_size):
        # 1. Images of one size [B, 3, H, W] and their masks.
        parts = [processed.images[index].to(device) for index in batch]
        images = torch.stack(parts) if len(parts) > 1 else parts[0][None]  # a huge image is not copied
        content = (images.shape[-2], images.shape[-1])
        rows = [MaskRows(content, processed.original_sizes[index], device) for index in batch]
        masks = None
        if masked and masked not in modes and views.single:
            mode = masked

            def fill(images: Tensor, masks: Sequence[MaskRows], mode: str = mode) -> Dense:
                return reader.dense(images, modes, scores, with_tokens=with_tokens, masks=(mode, masks))

            masks = Masks(mode, fill, rows)

        # 2. Through windows and views, [B, C, H, W].
        out = run_views(dense, images, views, multiple=multiple, masks=masks)

        # 3. One result per image: maps [1, C, H, W], tokens [1, h, w].
        for row, index in enumerate(batch):
            maps = {mode: values[row : row + 1] for mode, values in out.maps.items()}
            yield index, Dense(maps, None if out.tokens is None else out.tokens[row : row + 1]), rows[row]
