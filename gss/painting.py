"""Painting tokens of huge images."""

import torch
from torch import Tensor

from vqvae import MaskigeVQModel

# Tokens painted at once (2 megapixels at 4 pixels per cell), and rows of context kept around a strip.
PAINT_CELLS = 2**17
PAINT_CONTEXT = 16


def paint_tokens(vqvae: MaskigeVQModel, tokens: Tensor) -> Tensor:
    """Maskige picture, uint8 `[3, h * f, w * f]`, of tokens `[h, w]`.

    Large grids are painted in strips of rows. That is exact for a local decoder; a contextual one sees
    `PAINT_CONTEXT` rows beyond the strip.
    """
    h, w = tokens.shape
    f = vqvae.downsample
    picture = torch.empty(3, h * f, w * f, dtype=torch.uint8, device=tokens.device)
    rows = max(1, PAINT_CELLS // w)
    for top in range(0, h, rows):
        first = max(0, top - PAINT_CONTEXT)
        painted = vqvae.decode_tokens(tokens[None, first : top + rows + PAINT_CONTEXT])[0]
        strip = painted[:, (top - first) * f : (top - first + rows) * f].float()
        picture[:, top * f : (top + rows) * f] = ((strip.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return picture
